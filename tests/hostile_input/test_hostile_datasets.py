"""Bad datasets, each refused by ``partnerface check`` in one line that names file and field."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from partnerface.cli.main import main
from tests.hostile_input import spoiling as bad

HEAD, CANONICAL, RECORD = "head_parameters/00003.npz", "canonical_head.npz", "transforms.json"
PICTURE, MATTE, LABELS = "images/00004.png", "fg_masks/00004.png", "labels/00004.png"
PATH_KEYS = ("file_path", "fg_mask_path", "label_path", "head_parameters_path")
NAN, INF = float("nan"), float("inf")
EPS = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n(touch canary) (w) file closefile\nshowpage\n"
GREY = Image.new("L", (32, 32), 255)

TEXTS = {
    "empty": bad.content(RECORD, ""),
    "cut": bad.cut(RECORD),
    "bracket": bad.content(RECORD, "{"),
    "null": bad.content(RECORD, "null"),
    "list": bad.content(RECORD, "[]"),
    "number": bad.content(RECORD, "7"),
    "deep": bad.content(RECORD, "[" * 200_000),
    "deep table": bad.content(RECORD, '{"a":' * 200_000),
    "bytes": bad.content(RECORD, bytes(range(256))),
    "utf-16": bad.content(RECORD, '{"format": "partnerface"}'.encode("utf-16")),
    "long number": bad.content(RECORD, '{"w": ' + "9" * 10_000 + "}"),
    "enormous": bad.sparse(RECORD, 10**10),
    "large": bad.sparse(RECORD, 200_000_000),
    "missing": bad.missing(RECORD),
    "folder": bad.folder_instead(RECORD),
    "pipe": bad.pipe_instead(RECORD),
    "link out": bad.link_out(RECORD),
    "link loop": bad.link_to(RECORD, RECORD),
    "link to device": bad.link_to(RECORD, "/dev/zero"),
    "format": bad.key("format", "other"),
    "format table": bad.key("format", {}),
    "version": bad.key("format_version", 99),
}

OF_NO_SYSTEM = ("missing", "format", "format table")

VALUES = [
    *[(name, bad.no_key(name)) for name in ("frames", "w", "h", "fps", "head_model", "neck_line")],
    *[(name, bad.no_key(name)) for name in ("splits", "coverage", "name")],
    *[(name, bad.no_frame_key(name)) for name in ("fl_x", "cy", "transform_matrix", "frame_weight")],
    *[(name, bad.no_frame_key(name)) for name in PATH_KEYS],
    *[("frames", bad.key("frames", value)) for value in ([], {}, "all", 3, None)],
    *[("frame 0", bad.key("frames", [value])) for value in (1, "0", None, [])],
    *[("", bad.key("w", value)) for value in ("wide", None, 0, -5, INF, 1e400, [32])],
    *[("fps", bad.key("fps", value)) for value in (NAN, 0, -25, INF)],
    ("fast", bad.key("fps", "fast")),
    *[("neck_line", bad.key("neck_line", value)) for value in (NAN, 5, -1)],
    *[("coverage", bad.key("coverage", value)) for value in ([], {"train": 3}, {"train": {"yaw": "x"}})],
    ("coverage", bad.key("coverage", {"train": {"yaw_min": NAN}})),
    *[("split_protocol", bad.key("split_protocol", value)) for value in ("random", ["all"], None)],
    *[("split_protocol", bad.key("split_protocol", {"train": v})) for v in (3, "a\nb", "x" * 10_000)],
    *[("name", bad.key("name", value)) for value in (3, "x" * 10_000, "a\nb", "\x1b]0;title\x07", "a\0")],
    *[("fl_x", bad.frame_key("fl_x", value)) for value in (NAN, 0, -100, INF, 1e39)],
    ("cx", bad.frame_key("cx", NAN)),
    *[("transform_matrix", bad.frame_key("transform_matrix", value)) for value in ("x", None, 3, [], [[1]])],
    ("transform_matrix", bad.frame_key("transform_matrix", [[1, 0], [0, 1]])),
    ("transform_matrix", bad.frame_key("transform_matrix", [[1, 0, 0, 0], [0, 1, 0], [0], []])),
    ("transform_matrix", bad.frame_key("transform_matrix", [[NAN] * 4] * 4)),
    ("transform_matrix", bad.frame_key("transform_matrix", [["a"] * 4] * 4)),
    ("rotation", bad.frame_key("transform_matrix", np.diag([2.0, 1, 1, 1]).tolist())),
    ("rotation", bad.frame_key("transform_matrix", np.diag([1.0, 1, -1, 1]).tolist())),
    *[("frame_weight", bad.frame_key("frame_weight", value)) for value in (NAN, -1, 2, INF)],
    ("temporal", bad.splits(temporal=[99])),
    ("train", bad.splits(train=[-1])),
    ("train", bad.splits(train=[True])),
    ("train", bad.splits(train=[1.0])),
    ("train", bad.splits(train=["1"])),
    ("twice", bad.splits(train=[1, 1])),
    ("shares", bad.splits(val=[0, 1])),
    ("train", bad.splits(train=[])),
    ("lists", bad.splits(train={"0": 1})),
    ("splits", bad.key("splits", [])),
    ("splits", bad.key("splits", {})),
    ("train", bad.frame_key("frame_weight", 0.0, 0)),
    *[("head_model", bad.key("head_model", value)) for value in ([], "anny", None)],
    ("no 'version'", bad.key("head_model", {"name": "anny"})),
    ("name", bad.head_model(name=7)),
    ("num_identity", bad.head_model(num_identity="90")),
    ("num_expression", bad.head_model(num_expression=-1)),
    ("num_identity", bad.head_model(num_identity=True)),
]

ARCHIVES = [
    ("", bad.missing(HEAD)),
    ("", bad.content(HEAD, b"")),
    ("", bad.content(HEAD, b"PK\x03\x04 cut")),
    ("", bad.cut(HEAD)),
    ("", bad.folder_instead(HEAD)),
    ("", bad.pipe_instead(HEAD)),
    ("", bad.pickle_instead(HEAD)),
    ("expression", bad.pickled_array(HEAD, "expression")),
    ("expression", bad.arrays(HEAD, expression=None)),
    ("expression", bad.arrays(HEAD, expression=np.zeros(5, np.float32))),
    ("expression", bad.arrays(HEAD, expression=np.zeros((52, 1), np.float32))),
    ("expression", bad.arrays(HEAD, expression=np.zeros(52, np.int64))),
    ("expression", bad.arrays(HEAD, expression=np.zeros(52, np.complex64))),
    ("expression", bad.arrays(HEAD, expression=np.array(["a"] * 52))),
    ("expression", bad.arrays(HEAD, expression=np.zeros(52, "M8[s]"))),
    ("expression", bad.arrays(HEAD, expression=np.zeros(52, [("x", "f4")]))),
    ("expression", bad.unpacking_array(HEAD, "expression", 100)),
    ("translation", bad.arrays(HEAD, translation=np.full(3, NAN, np.float32))),
    ("translation", bad.arrays(HEAD, translation=np.full(3, INF))),
    ("translation", bad.arrays(HEAD, translation=np.full(3, 1e300))),
    ("rotation", bad.arrays(HEAD, rotation=np.zeros((3, 3), np.float32))),
    ("rotation", bad.arrays(HEAD, rotation=np.diag([1, 1, -1]).astype(np.float32))),
    ("rotation", bad.arrays(HEAD, rotation=np.full((3, 3), 1e30, np.float32))),
    ("other arrays", bad.arrays(HEAD, torso_rotation=None)),
    ("other arrays", bad.arrays(HEAD, joint_rotations=np.eye(3, dtype=np.float32)[None])),
    ("torso_motion", bad.arrays(HEAD, torso_motion=np.eye(3, dtype=np.float32))),
    *[
        ("", bad.npy_header(HEAD, "translation", header, b"\0" * 12))
        for header in (
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
            b"{'descr': '<f4', 'shape': (3,)}",
            b"__import__('os').system('touch canary')",
            b"(" * 5000,
            b"(" * 20_000,
        )
    ],
]

CANONICAL_ARRAYS = [
    ("", bad.missing(CANONICAL)),
    ("", bad.content(CANONICAL, b"no archive")),
    ("leads out", bad.link_out(CANONICAL)),
    ("identity", bad.arrays(CANONICAL, identity=None)),
    ("identity", bad.arrays(CANONICAL, identity=np.zeros(9, np.float32))),
    ("identity", bad.arrays(CANONICAL, identity=np.full(90, NAN))),
    ("identity", bad.arrays(CANONICAL, identity=np.full(90, 1e6, np.float32))),
    ("identity", bad.pickled_array(CANONICAL, "identity")),
    ("shell_thickness", bad.arrays(CANONICAL, shell_thickness=np.full(5555, -0.1))),
    ("shell_thickness", bad.arrays(CANONICAL, shell_thickness=np.full(5555, 1e9))),
    ("shell_thickness", bad.arrays(CANONICAL, shell_thickness=np.zeros((5555, 1)))),
    ("shell_thickness", bad.unpacking_array(CANONICAL, "shell_thickness", 100)),
]

PICTURES = [
    *[(name, bad.missing(name)) for name in (PICTURE, MATTE, LABELS)],
    *[(name, bad.content(name, b"")) for name in (PICTURE, MATTE, LABELS)],
    *[(name, bad.cut(name)) for name in (PICTURE, MATTE)],
    (PICTURE, bad.flipped(PICTURE)),
    (PICTURE, bad.content(PICTURE, "no image")),
    (PICTURE, bad.folder_instead(PICTURE)),
    (MATTE, bad.pipe_instead(MATTE)),
    *[(name, bad.image(name, Image.new("L", (31, 32)))) for name in (PICTURE, MATTE, LABELS)],
    (PICTURE, bad.image(PICTURE, Image.new("RGB", (32, 32)), "GIF")),
    (PICTURE, bad.image(PICTURE, Image.new("RGB", (32, 32)), "TIFF")),
    (PICTURE, bad.image(PICTURE, Image.new("RGB", (32, 32)), "BMP")),
    (PICTURE, bad.content(PICTURE, EPS)),
    (PICTURE, bad.image(PICTURE, Image.new("I;16", (32, 32)))),
    (MATTE, bad.image(MATTE, Image.new("I;16", (32, 32)))),
    (MATTE, bad.image(MATTE, Image.new("P", (32, 32)))),
    (LABELS, bad.image(LABELS, Image.new("P", (32, 32)))),
    (LABELS, bad.image(LABELS, Image.new("RGB", (32, 32)))),
    ("label 255", bad.image(LABELS, GREY)),
    ("pixels", bad.png_header(PICTURE, 60_000, 60_000)),
    ("9000x9000", bad.png_header(PICTURE, 9_000, 9_000)),
    (PICTURE, bad.png_header(PICTURE, 2**31 - 1, 2**31 - 1)),
    (PICTURE, bad.png_header(PICTURE, 0, 0)),
    (PICTURE, bad.png_header(PICTURE, 32, 32)),
    (PICTURE, bad.png_header(PICTURE, 32, 32, b"a" * 50_000_000)),
]


@pytest.mark.parametrize("kind", TEXTS)
def test_text_that_is_no_dataset(refused_dataset, kind: str) -> None:
    """Without a record of ours the folder is that of no system."""
    refused_dataset(TEXTS[kind], "is no dataset of a known format" if kind in OF_NO_SYSTEM else RECORD)


@pytest.mark.parametrize(("word", "spoil"), VALUES, ids=range(len(VALUES)))
def test_values_that_cannot_be(refused_dataset, word: str, spoil) -> None:
    # A wrong size is told by the first picture that has another.
    refused_dataset(spoil, "/set/", word)


@pytest.mark.parametrize("key", PATH_KEYS)
@pytest.mark.parametrize("kind", ["absolute", "parent", "hidden"])
def test_paths_out_of_the_dataset(refused_dataset, key: str, kind: str) -> None:
    refused_dataset(bad.path_out(key, kind), RECORD, "leads out")


@pytest.mark.parametrize("name", ["images/00002.png", "fg_masks/00002.png", "labels/00002.png", HEAD])
def test_links_out_of_the_dataset(refused_dataset, name: str) -> None:
    refused_dataset(bad.link_out(name), RECORD, name, "leads out")


@pytest.mark.parametrize(
    "value", [7, "", "images/\0.png", None, ["images/00001.png"], "images/none.png", "images"]
)
def test_paths_that_are_none(refused_dataset, value) -> None:
    refused_dataset(bad.frame_key("file_path", value), "")


@pytest.mark.parametrize("key", PATH_KEYS)
def test_two_frames_of_one_file(refused_dataset, key: str) -> None:
    def spoil(content: dict) -> None:
        content["frames"][7][key] = content["frames"][6][key]

    refused_dataset(bad.record(spoil), RECORD, key, "in 2 frames")


@pytest.mark.parametrize(("word", "spoil"), ARCHIVES, ids=range(len(ARCHIVES)))
def test_head_parameters(refused_dataset, word: str, spoil) -> None:
    refused_dataset(spoil, "00003.npz", word)


@pytest.mark.parametrize(("word", "spoil"), CANONICAL_ARRAYS, ids=range(len(CANONICAL_ARRAYS)))
def test_canonical_heads(refused_dataset, word: str, spoil) -> None:
    refused_dataset(spoil, CANONICAL, word)


@pytest.mark.parametrize(("word", "spoil"), PICTURES, ids=range(len(PICTURES)))
def test_pictures(refused_dataset, word: str, spoil) -> None:
    refused_dataset(spoil, "/0000", word)


def test_two_frames_of_one_file_by_different_names(refused_dataset) -> None:
    spoil = bad.frame_key("file_path", "images/../images/./00006.png", 7)
    refused_dataset(spoil, RECORD, "file_path", "00006.png in 2 frames")


def test_a_folder_named_in_another_alphabet(dataset_bench) -> None:
    """It is read like any other, and named in the line where it is damaged."""
    other = dataset_bench.folder / "датасет 数据 é"
    shutil.copytree(dataset_bench.root, other)
    assert main(["check", str(other), "--out", str(dataset_bench.out / "é")]) == 0
    (other / HEAD).unlink()
    dataset_bench.refuses(
        ["check", str(other), "--out", str(dataset_bench.out)], "датасет 数据 é", "00003.npz"
    )


def test_a_dataset_that_is_a_file(bench) -> None:
    bench.root.write_text("a file")
    bench.refuses(["check", str(bench.root), "--out", str(bench.out)], "set")


def test_training_refuses_what_the_check_refuses(dataset_bench, smoke_arguments) -> None:
    bad.arrays(HEAD, translation=np.full(3, NAN))(dataset_bench)
    arguments = [
        *("fit", *smoke_arguments, f"--run_dir={dataset_bench.out}"),
        "--data.reader=partnerface.data.formats.partnerface.PartnerfaceReader",
        f"--data.reader.init_args.root={dataset_bench.root}",
    ]
    dataset_bench.refuses(arguments, "00003.npz", "translation")
