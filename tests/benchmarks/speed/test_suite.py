"""The whole suite on tiny methods: every row of the table is there, with figures that fit each other."""

import json
from pathlib import Path
from statistics import median

import pytest

from partnerface.benchmarks.method_under_test import MethodUnderTest
from partnerface.benchmarks.speed import rendering
from partnerface.benchmarks.speed.gpu import ROWS
from partnerface.benchmarks.speed.interleaving import Duration
from partnerface.benchmarks.speed.markdown import print_report
from partnerface.benchmarks.speed.rendering import rendering_rows
from partnerface.benchmarks.speed.report import SpeedReport
from partnerface.benchmarks.speed.suite import Effort, SpeedSuite
from partnerface.benchmarks.speed.training_slices import set_up
from partnerface.data.view import View

TINY_EFFORT = Effort(training_steps=2, rounds=1, steps=1, growth=False)


def test_the_suite_fills_table_file_and_figure(build_tiny, tmp_path: Path, capsys) -> None:
    report = SpeedReport(tmp_path / "speed.json", {"machine": {"cores": 2, "load_at_start": [3.0, 0, 0]}})
    SpeedSuite(build_tiny, report, tmp_path, TINY_EFFORT, threads=2, cuda=False).run()
    rows = {row["name"]: row for row in json.loads((tmp_path / "speed.json").read_text())["rows"]}
    assert [*rows] == [
        "training_rays_per_second",
        "training_against_nerface_float32",
        "training_against_nerface_bfloat16",
        "training_step_many_parts_against_few",
        "rendering_frames_per_second",
        "rendering_against_nerface",
        *ROWS,
    ]
    rate = rows["training_rays_per_second"]["value"]
    against = rows["training_against_nerface_float32"]
    assert against["value"] == pytest.approx(rate / against["details"]["nerface_rays_per_second"][0])
    frames = rows["rendering_frames_per_second"]["value"]
    ratio = rows["rendering_against_nerface"]
    assert ratio["value"] == pytest.approx(frames * ratio["details"]["nerface_seconds_per_frame"][0])
    assert (tmp_path / "stages.png").is_file()
    print_report(report.as_json())
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)
    assert "inverse skinning" in printed
    assert "The machine was busy" in printed


def test_nerface_on_fewer_rays_is_scaled_by_their_number(build_tiny, monkeypatch) -> None:
    ours, peer = build_tiny("part_deformation"), build_tiny("nerface")
    set_up(ours)
    set_up(peer)
    rows = rendering_rows(ours, peer, rounds=1)
    assert median(rows[1].samples) == rows[1].value
    sizes = {}

    def a_second(method: MethodUnderTest, view: View) -> Duration:
        sizes[method.name] = (len(view), view.camera.width, view.camera.height)
        return Duration(1.0, 1.0)

    monkeypatch.setattr(rendering, "rendering_time", a_second)
    frames, ratio = rendering_rows(ours, peer, rounds=1)
    assert sizes == {"part_deformation": (1, 256, 256), "nerface": (1, 32, 32)}
    assert frames.value == 1
    assert ratio.value == 64
