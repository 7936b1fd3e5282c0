"""What savings cost: the sign and the mean of the losses, and that nothing is trained twice."""

from pathlib import Path

import pytest

from partnerface.benchmarks.speed import quality
from partnerface.benchmarks.speed.quality import AS_SHIPPED, TRAININGS, quality_rows, saving_rows, voxels_loss
from partnerface.benchmarks.speed.report import SpeedReport
from partnerface.benchmarks.speed.training_slices import set_up


def test_a_saving_loses_what_training_without_it_gains():
    found = {
        AS_SHIPPED: {"0": 26.0, "1": 27.0},
        "learned_occupancy": {"0": 26.3, "1": 27.1},
        "top_k_parts": {"0": 25.9, "1": 27.0},
        "voxels": {"0": 0.02, "1": 0.04},
    }
    rows = {row.name: row for row in saving_rows(found)}
    assert rows["quality_learned_occupancy"].value == pytest.approx(0.2)
    assert rows["quality_learned_occupancy"].holds is False
    assert rows["quality_top_k_parts"].value == pytest.approx(-0.05)
    assert rows["quality_top_k_parts"].holds is True
    assert rows["quality_voxels_of_a_picture"].value == pytest.approx(0.03)


def test_an_interrupted_comparison_goes_on(build_tiny, tmp_path: Path, monkeypatch):
    trained = []

    def train(method, steps: int, **options) -> None:
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append(len(options["callbacks"]))

    monkeypatch.setattr(quality, "train_steps", train)
    monkeypatch.setattr(quality, "head_psnr", lambda method: 20.0)
    monkeypatch.setattr(quality, "voxels_loss", lambda method: 0.0)
    monkeypatch.setattr(quality, "SEEDS", (0, 1))
    path = tmp_path / "speed.json"
    with pytest.raises(KeyboardInterrupt):
        quality_rows(build_tiny, 1, SpeedReport(path, {}))
    assert trained == [1, 0, 1, 1]
    trained.clear()
    rows = quality_rows(build_tiny, 1, SpeedReport(path, {}))
    assert trained == [0, 1]
    assert [row.value for row in rows] == [0.0] * len(TRAININGS)


def test_voxels_of_an_untrained_method_cost_nothing_to_speak_of(build_tiny):
    """Smooth untrained density: interpolation is all but exact."""
    method = build_tiny("part_deformation")
    set_up(method)
    assert abs(voxels_loss(method)) < 0.05
