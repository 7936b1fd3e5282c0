import json

import numpy as np
import pytest
import torch

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.errors import UserError
from partnerface.files.images import write_image


def edit_json(root, change):
    path = root / "transforms.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def edit_arrays(path, **changed):
    with np.load(path) as archive:
        arrays = {**archive, **changed}
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})


@pytest.fixture
def root(tmp_path, tiny_video):
    tiny_video().write(tmp_path / "set")
    return tmp_path / "set"


def refused(root, *words):
    with pytest.raises(UserError) as caught:
        PartnerfaceReader(root).read()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_missing_folder(tmp_path):
    refused(tmp_path / "nothing", "nothing", "partnerface track")


@pytest.mark.parametrize(
    "name",
    [
        "images/00002.png",
        "fg_masks/00000.png",
        "labels/00005.png",
        "head_parameters/00001.npz",
        "canonical_head.npz",
    ],
)
def test_missing_file_is_named(root, name):
    (root / name).unlink()
    refused(root, name, "missing")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "null", '{"format": "other"}'])
def test_text_that_is_no_dataset(root, text):
    (root / "transforms.json").write_text(text)
    refused(root, "transforms.json")


def test_another_version(root):
    edit_json(root, lambda r: r.update(format_version=99))
    refused(root, "transforms.json", "version 99")


@pytest.mark.parametrize(
    "key", ["frames", "w", "fps", "head_model", "neck_line", "splits", "coverage", "name"]
)
def test_missing_key_is_named(root, key):
    edit_json(root, lambda r: r.pop(key))
    refused(root, "transforms.json", key)


@pytest.mark.parametrize("key", ["file_path", "fl_x", "transform_matrix", "frame_weight"])
def test_missing_key_of_a_frame_is_named(root, key):
    edit_json(root, lambda r: r["frames"][3].pop(key))
    refused(root, "transforms.json", key)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("fps", float("nan"), "fps"),
        ("fps", 0, "fps"),
        ("frames", [], "no frames"),
        ("frames", 3, "transforms.json"),
        ("frames", [1], "transforms.json"),
        ("w", "wide", "wide"),
        ("head_model", {"name": "x"}, "version"),
        ("splits", {"train": [99]}, "train"),
        ("splits", {"train": [-1]}, "train"),
        ("splits", {"train": [True]}, "train"),
        ("splits", {"train": [1, 1]}, "twice"),
        ("splits", {"train": [1], "temporal": [1]}, "temporal"),
        ("splits", [], "transforms.json"),
    ],
)
def test_wrong_values(root, key, value, word):
    edit_json(root, lambda r: r.update({key: value}))
    refused(root, "transforms.json", word)


def test_times_are_kept_and_do_not_go_back(tmp_path, tiny_video, root):
    assert PartnerfaceReader(root).read().times is None
    times = torch.tensor([0, 0.04, 0.08, 7.1234567, 7.16, 7.2], dtype=torch.float64)
    found = tiny_video(times=times).write(tmp_path / "uneven").times
    torch.testing.assert_close(found, times, atol=1e-6, rtol=0)
    for value in (0.01, float("nan"), "late"):
        edit_json(tmp_path / "uneven", lambda r, value=value: r["frames"][2].update(time=value))
        refused(tmp_path / "uneven", "transforms.json", "late" if value == "late" else "'time' goes back")
    edit_json(tmp_path / "uneven", lambda r: r["frames"][2].pop("time"))
    refused(tmp_path / "uneven", "transforms.json", "no 'time'")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fl_x", float("nan")),
        ("transform_matrix", [[1, 0], [0, 1]]),
        ("transform_matrix", np.diag([2.0, 1, 1, 1]).tolist()),
        ("transform_matrix", np.full((4, 4), np.nan).tolist()),
    ],
)
def test_wrong_cameras(root, key, value):
    edit_json(root, lambda r: r["frames"][2].update({key: value}))
    refused(root, "transforms.json", key)


def test_a_frame_without_weight_in_a_split(root):
    edit_json(root, lambda r: r["frames"][1].update(frame_weight=0.0))
    refused(root, "train")


@pytest.mark.parametrize("key", ["file_path", "fg_mask_path", "label_path", "head_parameters_path"])
@pytest.mark.parametrize(
    "kind", ["absolute", "parent", "hidden parent", "link", "number", "null byte", "empty"]
)
def test_paths_that_leave_the_folder(root, tmp_path, key, kind):
    """The target exists and is a proper file, so nothing but its place can be the reason."""
    entry = json.loads((root / "transforms.json").read_text())["frames"][0][key]
    outside = tmp_path / "outside"
    (root / entry).rename(outside)
    if kind == "link":
        (root / entry).symlink_to(outside)
    paths = {
        "absolute": str(outside),
        "parent": "../outside",
        "hidden parent": "images/../../outside",
        "link": entry,
        "number": 7,
        "null byte": "images/\0",
        "empty": "",
    }
    edit_json(root, lambda r: r["frames"][0].update({key: paths[kind]}))
    refused(root, "transforms.json", "write" if kind in ("number", "null byte", "empty") else "leads out")


def test_an_absolute_path_into_the_folder_is_refused_too(root):
    edit_json(root, lambda r: r["frames"][0].update(file_path=str(root / "images" / "00000.png")))
    refused(root, "leads out")


def test_a_linked_dataset_folder_is_fine(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert len(PartnerfaceReader(tmp_path / "link").read()) == 6


@pytest.mark.parametrize("folder", ["images", "fg_masks", "labels"])
def test_images_of_another_size(root, folder):
    write_image(root / folder / "00004.png", np.zeros((24, 31), np.uint8))
    refused(root, f"{folder}/00004.png", "31x24", "32x24")


def test_an_image_that_is_none(root):
    (root / "images" / "00001.png").write_text("no image")
    refused(root, "images/00001.png")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"expression": None}, ["expression"]),
        ({"expression": np.zeros(5, np.float32)}, ["expression", "(5,)", "(4,)"]),
        ({"translation": np.full(3, np.nan, np.float32)}, ["translation", "finite"]),
        ({"translation": np.array(["a", "b", "c"])}, ["translation"]),
        ({"translation": np.full(3, 1e300)}, ["translation", "finite"]),
        ({"rotation": np.zeros((3, 3), np.float32)}, ["rotation matrix"]),
        ({"rotation": np.diag([1, 1, -1]).astype(np.float32)}, ["rotation matrix"]),
        ({"joint_rotations": np.eye(3, dtype=np.float32)[None]}, ["other arrays"]),
        ({"torso_rotation": None}, ["other arrays"]),
    ],
)
def test_wrong_head_parameters(root, changed, words):
    edit_arrays(root / "head_parameters" / "00003.npz", **changed)
    refused(root, "00003.npz", *words)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x80\x04N."])
def test_damaged_archives(root, content):
    (root / "head_parameters" / "00002.npz").write_bytes(content)
    refused(root, "00002.npz")


def test_pickled_objects_are_never_loaded(root):
    path = root / "head_parameters" / "00002.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, "expression": np.array([{"a": 1}], dtype=object)})
    refused(root, "00002.npz")


def test_identity_of_another_length(root):
    edit_arrays(root / "canonical_head.npz", identity=np.zeros(9, np.float32))
    refused(root, "canonical_head.npz", "identity")


@pytest.mark.parametrize("name", ["transforms.json", "head_parameters/00001.npz", "canonical_head.npz"])
def test_random_damage_is_read_or_refused_in_one_line(root, name):
    generator = np.random.default_rng(0)
    whole = (root / name).read_bytes()
    messages = []
    for _ in range(60):
        damaged = bytearray(whole)
        place, length = generator.integers(len(damaged)), generator.integers(1, 20)
        damaged[place : place + length] = generator.bytes(generator.integers(0, 20))
        (root / name).write_bytes(damaged)
        try:
            PartnerfaceReader(root).read()
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert not any("\n" in message for message in messages)
