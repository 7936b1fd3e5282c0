"""What the page has to say, from logs and reports that may be damaged."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.dataset_checks.sequence_checks import TRACKING_REPORT, tracking_report
from partnerface.files.video_reading.read import read_video
from partnerface.files.videos import small_video, write_video
from partnerface.result_page.findings import range_findings, tracker_findings, training_findings
from partnerface.result_page.training_curves import curve_figures, logged_curves


def test_skipped_steps_are_a_doubt() -> None:
    assert training_findings({}) == []
    fine, bad = (training_findings({"train/skipped_steps": [(9, 60.0, n)]})[0] for n in (0.0, 3.0))
    assert (fine.severity, fine.text) == ("ok", "10 steps in 1.0 minutes, none skipped")
    assert bad.severity == "doubt"
    assert bad.text.startswith("3 steps were skipped")


def test_the_trackers_report_is_read_as_that_of_a_stranger(tmp_path: Path) -> None:
    path = tmp_path / TRACKING_REPORT
    assert tracker_findings(tracking_report(tmp_path)) == []
    path.write_text("[" * 100_000)
    assert tracker_findings(tracking_report(tmp_path)) == []
    for record in ({}, {"frames_without_face": "x", "residual_px_at_512": 3}, {"jump_cuts": [{"a": 1}]}):
        path.write_text(json.dumps(record))
        assert [finding.severity for finding in tracker_findings(tracking_report(tmp_path))] == ["ok"]
    path.write_text(json.dumps({"frames_without_face": [3, 4, 5, 9], "residual_px_at_512": {"mean": 7.25}}))
    texts = [finding.text for finding in tracker_findings(tracking_report(tmp_path))]
    assert texts == [
        "no face in frames 3-5, 9",
        "landmarks lie 7.2 px off on average, in a picture 512 high",
    ]
    path.write_text(json.dumps({"frames_without_face": list(range(0, 4000, 2))}))
    assert len(tracker_findings(tracking_report(tmp_path))[0].text) < 200


def test_test_frames_beyond_training_are_counted(synthetic_dataset: Path) -> None:
    sequence = PartnerfaceReader(synthetic_dataset).read()
    expression = torch.zeros_like(sequence.head.expression)
    tests = sorted({i for name in sequence.test_splits for i in sequence.splits[name]})
    expression[tests[0], 2], expression[tests[1], 2] = 0.4, -0.3
    sequence = replace(sequence, head=replace(sequence.head, expression=expression))
    size = expression.shape[1]
    defaults = SimpleNamespace(expression_low=torch.zeros(size), expression_high=torch.full((size,), 0.36))
    names = [f"e{k}" for k in range(size)]
    avatar = SimpleNamespace(
        view_defaults=defaults, head_model=SimpleNamespace(asset=SimpleNamespace(expression_names=names))
    )
    (found,) = range_findings(sequence, avatar)
    # 0.4 lies within 0.05 of the range.
    assert (
        found.text == f"1 of {len(tests)} test frames go beyond the expressions of training, most often in e2"
    )


def test_damaged_rows_of_a_log_are_left_out(tmp_path: Path) -> None:
    assert logged_curves(tmp_path) == {}
    rows = [
        "step,seconds,name,value",
        "1,1.0,train/psnr,20",
        "2,x,train/psnr,21",
        "3,3.0,train/psnr,nan",
        "4,4",
    ]
    (tmp_path / "metrics.csv").write_bytes("\n".join([*rows, "5,5.0,train/psnr,22"]).encode() + b"\n\xff,\0")
    assert logged_curves(tmp_path) == {"train/psnr": [(1, 1.0, 20.0), (5, 5.0, 22.0)]}


def test_figures_are_elements_with_the_colour_of_the_page() -> None:
    curve = [(step, float(step), 1.0 / step) for step in range(1, 40)]
    losses = {f"train/loss/{name}": curve for name in ("a", "_b", "$\\frac", "x" * 90, "<i>")}
    figures = curve_figures(
        {"train/psnr": curve, "val/psnr": curve[:2], **losses, "train/loss/zero": [(1, 1.0, 0.0)]}
    )
    assert len(figures) == 2
    for title, svg in figures:
        root = ElementTree.fromstring(svg)
        assert root.get("aria-label") == title
        assert "currentColor" in svg
        assert "http" not in "".join(v for element in root.iter() for v in element.attrib.values())
    names = "".join(ElementTree.fromstring(figures[1][1]).itertext())
    assert all(name in names for name in ("<i>", "$\\frac", "b"))
    assert "zero" not in names
    identifiers = [
        e.get("id") for _, svg in figures for e in ElementTree.fromstring(svg).iter() if e.get("id")
    ]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_a_large_video_is_made_small_or_left_out(tmp_path: Path, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (24, 8, 15, 3), np.uint8)
    frames = np.kron(noise, np.ones((1, 20, 64, 1), np.uint8))
    write_video(tmp_path / "large.mp4", list(frames), 2.0)
    assert small_video(tmp_path / "large.mp4", 10**9) == ((tmp_path / "large.mp4").read_bytes(), "")
    most = int(share * (tmp_path / "large.mp4").stat().st_size)
    content, remark = small_video(tmp_path / "large.mp4", most)
    if not share:
        assert content is None
        return
    assert len(content) <= most
    (tmp_path / "small.mp4").write_bytes(content)
    sizes = {frame.image.shape[1] for frame in read_video(tmp_path / "small.mp4")}
    assert sizes <= {768, 480}
    assert str(sizes.pop()) in remark
