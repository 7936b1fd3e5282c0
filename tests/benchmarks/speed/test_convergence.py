"""What a short training loses, and that what the file holds is not trained again."""

from pathlib import Path

import pytest

from partnerface.benchmarks.speed import convergence
from partnerface.benchmarks.speed.convergence import convergence_row, convergence_rows, time_row
from partnerface.benchmarks.speed.report import SpeedReport


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

    monkeypatch.setattr(convergence, "trained_to", train)
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
