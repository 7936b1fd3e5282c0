"""Datasets of other systems: the head lies where an independent script of each format says."""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import partnerface
from partnerface.cli.main import main
from partnerface.data.completion import overlapping_faces, torso_motion
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.data.formats import foreign_reader, mesh_sequence
from partnerface.data.formats.auto import AutoReader
from partnerface.data.formats.foreign import DatasetFolder, GivenHeadModel
from partnerface.data.formats.imavatar import IMAVATAR as IMAVATAR_FORMAT
from partnerface.data.formats.vhap import VHAP as VHAP_FORMAT
from partnerface.data.sequence import TrackedSequence, head_model_record
from partnerface.errors import UserError
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_parts import head_parts, landmark_points
from tests.data.formats import peers


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """How the torso moves is not looked at here."""
    monkeypatch.setattr(torso_motion, "ITERATIONS", 1)


def check_head(sequence: TrackedSequence, truth: peers.Truth, pixel: float = 0.05) -> None:
    """Posing the head and projecting it is all that a user has to do."""
    assert len(sequence) == len(truth.pixels)
    assert len(set(sequence.frame_names)) == len(sequence)
    with torch.no_grad():
        vertices = sequence.head_model(sequence.head).vertices
    in_camera, (pixels, _) = sequence.camera.world_to_camera(vertices), sequence.camera.project(vertices)
    assert np.abs(in_camera.numpy() - truth.in_camera).max() < 1e-4
    assert np.abs(pixels.numpy() - truth.pixels).max() < pixel
    assert sequence.splits["train"] == truth.train
    assert sequence.splits.get("test", []) == truth.test
    assert not sequence.left_out


VHAP = {
    "plain": {},
    "static offset": {"static_offset": 120},
    "static offset with teeth": {"static_offset": 240},
    "indices with gaps": {"indices": [3, 4, 8, 9, 10, 20, 21, 30, 31, 35]},
    "overlapping splits": {"both": 2},
    "union": {"beside": "sequence"},
    "meshes": {"meshes": True},
}


@pytest.mark.parametrize("case", VHAP)
def test_vhap(case, flame, flame_file, tmp_path):
    root = tmp_path / "set"
    truth = peers.write_vhap(root, flame, **VHAP[case])
    check_head(partnerface.read_sequence(root, head_model=flame_file), truth)


FLAME_WRITERS = {
    "vhap": peers.write_vhap,
    "imavatar": peers.write_imavatar,
    "flashavatar": peers.write_flash,
    "nersemble": peers.write_nersemble,
}


@pytest.mark.parametrize("kind", FLAME_WRITERS)
def test_the_flame_file_that_was_given_is_assumed(kind, flame, flame_file, tmp_path):
    """Another version with as many components would pose another head without an error."""
    FLAME_WRITERS[kind](tmp_path, flame)
    assumed = partnerface.read_sequence(tmp_path, head_model=flame_file).assumed
    [said] = (text for text in assumed if flame_file.name in text)
    assert hashlib.sha256(flame_file.read_bytes()).hexdigest()[:12] in said


def test_a_union_of_sequences_that_were_tracked_apart(flame, flame_file, tmp_path):
    """Each has an identity of its own and counts its time steps from 0."""
    truth = peers.write_union(tmp_path / "set", flame)
    sequence = partnerface.read_sequence(tmp_path / "set", head_model=flame_file)
    check_head(sequence, truth)
    assert any("identity of 2 sequences" in text for text in sequence.assumed)
    folder = DatasetFolder(tmp_path / "set")
    assert (VHAP_FORMAT.read(folder, GivenHeadModel(flame_file)).times.diff() > 0).all()
    before = folder.fingerprint
    (tmp_path / "EXP-2/flame_param/00003.npz").touch()
    assert DatasetFolder(tmp_path / "set").fingerprint != before


def test_a_union_has_the_identity_of_its_training(flame, flame_file, tmp_path):
    """Though the sequence that is tested comes first."""
    truth = peers.write_union(tmp_path / "set", flame)
    whole = json.loads((tmp_path / "set/transforms.json").read_text())
    for split, name in (("train", "EXP-2"), ("test", "EMO-1")):
        frames = [entry for entry in whole["frames"] if name in entry["file_path"]]
        peers.dump(tmp_path / f"set/transforms_{split}.json", {**whole, "frames": frames})
    truth.train, truth.test = list(range(10, 20)), list(range(10))
    sequence = partnerface.read_sequence(tmp_path / "set", head_model=flame_file)
    check_head(sequence, truth)
    np.testing.assert_allclose(sequence.head.identity, peers.Performance(2).shape, atol=1e-6)
    own = sequence.head.expression[:, -1]
    assert own.tolist() == [1.0] * 10 + [0.0] * 10
    assert any("it is that of EXP-2, the others" in text for text in sequence.assumed)


@pytest.mark.parametrize("meshes", [False, True])
def test_of_cameras_with_equally_many_frames_the_one_in_front(meshes, flame, flame_file, tmp_path):
    truth = peers.write_vhap(tmp_path, flame, meshes=meshes)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("y", 75, degrees=True).as_matrix()
    for path in tmp_path.glob("transforms*.json"):
        table = json.loads(path.read_text())
        profile = []
        for entry in table["frames"]:
            side = {**entry, "transform_matrix": turn @ entry["transform_matrix"]}
            side["file_path"] = entry["file_path"].replace("_00.png", "_side.png")
            shutil.copy(tmp_path / entry["file_path"], tmp_path / side["file_path"])
            profile.append(side)
            entry["camera_index"] = 1
        peers.dump(path, {**table, "frames": [*profile, *table["frames"]]})
    sequence = partnerface.read_sequence(tmp_path, head_model=None if meshes else flame_file)
    check_head(sequence, truth)
    [said] = (text for text in sequence.assumed if "cameras" in text)
    told, (_, centre) = peers.Performance(), peers.look_at_head(0, 0.6, moving=False)
    looks = np.stack([(told.pose(i)[0] @ told.pose(i)[1])[:, 2] for i in truth.train])
    towards = centre - told.shift[truth.train]
    cosine = (looks * towards).sum(1) / np.linalg.norm(towards, axis=1)
    # Meshes are taken to look along z.
    degrees = 15 if meshes else np.median(np.degrees(np.arccos(cosine)))
    found = re.fullmatch(
        r"of 2 cameras only number 1, which 7 training frames are of, as many as .* is (\d+) degrees off .*",
        said,
    )
    assert float(found[1]) == pytest.approx(degrees, abs=2 if meshes else 0.6)


def test_a_union_converted_and_back(flame, flame_file, tmp_path, capsys):
    truth = peers.write_union(tmp_path / "set", flame)
    arguments = ["convert", str(tmp_path / "set"), "--to", "vhap", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--head_model", str(flame_file)]) == 0
    check_head(partnerface.read_sequence(tmp_path / "out"), truth)


def change_frames(root: Path, change: Callable[[dict], object]) -> None:
    """Change every entry of the tables of a VHAP dataset."""
    for path in root.glob("transforms*.json"):
        table = json.loads(path.read_text())
        for entry in table["frames"]:
            change(entry)
        path.write_text(json.dumps(table))


def test_vhap_with_intrinsics_for_all_frames_alone(flame, flame_file, tmp_path):
    truth = peers.write_vhap(tmp_path, flame)
    change_frames(tmp_path, lambda entry: [entry.pop(key) for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")])
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth)


def test_vhap_with_a_field_of_view_alone(flame, flame_file, tmp_path):
    """GaussianAvatars reads nothing else, and takes the middle of the picture."""
    truth = peers.write_vhap(tmp_path, flame)
    focal, cx, cy = 83.0, 30.5, peers.HEIGHT - 27.25
    for path in tmp_path.glob("transforms*.json"):
        table = json.loads(path.read_text())
        kept = {key: value for key, value in table.items() if key not in ("fl_x", "fl_y", "cx", "cy")}
        path.write_text(json.dumps({**kept, "camera_angle_x": 2 * math.atan(peers.WIDTH / 2 / focal)}))
    change_frames(tmp_path, lambda entry: [entry.pop(key) for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")])
    truth.pixels += [peers.WIDTH / 2 - cx, peers.HEIGHT / 2 - cy]
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth)


def test_vhap_with_mattes_that_no_frame_names(flame, flame_file, tmp_path):
    truth = peers.write_vhap(tmp_path, flame)
    (tmp_path / "fg_masks").rename(tmp_path / "masks")
    change_frames(tmp_path, lambda entry: entry.pop("fg_mask_path"))
    sequence = partnerface.read_sequence(tmp_path, head_model=flame_file)
    check_head(sequence, truth)
    assert sequence.matte_paths == [tmp_path / "masks" / path.name for path in sequence.image_paths]


INSTA = {
    "plain": {},
    "no canonical mesh": {"canonical": False},
    "no splits": {"splits": False},
    "overlapping splits": {"both": 3},
    # From 5 to 14 with gaps, without leading zeros: as text 10 comes before 5.
    "numbers of one and two digits": {"name": lambda frame: str(frame + 5 + frame // 4)},
    # So near that the neck lies far below the picture.
    "the face alone": {"closer": 7},
}


@pytest.mark.parametrize("case", INSTA)
def test_insta(case, flame, tmp_path):
    truth = peers.write_insta(tmp_path, flame, **INSTA[case])
    sequence = partnerface.read_sequence(tmp_path)
    check_head(sequence, truth)
    said = "3 frames of the test split are in training too and count as training"
    assert (said in sequence.assumed) == (case == "overlapping splits")


@pytest.mark.parametrize(
    ("write", "key"), [(peers.write_vhap, "file_path"), (peers.write_insta, "mesh_path")]
)
@pytest.mark.parametrize("way", ["./{}", "images/..//{}"])
def test_a_frame_whose_path_is_written_in_another_way_is_the_same(
    write, key, way, flame, flame_file, tmp_path
):
    """Else a training frame would be tested on too."""
    truth = write(tmp_path, flame)
    train, test = (
        json.loads((tmp_path / f"transforms_{name}.json").read_text()) for name in ("train", "test")
    )
    test["frames"].append({**train["frames"][1], key: way.format(train["frames"][1][key])})
    peers.dump(tmp_path / "transforms_test.json", test)
    sequence = partnerface.read_sequence(tmp_path, head_model=flame_file)
    check_head(sequence, truth)
    assert "1 frames of the test split are in training too and count as training" in sequence.assumed


def test_meshes_whose_writer_ends_no_last_line(flame, tmp_path):
    truth = peers.write_insta(tmp_path, flame)
    for path in (tmp_path / "meshes").iterdir():
        path.write_text(path.read_text().rstrip("\n"))
    check_head(partnerface.read_sequence(tmp_path), truth)


def test_a_missing_mesh_of_insta_leaves_a_gap_in_time(flame, tmp_path, capsys):
    """In what is written in its format too; names whose numbers do not increase say nothing of time."""
    numbers = [3, 4, 5, 9, 10, 11, 12, 13, 14, 20]
    peers.write_insta(tmp_path / "set", flame, name=lambda frame: f"{numbers[frame]:05d}")
    out = tmp_path / "out"
    assert main(["convert", str(tmp_path / "set"), "--to", "insta", "--out", str(out)]) == 0
    for root in (tmp_path / "set", out):
        times = partnerface.read_sequence(root).times
        np.testing.assert_allclose(times, np.subtract(numbers, 3) / 25)
    peers.write_insta(tmp_path / "letters", flame, name=lambda frame: "abcdefghij"[frame] + "_7")
    assert partnerface.read_sequence(tmp_path / "letters").times is None


def test_a_head_of_meshes_has_no_landmarks_nor_a_file_to_find_them_on(flame, tmp_path):
    peers.write_insta(tmp_path, flame)
    sequence = partnerface.read_sequence(tmp_path)
    with pytest.raises(UserError, match=r"head model meshes: .*; a head that is made of a dataset's meshes"):
        head_parts(sequence.head_model)


@pytest.mark.parametrize("components", [3, 8])
def test_what_principal_components_do_not_hold_is_said(components, flame, tmp_path, monkeypatch):
    """Three do not hold the eight training meshes, eight do, but not those of the test."""
    monkeypatch.setattr(mesh_sequence, "MOST_COMPONENTS", components)
    truth = peers.write_insta(tmp_path, flame)
    sequence = partnerface.read_sequence(tmp_path)
    with torch.no_grad():
        placed = sequence.camera.world_to_camera(sequence.head_model(sequence.head).vertices)
    off = 1000 * np.linalg.norm(placed.numpy() - truth.in_camera, axis=2).max(1)
    [said] = (text for text in sequence.assumed if "which hold" in text)
    held = re.match(
        rf"{components} principal .* hold training meshes to (\S+) mm and other .* to (\S+) mm", said
    )
    for words, frames in zip(held.groups(), (truth.train, truth.test), strict=True):
        assert float(words) == pytest.approx(off[frames].max(), rel=0.02, abs=1e-3)
    assert off[truth.test].max() > 0.1


def test_a_byte_order_mark_is_no_fault(flame, tmp_path):
    truth = peers.write_insta(tmp_path, flame)
    path = tmp_path / "transforms_train.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    check_head(partnerface.read_sequence(tmp_path), truth)


IMAVATAR = {
    "plain": {},
    "alpha": {"folders": ("images", "")},
    "other folders": {"folders": ("images", "masks")},
    "two videos": {"videos": ("person/person/MVI_1", "person/person/MVI_2_test")},
    "gaps": {"numbers": lambda frame: 3 * frame + 7},
    "legacy": {"legacy": True},
    "turned": {"turned": True},
    "pixels of the pictures": {"pixels_of_picture": True},
}


@pytest.mark.parametrize("case", IMAVATAR)
def test_imavatar(case, flame, flame_file, tmp_path):
    truth = peers.write_imavatar(tmp_path, flame, **IMAVATAR[case])
    if case == "two videos":
        truth.train, truth.test = list(range(5)), list(range(5, 10))
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth, 0.75)


def test_pictures_of_the_same_name_in_two_folders(flame, flame_file, tmp_path):
    """The one that the file names, whatever its suffix."""
    truth = peers.write_imavatar(tmp_path, flame)
    (tmp_path / "images").mkdir()
    for path in (tmp_path / "image").iterdir():
        shutil.copy(path, tmp_path / "images" / f"{path.stem}.jpg")
    sequence = partnerface.read_sequence(tmp_path, head_model=flame_file)
    check_head(sequence, truth, 0.75)
    assert {path.parent.name for path in sequence.image_paths} == {"image"}


@pytest.mark.parametrize("name", ["frame_{}".format, "take{:03d}_cut".format, "{}_of_10".format])
def test_names_that_are_no_numbers(name, flame, flame_file, tmp_path):
    """The last number in a name counts, the order of the names where that does not tell frames apart."""
    truth = peers.write_imavatar(tmp_path, flame, numbers=name)
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth, 0.75)
    times = IMAVATAR_FORMAT.read(DatasetFolder(tmp_path), GivenHeadModel(flame_file)).times
    np.testing.assert_allclose(times, np.arange(10) / 25, atol=1e-6)


class Outlines:
    """Stands for MediaPipe, which knows no drawings: the lower middle of every picture is the person."""

    def mattes(self, frames):
        for frame in frames:
            matte = np.zeros(frame.shape[:2], np.uint8)
            matte[8:, 16:48] = 255
            yield matte


@pytest.fixture
def outlines(monkeypatch):
    monkeypatch.setattr(foreign_reader, "MediaPipeMatting", Outlines)


NERFACE = {
    "plain": {},
    "not mirrored": {"mirrored": False},
    "field of view": {"angle": True},
    "no index map": {"index_map": False},
    "overlapping splits": {"both": 3},
}


@pytest.mark.parametrize("case", NERFACE)
def test_nerface(case, flame, flame_file, tmp_path, outlines):
    truth = peers.write_nerface(tmp_path, flame, **NERFACE[case])
    sequence = partnerface.read_sequence(tmp_path, head_model=flame_file)
    check_head(sequence, truth)
    assert sequence.splits["val"] == [7]
    said = any("3 frames of transforms_test.json are listed before" in text for text in sequence.assumed)
    assert said == (case == "overlapping splits")


def test_nerface_without_a_head_model_has_a_rigid_head_in_the_face_boxes(flame, tmp_path, outlines):
    peers.write_nerface(tmp_path, flame)
    sequence = partnerface.read_sequence(tmp_path)
    assert sequence.head.expression.shape == (10, 76)
    with torch.no_grad():
        posed = sequence.head_model(sequence.head)
    assert posed.displacements.abs().max() == 0
    points = landmark_points(sequence.head_model, posed.vertices[0])[[10, 152]]
    pixels, depth = sequence.camera.select([0]).project(points[None])
    assert (depth > 0.3).all()
    # The boxes go from 0.2 to 0.8 of the height: forehead above, chin below.
    rows = pixels[0, :, 1] / sequence.camera.height
    assert rows[1] - rows[0] == pytest.approx(0.6, rel=0.35)
    assert rows.mean() == pytest.approx(0.5, abs=0.12)


def test_no_test_frame_of_nerface_shapes_the_head(flame, tmp_path, outlines):
    heads = []
    for name, of_tests in (("one", 0.9), ("other", 0.3)):
        peers.write_nerface(tmp_path / name, flame)
        for use in ("train", "val", "test"):
            path = tmp_path / f"{name}/transforms_{use}.json"
            table = json.loads(path.read_text())
            for place, entry in enumerate(table["frames"]):
                end = 0.6 + 0.03 * place if use == "train" else of_tests
                entry["bbox"] = [0.2, end, 0.3, end]
            path.write_text(json.dumps(table))
        heads.append(partnerface.read_sequence(tmp_path / name).head)
    assert torch.equal(heads[0].identity, heads[1].identity)
    assert torch.equal(heads[0].translation, heads[1].translation)


def test_digits_that_are_no_numbers(flame, flame_file, tmp_path, outlines):
    truth = peers.write_nerface(tmp_path, flame)
    (tmp_path / "test/f_0009.png").rename(tmp_path / "test/f_0009².png")
    path = tmp_path / "transforms_test.json"
    path.write_text(path.read_text().replace("f_0009", "f_0009\u00b2"))
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth)


FRAMES = {
    "plain": {},
    "source pictures": {"shifted": True},
    "a missing frame": {"missing": True},
}


@pytest.mark.parametrize("case", FRAMES)
def test_metrical_tracker(case, flame, flame_file, tmp_path, outlines):
    truth = peers.write_frames(tmp_path, flame, **FRAMES[case])
    sequence = partnerface.read_sequence(tmp_path, head_model=flame_file)
    # It divides nothing: our own splits do.
    truth.train, truth.test = sequence.splits["train"], []
    assert "temporal" in sequence.splits
    check_head(sequence, truth)


@pytest.mark.parametrize("missing", [False, True])
def test_flashavatar(missing, flame, flame_file, tmp_path):
    truth = peers.write_frames(tmp_path, flame, flash=True, missing=missing)
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth)


NERSEMBLE = {
    "plain": {},
    "angles alone": {"matrices": False},
    "old": {"old": True, "scale": 1.0},
}


@pytest.mark.parametrize("case", NERSEMBLE)
def test_nersemble(case, flame, flame_file, tmp_path):
    truth = peers.write_nersemble(tmp_path, flame, **NERSEMBLE[case])
    check_head(partnerface.read_sequence(tmp_path, head_model=flame_file), truth)


def test_a_nersemble_download_that_is_not_whole(flame, flame_file, tmp_path):
    """What could not be read as it should be is said."""
    peers.write_nersemble(tmp_path, flame)
    for path in (tmp_path / "sequences/EMO-2-surprise+fear/tracking").iterdir():
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, "rotation": arrays["rotation"] + [0.1, 0.0, 0.0]})
    (tmp_path / "sequences/SEN-01-cramp_small_danger/tracking").mkdir(parents=True)
    assumed = "\n".join(partnerface.read_sequence(tmp_path, head_model=flame_file).assumed)
    assert "1 sequences without a video, left out: SEN-01-cramp_small_danger" in assumed
    assert "EMO-2-surprise+fear, whose angles and matrices are up to 5.7 degrees apart" in assumed


def test_frames_of_a_nersemble_video_beyond_its_tracking(flame, flame_file, tmp_path):
    truth = peers.write_nersemble(tmp_path, flame)
    path = tmp_path / "sequences/EXP-1-head/tracking/flame2023_tracking_v2.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{k: v if k in ("shape", "scale") else v[:3] for k, v in arrays.items()})
    kept = peers.Truth(truth.in_camera[:8], truth.pixels[:8], list(range(8)), [])
    sequence = partnerface.read_sequence(tmp_path, head_model=flame_file)
    check_head(sequence, kept)
    [said] = (text for text in sequence.assumed if "left out" in text)
    assert said.startswith("the last 2 of 5 frames of the video of EXP-1-head")


def test_nersembles_own_data_has_nothing_to_test_on(flame, flame_file, tmp_path):
    """Whatever protocol it is trained by: the benchmark keeps what it tests on."""
    peers.write_nersemble(tmp_path / "393", flame)
    data = HeadVideoDataModule(AutoReader(tmp_path / "393", flame_file))
    with pytest.raises(UserError, match=r"393: has no test split .*export nersemble .* to test on"):
        data.test_dataloader()


def test_a_head_of_random_faces(tmp_path, monkeypatch):
    """A head model that is no surface is posed as its file says, and its pictures are drawn all the same."""
    monkeypatch.setattr(overlapping_faces, "MOST_LAYERS", 0.5)
    flame = peers.flame_form()
    np.savez(tmp_path / "flame.npz", **flame)
    truth = peers.write_vhap(tmp_path / "set", flame)
    sequence = partnerface.read_sequence(tmp_path / "set", head_model=tmp_path / "flame.npz")
    check_head(sequence, truth)
    assert sequence.head_model_record == head_model_record(FlameHead(tmp_path / "flame.npz", 300, 100))
    assert "smallest of 218 faces" in "".join(sequence.assumed)


def test_of_overlapping_faces_the_smallest_are_drawn(tmp_path, flame):
    rng = np.random.default_rng(0)
    count = len(flame["v_template"])
    large = np.stack([rng.permutation(count)[:3] for _ in range(2000)])
    np.savez(tmp_path / "soup.npz", **{**flame, "f": np.concatenate([large, flame["f"]])})
    np.savez(tmp_path / "flame.npz", **flame)
    whole, soup = (FlameHead(tmp_path / f"{name}.npz", 300, 100) for name in ("flame", "soup"))
    assert overlapping_faces.drawable_head(whole) is whole
    drawn = overlapping_faces.drawable_head(soup)

    def areas(faces: torch.Tensor) -> torch.Tensor:
        corners = soup.template_vertices[faces]
        return (
            torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1) / 2
        )

    every, kept = areas(soup.faces).sort().values, areas(drawn.faces).sort().values
    assert torch.equal(kept, every[: len(kept)])
    size = soup.template_vertices.amax(0) - soup.template_vertices.amin(0)
    box = 2 * (size[0] * size[1] + size[1] * size[2] + size[2] * size[0])
    assert kept.sum() <= 6 * box < kept.sum() + every[len(kept)]
