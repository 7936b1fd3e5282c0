"""The whole suite on tiny methods: every row of the table is there, with figures that fit each other."""

import json
from pathlib import Path

import pytest

from partnerface.benchmarks.speed import throughput
from partnerface.benchmarks.speed.measurement import Duration
from partnerface.benchmarks.speed.report import SpeedReport, print_report
from partnerface.benchmarks.speed.suite import Effort, SpeedSuite

TINY_EFFORT = Effort(training_steps=2, rounds=1, steps=1, growth=False)


def test_the_suite_fills_table_file_and_figure(build_tiny, tmp_path: Path, capsys) -> None:
    report = SpeedReport(tmp_path / "speed.json", {"machine": {"cores": 2, "load_at_start": [3.0, 0, 0]}})
    SpeedSuite(build_tiny, report, tmp_path, TINY_EFFORT, threads=2).run()
    rows = {row["name"]: row for row in json.loads((tmp_path / "speed.json").read_text())["rows"]}
    assert [*rows] == [
        "training_rays_per_second",
        "training_against_nerface_float32",
        "training_against_nerface_bfloat16",
        "training_step_many_parts_against_few",
        "training_step_against_bank",
        "rendered_frame_against_bank",
        "rendering_frames_per_second",
        "rendering_against_nerface",
    ]
    rate = rows["training_rays_per_second"]["value"]
    against = rows["training_against_nerface_float32"]
    assert against["value"] == pytest.approx(rate / against["details"]["nerface_rays_per_second"][0])
    frames = rows["rendering_frames_per_second"]["value"]
    ratio = rows["rendering_against_nerface"]
    assert ratio["value"] == pytest.approx(frames * ratio["details"]["nerface_seconds_per_frame"][0])
    for name in ("training_step_against_bank", "rendered_frame_against_bank"):
        milliseconds = rows[name]["details"]["milliseconds"]
        assert rows[name]["value"] == pytest.approx(milliseconds["ours"][0] / milliseconds["bank"][0])
    assert (tmp_path / "stages.png").is_file()
    print_report(report.as_json())
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)
    assert "inverse skinning" in printed
    assert "The machine was busy" in printed


def test_nerface_on_fewer_rays_is_scaled_by_their_number(build_tiny, monkeypatch) -> None:
    """A second for every pixel: NeRFace, of 32 x 32 rays, is given the time of 256 x 256."""

    def rendering_time(method, view) -> Duration:
        seconds = float(view.camera.width * view.camera.height)
        return Duration(seconds, 2 * seconds)

    monkeypatch.setattr(throughput, "rendering_time", rendering_time)
    ours, peer = build_tiny("part_deformation"), build_tiny("nerface")
    ours.data.setup("fit")
    frames, ratio = throughput.rendering_rows(ours, peer, rounds=2)
    assert frames.samples == [1 / 256**2] * 2
    assert ratio.samples == ratio.by_cpu_time == [1.0] * 2
    assert ratio.details["nerface_seconds_per_frame"] == [256.0**2] * 2
