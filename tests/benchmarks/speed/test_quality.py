"""What savings and short trainings cost in PSNR, and that what the file holds is not trained again."""

from pathlib import Path

import pytest

from partnerface.benchmarks.speed import quality
from partnerface.benchmarks.speed.quality import (
    AS_SHIPPED,
    TRAININGS,
    convergence_row,
    convergence_rows,
    quality_rows,
    saving_rows,
    time_row,
    voxels_loss,
)
from partnerface.benchmarks.speed.report import SpeedReport
from partnerface.benchmarks.speed.training_slices import set_up


def test_the_loss_is_the_difference_and_holds_up_to_a_decibel():
    entries = {"60": {"psnr": 29.0}, "600": {"psnr": 30.5}}
    assert convergence_row(entries).value == 1.5
    assert convergence_row(entries).holds is False
    entries["60"]["psnr"] = 29.6
    assert convergence_row(entries).holds is True


def test_half_a_measurement_is_none():
    row = convergence_row({"60": {"psnr": 29.0}})
    assert row.value is None
    assert row.holds is None


def test_an_interrupted_run_goes_on_with_the_next_training(tmp_path: Path, monkeypatch):
    trained = []

    def train(method, budget: float, threads: int) -> dict:
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append((method, budget))
        return {"psnr": 20.0 + budget / 100, "cpu_seconds": budget, "steps": 1}

    monkeypatch.setattr(quality, "trained_to", train)
    path, methods = tmp_path / "speed.json", ["part_deformation", "nerface"]

    def run() -> list:
        return convergence_rows(lambda name, *flags: name, methods, 1, SpeedReport(path, {}))

    with pytest.raises(KeyboardInterrupt):
        run()
    ours = [("part_deformation", budget) for budget in (60, 240, 600)]
    assert trained == [*ours, ("nerface", 60)]
    done, trained[:] = list(trained), []
    rows = run()
    assert trained == [("nerface", 240)]
    assert rows[0].value == pytest.approx(5.4)
    assert [row.name for row in rows[1:]] == ["time_to_28_db_part_deformation", "time_to_28_db_nerface"]
    assert done[-1] == ("nerface", 60)


def test_time_to_a_score_is_interpolated_in_the_logarithm():
    curve = [(10.0, 20.0), (40.0, 27.0), (160.0, 29.0), (240.0, 28.5)]
    row = time_row("ours", {"240": {"curve": curve}})
    assert row.value == pytest.approx(80.0)
    assert time_row("ours", {"240": {"curve": [(10.0, 28.1), (240.0, 30.0)]}}).value == 10.0


def test_a_score_that_is_never_reached_says_how_far_it_came():
    row = time_row("nerface", {"240": {"curve": [(10.0, 10.0), (240.0, 16.0)]}})
    assert row.value is None
    assert row.note == "16.0 dB after 240 CPU s"
    assert time_row("nerface", {}).note == "not measured"


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
