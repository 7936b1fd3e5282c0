import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from partnerface.errors import UserError
from partnerface.evaluation.metrics import L1, PSNR
from partnerface.evaluation.report import (
    EvaluationProtocol,
    evaluation_report,
    metrics_protocol,
    report_table,
    retracked_caption,
    retracked_rows,
    split_protocol,
    write_report,
)

WORDS = {"train": "all others", "temporal": "the last dozen"}


class Unavailable(L1):
    def missing(self) -> str:
        return "no network"


VALUES = {"psnr": 27.125, "ssim": 0.91234, "ms_ssim": None, "lpips": None, "l1": 0.0123, "temporal": 0.0456}
COVERAGE = {"temporal": {"frames": 12, "yaw_max": 31.5}}
EMPTY = dict.fromkeys(VALUES)


def report(**changed) -> dict:
    frames = {"train": 80, "temporal": 12}
    metrics = metrics_protocol({"psnr": PSNR(), "lpips": Unavailable()})
    protocol = EvaluationProtocol("tiny", (128, 96), {"temporal": 12}, 80, WORDS, frames, metrics, lpips=None)
    scores = {"temporal": {"full_frame": {**VALUES, **changed}, "mouth": dict(EMPTY)}}
    return evaluation_report(
        protocol, scores, {"temporal": {"full_frame": {**VALUES, "psnr": 21.5}}}, COVERAGE
    )


def test_the_file_holds_what_the_readers_look_for(tmp_path):
    write_report(tmp_path / "metrics.json", report())
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["splits"]["temporal"]["full_frame"] == VALUES
    assert found["splits"]["temporal"]["mouth"]["psnr"] is None
    assert found["splits"]["temporal"]["nearest_frame"]["full_frame"]["psnr"] == 21.5
    protocol = found["protocol"]
    assert protocol["lpips"] is None
    assert protocol["metrics"]["lpips"]["missing"] == "no network"
    assert protocol["metrics"]["psnr"]["unit"] == "dB"
    assert protocol["metrics"]["psnr"]["higher_is_better"] is True
    assert (protocol["background"], protocol["resolution"]) == ("white", [128, 96])
    assert (protocol["test_parameters"], protocol["num_frames"]) == ("strict", {"temporal": 12})
    assert protocol["split_protocol"] == WORDS
    assert protocol["split_frames"] == {"train": 80, "temporal": 12}
    assert {"mask", "average", "temporal"} <= protocol.keys()
    assert (protocol["geometry"], protocol["refinement"]) == (None, None)
    assert found["coverage"] == COVERAGE
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_values_that_json_cannot_hold_are_refused(tmp_path):
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_report(tmp_path / "metrics.json", report(psnr=value))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"missing/metrics\.json"):
        write_report(tmp_path / "missing" / "metrics.json", report())


def test_the_table_shows_every_figure_and_why_lpips_is_missing():
    console = Console(file=io.StringIO(), width=120)
    console.print(report_table(report()))
    text = console.file.getvalue()
    for word in (
        "temporal",
        "12",
        "full_frame",
        "27.12",
        "0.9123",
        "0.0456",
        "21.50",
        "mouth",
        "strict",
        "no network",
    ):
        assert word in text, word


def test_a_report_of_before_has_a_table_too():
    """Trap: `create` prints the metrics.json that it finds, whatever version wrote it."""
    old = report()
    for key in ("geometry", "refinement", "metrics", "temporal"):
        del old["protocol"][key]
    for key in ("ms_ssim", "temporal"):
        del old["splits"]["temporal"]["full_frame"][key]
    console = Console(file=io.StringIO(), width=120)
    console.print(report_table(old))
    assert "27.12" in console.file.getvalue()


def test_a_dataset_that_does_not_say_how_it_was_split_is_not_given_another_ones_words():
    sequence = SimpleNamespace(
        splits={"train": [0], "temporal": [1]}, split_protocol={"temporal": "the last"}
    )
    assert split_protocol(sequence) == {"train": "not recorded by the dataset", "temporal": "the last"}


def test_what_was_found_again_stands_beside_the_nearest_frame_and_the_tracked_head():
    avatar = {"eyes": {"lid_aperture_mm": 0.1234, "lid_correlation": None}, "face": {"rotation_degrees": 1.5}}
    others = {"nearest_frame": {"eyes": {"lid_aperture_mm": 2.0}}, "tracked_head": {}}
    found = report() | {"retracked": {"temporal": {"avatar": avatar, **others}}}
    titles, [row] = retracked_rows(found)
    cells = dict(zip(titles, row, strict=True))
    assert cells["lids, mm"] == "0.123 (2.000; -)"
    assert cells["lids, correlation"] == "- (-; -)"
    assert cells["turn, degrees"] == "1.500 (-; -)"
    assert retracked_rows(report())[1] == []


def test_a_split_with_too_few_faces_shows_how_few_and_is_named():
    seen = {"face": {"frames": 1.0, "found_share": 0.025}}
    full = {"face": {"found_share": 1.0}, "eyes": {}}
    tables = {"temporal": {"avatar": full}, "pose": {"avatar": seen, "nearest_frame": seen}}
    found = report() | {"retracked": tables}
    titles, rows = retracked_rows(found)
    assert dict(zip(titles, rows[1], strict=True))["faces found, share"] == "0.025 (0.025; -)"
    assert retracked_caption(found).endswith("; too few faces were found to compare in pose")
    assert "too few" not in retracked_caption({"retracked": {"temporal": {"avatar": full}}})


def test_the_table_says_why_nothing_was_found_again():
    found = report()
    found["protocol"]["retracking_missing"] = "no model file"
    console = Console(file=io.StringIO(), width=160)
    console.print(report_table(found))
    assert "no re-tracking: no model file" in " ".join(console.file.getvalue().split())
