"""The command on the embedded subject and on copies of it that are spoiled in one way each."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partnerface.cli.main import main
from partnerface.files.images import read_labels, read_matte, read_rgb, write_image
from partnerface.head_models.anny import AnnyHead


def _edit_frames(root: Path, change: Callable[[dict], None]) -> None:
    path = root / "transforms.json"
    record = json.loads(path.read_text())
    for entry in record["frames"]:
        change(entry)
    path.write_text(json.dumps(record))


def _edit_heads(root: Path, change: Callable[[dict], None], frames: int | None = None) -> None:
    for path in sorted((root / "head_parameters").iterdir())[:frames]:
        with np.load(path) as archive:
            arrays = dict(archive)
        change(arrays)
        np.savez(path, **arrays)


def _behind(arrays: dict) -> None:
    arrays["translation"][2] *= -1


def _aside(arrays: dict) -> None:
    arrays["translation"][0] += 0.15


def _still(arrays: dict) -> None:
    arrays["expression"][:] = 0


def _far_focus(entry: dict) -> None:
    entry["fl_x"] *= 20
    entry["fl_y"] *= 20


def _stretched(entry: dict) -> None:
    entry["fl_x"] *= 1.5


def _empty_mattes(root: Path) -> None:
    for path in (root / "fg_masks").iterdir():
        write_image(path, np.zeros((32, 32), np.uint8))


def _nearly_black(root: Path) -> None:
    for path in (root / "images").iterdir():
        write_image(path, read_rgb(path) // 12)


def _photo(root: Path) -> None:
    picture = read_rgb(root / "images" / "00000.png")
    grain = np.random.default_rng(0)
    for path in (root / "images").iterdir():
        write_image(path, (picture + grain.normal(0, 2, picture.shape)).clip(0, 255).astype(np.uint8))


def _tests_seen_in_training(root: Path) -> None:
    splits = json.loads((root / "transforms.json").read_text())["splits"]
    picture = read_rgb(root / "images" / f"{splits['train'][0]:05d}.png")
    for name in set(splits) - {"train"}:
        for frame in splits[name]:
            write_image(root / "images" / f"{frame:05d}.png", picture)


def _edit_pictures(root: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Of pictures, mattes and labels ``[32, 32, ...]`` alike."""
    readers = {"images": read_rgb, "fg_masks": read_matte, "labels": lambda path: read_labels(path, 255)}
    for folder, read in readers.items():
        for path in (root / folder).iterdir():
            write_image(path, change(read(path)))


def _panned(root: Path) -> None:
    """A wall with soft patterns behind the person passes by a quarter of the picture's width in all."""
    x, y = np.meshgrid(np.arange(32) / 32, np.arange(32) / 32)
    paths = sorted((root / "images").iterdir())
    for path, moved in zip(paths, np.linspace(0, 0.25, len(paths)), strict=True):
        wall = 128 + 40 * np.sin(17 * (x - moved) + 5 * y) + 30 * np.cos(11 * y - 8 * (x - moved))
        share = read_matte(root / "fg_masks" / path.name)[..., None] / 255
        write_image(path, (share * read_rgb(path) + (1 - share) * wall[..., None]).astype(np.uint8))


def _filmed_lower(root: Path) -> None:
    """By 8 pixels, so that the upper edge cuts the hair."""
    _edit_pictures(root, lambda picture: np.concatenate([picture[8:], np.repeat(picture[-1:], 8, 0)]))
    _edit_frames(root, lambda entry: entry.update(cy=entry["cy"] - 8))


def _squeezed(root: Path) -> None:
    """To 3/4 of the width, and so the identity: that of the head model which is nearest to it."""
    columns = (16 + (np.arange(32) - 15.5) / 0.75).clip(0, 31).astype(int)
    _edit_pictures(root, lambda picture: picture[:, columns])
    head = AnnyHead()
    basis = head.identity_basis.reshape(len(head.identity_basis), -1).double().numpy()
    with np.load(root / "canonical_head.npz") as archive:
        arrays = dict(archive)
    vertices = head.template_vertices.double().numpy() + (arrays["identity"] @ basis).reshape(-1, 3)
    wanted = (vertices - vertices.mean(0)) * [0.75, 1, 1] + vertices.mean(0) - head.template_vertices.numpy()
    normal = basis @ basis.T + 1e-6 * np.eye(len(basis))
    arrays["identity"] = np.linalg.solve(normal, basis @ wanted.reshape(-1)).astype(np.float32)
    np.savez(root / "canonical_head.npz", **arrays)


def _another_build(root: Path) -> None:
    path = root / "transforms.json"
    record = json.loads(path.read_text())
    record["head_model"]["checksum"] = "0123456789abcdef"
    path.write_text(json.dumps(record))


@pytest.fixture
def spoiled(synthetic_dataset: Path, tmp_path: Path) -> Path:
    shutil.copytree(synthetic_dataset, tmp_path / "set")
    return tmp_path / "set"


def _check(root: Path, out: Path) -> tuple[int, dict]:
    code = main(["check", str(root), "--out", str(out)])
    return code, json.loads((out / "check.json").read_text())


def test_the_embedded_subject_is_fit(synthetic_dataset: Path, tmp_path: Path, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in synthetic_dataset.rglob("*")}
    code, record = _check(synthetic_dataset, tmp_path / "out")
    assert code == 0
    assert record["verdict"] == "fit"
    assert record["reasons"] == []
    assert {finding["topic"] for finding in record["findings"]} == {
        *(
            "format",
            "tracking",
            "length",
            "camera",
            "projection",
            "proportions",
            "mattes",
            "motion",
            "light",
            "framing",
        ),
        *("camera motion", "splits", "coverage"),
    }
    assert record["coverage"]["train"]["frames"] == 17
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "check.json",
        "coverage.png",
        "overlay.png",
    ]
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"fit: {synthetic_dataset}")
    assert before == {path: path.stat().st_mtime_ns for path in synthetic_dataset.rglob("*")}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda root: _edit_heads(root, _behind), "tracking: 24 of 24 frames cannot be tracked right: "),
        (lambda root: _edit_heads(root, _aside), "projection: only "),
        (lambda root: _edit_heads(root, _still), "coverage: the expression never changes"),
        (lambda root: _edit_frames(root, _far_focus), "camera: focal length of 46"),
        (lambda root: _edit_frames(root, _stretched), "camera: pixels are stretched by 1.50"),
        (_empty_mattes, "mattes: 24 of 24 mattes are empty: frames 0-23"),
        (_tests_seen_in_training, "splits: 2 of 2 pictures of temporal are in training too"),
        (_nearly_black, "light: nearly black: the face has a brightness of 9 of 255"),
        (_photo, "motion: a still picture"),
        (_another_build, "head model: dataset synthetic-a: made for head model anny 1 (checksum 0123456789"),
    ],
)
def test_a_spoiled_copy_is_unfit_for_its_own_reason(
    spoiled: Path, tmp_path: Path, capsys, spoil, reason
) -> None:
    spoil(spoiled)
    code, record = _check(spoiled, tmp_path / "out")
    assert code == 1
    assert record["verdict"] == "unfit"
    assert any(text.startswith(reason) for text in record["reasons"]), record["reasons"]
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert verdict.startswith(f"unfit: {spoiled}: ")
    assert reason in verdict


@pytest.mark.parametrize(
    ("spoil", "topic", "text"),
    [
        (
            _panned,
            "camera motion",
            r"the camera moves: the background shifts by 2[3-7]% of .*; put it on",
        ),
        (
            _filmed_lower,
            "framing",
            r"the picture's upper edge cuts the hair in 100% of .*; film with room",
        ),
        (_squeezed, "proportions", r"the face is narrow: 0\.[67]\d times the usual .* the video is squeezed"),
    ],
)
def test_what_makes_the_avatar_worse_is_said_and_the_dataset_stays_fit(
    spoiled: Path, tmp_path: Path, capsys, spoil, topic, text
) -> None:
    """As for the dataset as it was, which is short: beside the doubts of that one, there is this one."""
    spoil(spoiled)
    code, record = _check(spoiled, tmp_path / "out")
    printed = capsys.readouterr().out
    assert (code, record["verdict"]) == (0, "fit")
    assert re.search(rf"^  doubt  {topic} +{text}", printed, re.MULTILINE), printed
    verdict = f"fit: {spoiled}, with doubts about "
    topics = printed.splitlines()[-1].removeprefix(verdict).split(", ")
    assert sorted(topics) == sorted(["tracking", "length", topic])


def test_one_impossible_frame_is_left_out_and_named(spoiled: Path, tmp_path: Path) -> None:
    _edit_heads(spoiled, _behind, frames=1)
    code, record = _check(spoiled, tmp_path / "out")
    assert code == 0
    assert "tracking: 1 of 24 frames cannot be tracked right: 0 (head behind the camera)" in record["doubts"]


def test_what_cannot_be_read_ends_with_code_2(tmp_path: Path, synthetic_dataset: Path, capsys) -> None:
    assert main(["check", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "none: no such folder of a dataset" in capsys.readouterr().err
    assert main(["check", str(synthetic_dataset), "--out", str(synthetic_dataset)]) == 2
    assert "is the dataset itself" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_report_lies_in_runs_by_default(synthetic_dataset: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(synthetic_dataset)]) == 0
    assert (tmp_path / "runs" / "check" / synthetic_dataset.name / "check.json").is_file()
