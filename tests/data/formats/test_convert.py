"""A dataset written for another system and read back poses the same head on the same pixels."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import partnerface
from partnerface.cli.main import main
from partnerface.data.completion import torso_motion
from partnerface.data.formats.convert import Conversion
from partnerface.data.formats.foreign import DatasetFolder
from partnerface.data.sequence import TrackedSequence
from partnerface.errors import UserError
from partnerface.files.images import read_grey, read_rgb
from tests.data.formats import peers


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(torso_motion, "ITERATIONS", 1)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> tuple[Path, Path, peers.Truth]:
    """A VHAP dataset with a static offset, and its FLAME file."""
    folder = tmp_path_factory.mktemp("source")
    flame = peers.flame_form()
    np.savez(folder / "flame.npz", **flame)
    truth = peers.write_vhap(folder / "vhap", flame, static_offset=120)
    return folder / "vhap", folder / "flame.npz", truth


def placed(sequence: TrackedSequence) -> tuple[np.ndarray, np.ndarray]:
    """Vertices in the cameras' axes and pixels."""
    with torch.no_grad():
        vertices = sequence.head_model(sequence.head).vertices
    return sequence.camera.world_to_camera(vertices).numpy(), sequence.camera.project(vertices)[0].numpy()


@pytest.mark.parametrize(
    "way", [["vhap"], ["insta"], ["partnerface"], ["partnerface", "vhap"], ["insta", "vhap"]]
)
def test_round_trips(way, source, tmp_path, capsys):
    root, flame, truth = source
    for number, to in enumerate(way):
        out = tmp_path / f"{number}"
        assert main(["convert", str(root), "--to", to, "--out", str(out), "--head_model", str(flame)]) == 0
        root = out
    sequence = partnerface.read_sequence(root, head_model=flame)
    in_camera, pixels = placed(sequence)
    assert np.abs(in_camera - truth.in_camera).max() < 1e-5
    assert np.abs(pixels - truth.pixels).max() < 1e-3
    assert (sequence.splits["train"], sequence.splits["test"]) == (truth.train, truth.test)
    before = partnerface.read_sequence(source[0], head_model=flame)
    for one, other in zip(before.matte_paths, sequence.matte_paths, strict=True):
        np.testing.assert_array_equal(read_grey(one), read_grey(other))
    np.testing.assert_array_equal(read_rgb(before.image_paths[3]), read_rgb(sequence.image_paths[3]))


@pytest.mark.parametrize("way", [["vhap", "partnerface"], ["insta"]])
def test_an_imavatar_dataset_goes_to_others(way, tmp_path, capsys):
    """Its FLAME has fewer components than VHAP's, its own axes and units, and a test at the end."""
    flame = peers.flame_form()
    np.savez(tmp_path / "flame.npz", **flame)
    root, given = tmp_path / "imavatar", ["--head_model", str(tmp_path / "flame.npz")]
    truth = peers.write_imavatar(root, flame)
    before = partnerface.read_sequence(root, head_model=tmp_path / "flame.npz")
    for to in way:
        assert main(["convert", str(root), "--to", to, "--out", str(tmp_path / to), *given]) == 0
        root = tmp_path / to
    sequence = partnerface.read_sequence(root, head_model=tmp_path / "flame.npz")
    in_camera, pixels = placed(sequence)
    assert np.abs(in_camera - truth.in_camera).max() < 1e-5
    assert np.abs(pixels - placed(before)[1]).max() < 1e-3
    assert (sequence.splits["train"], sequence.splits["test"]) == (truth.train, truth.test)
    assert sequence.head_model_record.name == ("meshes" if way == ["insta"] else "flame")
    if way != ["insta"]:
        assert sequence.head_model_record == before.head_model_record
        torch.testing.assert_close(sequence.head.identity, before.head.identity)
        torch.testing.assert_close(sequence.head.expression, before.head.expression)


def seen_by_gaussian_avatars(root: Path, use: str) -> tuple[dict[int, dict], list[tuple[int, np.ndarray]]]:
    """What its loader takes of a split: arrays by time step, and time steps with their cameras."""
    frames = json.loads((root / f"transforms_{use}.json").read_text())["frames"]
    arrays = {frame["timestep_index"]: dict(np.load(root / frame["flame_param_path"])) for frame in frames}
    return arrays, [(frame["timestep_index"], np.array(frame["transform_matrix"])) for frame in frames]


def test_what_gaussian_avatars_asks_for(tmp_path, capsys, caplog):
    """It takes all of shape and expr, the static offset of time step 0, and poses with its own FLAME."""
    flame = peers.flame_form()
    np.savez(tmp_path / "flame.npz", **flame)
    truth = peers.write_imavatar(tmp_path / "imavatar", flame)
    root, given = tmp_path / "vhap", ["--head_model", str(tmp_path / "flame.npz")]
    assert main(["convert", str(tmp_path / "imavatar"), "--to", "vhap", "--out", str(root), *given]) == 0
    # It reads the field of view alone. In 64x48 cx is 0.52 wide, cy 0.45 high, fx 1.4 and fy 1.9.
    up = (0.5 - 0.45) * 48 + abs(1.4 * 64 / (1.9 * 48) - 1) * 24
    assert f"heads lie up to {up:.1f} px off" in caplog.text
    # By this file it knows its own datasets.
    assert np.load(root / "canonical_flame_param.npz")["jaw_pose"] == pytest.approx(np.array([[0.3, 0, 0]]))
    (train, cameras), (test, others) = (seen_by_gaussian_avatars(root, use) for use in ("train", "test"))
    assert train[0]["static_offset"].shape == (1, len(flame["v_template"]), 3)
    vertices = []
    for step, camera in [*cameras, *others]:
        arrays = {**train, **test}[step]
        assert (arrays["shape"].shape, arrays["expr"].shape) == ((300,), (1, 100))
        pose = np.concatenate([arrays[f"{name}_pose"] for name in ("neck", "jaw", "eyes")], 1)
        turns = np.concatenate([arrays["rotation"], pose.reshape(4, 3)])
        head = peers.pose_flame(
            *(flame, train[0]["shape"], arrays["expr"][0], Rotation.from_rotvec(turns).as_matrix()),
            static_offset=train[0]["static_offset"][0],
        )
        vertices.append((head + arrays["translation"] - camera[:3, 3]) @ camera[:3, :3] @ peers.OPENGL)
    assert np.abs(np.array(vertices) - truth.in_camera).max() < 1e-5


def test_our_own_dataset_goes_to_others_and_back(synthetic_dataset, tmp_path, capsys):
    """Anny has a torso of its own and no FLAME parameters: meshes hold both."""
    ours = partnerface.read_sequence(synthetic_dataset)
    expected = placed(ours)
    for to in ("vhap", "insta"):
        assert main(["convert", str(synthetic_dataset), "--to", to, "--out", str(tmp_path / to)]) == 0
        back = tmp_path / f"{to}_back"
        assert main(["convert", str(tmp_path / to), "--to", "partnerface", "--out", str(back)]) == 0
        sequence = partnerface.read_sequence(back)
        found = placed(sequence)
        assert np.abs(found[0] - expected[0]).max() < 1e-5
        assert np.abs(found[1] - expected[1]).max() < 1e-3
        assert sequence.splits["train"] == ours.splits["train"]
        assert sequence.splits["val"] == ours.splits["val"]
        assert sequence.fps == ours.fps
        assert main(["check", str(back), "--out", str(tmp_path / "check")]) in (0, 1)
        assert (tmp_path / "check" / "overlay.png").is_file()


@pytest.mark.parametrize("to", ["partnerface", "vhap", "insta"])
def test_a_conversion_inside_a_dataset_is_none_of_it(to, source, tmp_path, capsys):
    """Else all that was made for the dataset would be made again; a change of its own files still counts."""
    root, flame = tmp_path / "set", source[1]
    shutil.copytree(source[0], root)
    arguments = ["convert", str(root), "--to", to, "--out", str(root / "made"), "--head_model", str(flame)]
    before = DatasetFolder(root).fingerprint
    assert main(arguments) == 0
    assert DatasetFolder(root).fingerprint == before
    written = DatasetFolder(root / "made").fingerprint
    (root / "made/transforms.json").touch()
    assert DatasetFolder(root / "made").fingerprint != written
    (root / "images/00003_00.png").touch()
    assert DatasetFolder(root).fingerprint != before


@pytest.mark.parametrize("meshes", [False, True])
def test_gaussian_avatars_is_given_no_frame_whose_pose_it_does_not_load(meshes, tmp_path, capsys, caplog):
    """It poses those of training and test, from time step 0, and would train on others with no pose."""
    flame = peers.flame_form()
    np.savez(tmp_path / "flame.npz", **flame)
    file = None if meshes else tmp_path / "flame.npz"
    given = [] if meshes else ["--head_model", str(file)]
    source, root = tmp_path / "source", tmp_path / "vhap"
    peers.write_vhap(source, flame, meshes=meshes)
    uses = {"train": [1, 4, 6], "val": [2, 7], "test": [8, 9]}
    whole = json.loads((source / "transforms.json").read_text())
    for use, frames in uses.items():
        entries = [whole["frames"][frame] for frame in frames]
        peers.dump(source / f"transforms_{use}.json", {**whole, "frames": entries})
    assert main(["convert", str(source), "--to", "vhap", "--out", str(root), *given]) == 0
    tables = {use: json.loads((root / f"transforms_{use}.json").read_text()) for use in uses}
    steps = {use: [frame["timestep_index"] for frame in table["frames"]] for use, table in tables.items()}
    assert steps == {"train": [0, 1, 2], "val": [], "test": [3, 4]}
    assert tables["val"]["timestep_indices"] == [0, 1, 2]
    assert "the 2 frames of validation are in transforms.json alone" in caplog.text
    before, back = (partnerface.read_sequence(path, head_model=file) for path in (source, root))
    assert back.splits == before.splits == uses
    for found, expected in zip(placed(back), placed(before), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_missing_frames_leave_gaps_in_time(tmp_path, capsys):
    """GaussianAvatars asks for time steps from 0 and on, so that frames have numbers of the video beside."""
    flame = tmp_path / "flame.npz"
    np.savez(flame, **peers.flame_form())
    numbers = [40, 43, 46, 47, 48, 50, 60, 61, 62, 70]
    root = tmp_path / "source"
    peers.write_vhap(root, peers.flame_form(), indices=numbers)
    for out, to in ((tmp_path / "ours", "partnerface"), (tmp_path / "back", "vhap")):
        arguments = ["--to", to, "--out", str(out), "--head_model", str(flame)]
        assert main(["convert", str(root), *arguments]) == 0
        sequence = partnerface.read_sequence(out, head_model=flame)
        np.testing.assert_allclose(sequence.times, np.array(numbers) / 25)
        root = out
    entries = json.loads((root / "transforms.json").read_text())["frames"]
    assert [entry["timestep_index"] for entry in entries] == list(range(10))
    assert [entry["timestep_index_original"] for entry in entries] == numbers
    assert [int(entry["timestep_id"]) for entry in entries] == numbers


@pytest.mark.parametrize("meshes", [False, True])
def test_no_frame_of_a_face_alone_is_lost(meshes, tmp_path, capsys):
    """So near that the neck, the origin of our heads, lies far below the picture, and the face in it."""
    flame, file = peers.flame_form(), None if meshes else tmp_path / "flame.npz"
    np.savez(tmp_path / "flame.npz", **flame)
    truth = peers.write_vhap(tmp_path / "set", flame, meshes=meshes, closer=5)
    given = [] if meshes else ["--head_model", str(file)]
    out = tmp_path / "out"
    assert main(["convert", str(tmp_path / "set"), "--to", "partnerface", "--out", str(out), *given]) == 0
    for root in (tmp_path / "set", out):
        sequence = partnerface.read_sequence(root, head_model=file)
        assert sequence.splits == {"train": truth.train, "test": truth.test}
    assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "numbers"),
    [
        (None, [0, 1, 2, 3, 4, 5]),
        ([0.0, 0.04, 0.2, 0.24, 1.0, 1.04], [0, 1, 5, 6, 25, 26]),
        # Three frames within a third of a step, as of a phone that stalls.
        ([0.09, 0.098, 0.102, 0.16, 0.32, 0.4], [2, 3, 4, 5, 8, 10]),
    ],
)
def test_every_frame_has_a_number_of_its_own(seconds, numbers, tiny_video, tmp_path):
    times = None if seconds is None else torch.tensor(seconds, dtype=torch.float64)
    sequence = tiny_video(times=times).write(tmp_path / "set", fps=25.0)
    assert Conversion(sequence, None, None, lambda: None).frame_numbers() == numbers


def test_what_cannot_be_converted_is_refused(source, tmp_path, capsys):
    root, _, _ = source
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    copy = tmp_path / "copy"
    arguments = ["convert", str(root), "--head_model", str(source[1])]
    other = tmp_path / "other"
    peers.write_insta(other, peers.flame_form())
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    for out, to, word in (
        (tmp_path / "full", "vhap", "exists; choose a new folder"),
        (other, "partnerface", "exists; choose a new folder"),
        (root, "insta", "is the dataset itself"),
        (copy, "nothing", "to: "),
    ):
        assert main([*arguments, "--to", to, "--out", str(out)]) == 2
        assert word in capsys.readouterr().err
    assert not copy.exists()
    assert {path: path.read_bytes() for path in other.rglob("*") if path.is_file()} == before


def test_a_killed_conversion_of_the_same_process_number_is_no_obstacle(source, tmp_path, capsys):
    """In a container every first process has the same."""
    (tmp_path / f".out.{os.getpid()}.partial" / "images").mkdir(parents=True)
    arguments = ["--to", "vhap", "--out", str(tmp_path / "out"), "--head_model", str(source[1])]
    assert main(["convert", str(source[0]), *arguments]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_wrong_flame_file_for_a_converted_dataset_is_refused(source, tmp_path, capsys):
    """The head model that a conversion keeps beside the dataset does not hide it."""
    root, flame, _ = source
    arguments = ["--to", "partnerface", "--out", str(tmp_path / "ours"), "--head_model", str(flame)]
    assert main(["convert", str(root), *arguments]) == 0
    other = tmp_path / "other.npz"
    np.savez(other, **peers.flame_form(seed=7))
    record = partnerface.read_sequence(tmp_path / "ours", head_model=flame).head_model_record
    with pytest.raises(UserError, match=rf"other\.npz: is flame other .*flame flame .*{record.checksum}"):
        partnerface.read_sequence(tmp_path / "ours", head_model=other)


def test_the_working_folder_is_not_replaced(source, tmp_path, monkeypatch, capsys):
    """A shell would stay in the folder that was there before."""
    folder, flame, _ = source
    monkeypatch.chdir(tmp_path)
    assert main(["convert", str(folder), "--to", "insta", "--out", ".", "--head_model", str(flame)]) == 2
    assert "partnerface: .: is where you are" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
