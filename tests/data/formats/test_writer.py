import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.formats.writer import SequenceWriter
from partnerface.errors import UserError
from partnerface.files.images import read_grey, read_rgb


@pytest.mark.parametrize("torso", [True, False])
def test_round_trip_is_exact(tmp_path, tiny_video, torso):
    video = tiny_video(torso=torso)
    expected = video.parameters()
    video.write(tmp_path / "set")
    found = PartnerfaceReader(tmp_path / "set").read()
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(found, name), value), name
        elif name not in ("camera", "head"):
            assert getattr(found, name) == value, name
    for record in ("camera", "head"):
        for name, value in vars(expected[record]).items():
            other = getattr(getattr(found, record), name)
            assert torch.equal(other, value) if isinstance(value, torch.Tensor) else other == value, name
    for index in range(video.frames):
        assert np.array_equal(read_rgb(found.image_paths[index]), video.images[index])
        assert np.array_equal(read_grey(found.matte_paths[index]), video.mattes[index])
        assert np.array_equal(read_grey(found.label_paths[index]), video.labels[index])


def test_cameras_on_disk_are_opengl_and_project_as_computed_by_hand(tmp_path, tiny_video):
    """A camera one metre in front of the origin: OpenGL axes are the world's, so the rotation is identity."""
    sequence = tiny_video().write(tmp_path / "set")
    record = json.loads((tmp_path / "set" / "transforms.json").read_text())
    matrix = np.array(record["frames"][0]["transform_matrix"])
    assert np.array_equal(matrix, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]])
    pixels, depth = sequence.camera.select([0]).project(torch.tensor([[[0.1, 0.05, 0.0]]]))
    # x = cx + f X / Z = 16 + 100 * 0.1, y = cy - f Y / Z = 12 - 100 * 0.05
    assert torch.allclose(pixels[0, 0], torch.tensor([26.0, 7.0]))
    assert depth.item() == pytest.approx(1.0)


def test_transforms_files_hold_the_frames_of_their_use(tmp_path, tiny_video):
    splits = {"train": [0], "blocks": [3], "temporal": [4, 5], "unseen_expression": [5]}
    tiny_video(splits=splits).write(tmp_path / "set")
    held = {}
    for use in ("train", "val", "test"):
        record = json.loads((tmp_path / "set" / f"transforms_{use}.json").read_text())
        held[use] = [frame["timestep_index"] for frame in record["frames"]]
        assert record["timestep_indices"] == held[use]
    assert held == {"train": [0], "val": [], "test": [3, 4, 5]}


def test_an_error_leaves_nothing(tmp_path, tiny_video):
    video = tiny_video()
    video.images = video.images[:-1]
    with pytest.raises(ValueError, match="longer"), SequenceWriter(tmp_path / "set") as writer:
        video.add_frames(writer)
    video = tiny_video()
    with pytest.raises(ValueError, match="frame_weights: 2 values for 6 frames"):
        video.write(tmp_path / "set", frame_weights=torch.ones(2))
    with pytest.raises(ValueError, match="torso_motion: not finite"):
        video.write(tmp_path / "set", torso_motion=torch.full((6, 2, 3), torch.nan))
    with pytest.raises(ValueError, match="JSON compliant"):
        video.write(tmp_path / "set", coverage={"train": {"yaw_max": float("nan")}})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_keeps_the_old_dataset(tmp_path, tiny_video):
    tiny_video().write(tmp_path / "set")
    with pytest.raises(ValueError, match="not finite"):
        tiny_video().write(tmp_path / "set", frame_weights=torch.full((6,), torch.inf))
    assert len(PartnerfaceReader(tmp_path / "set").read()) == 6
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_replacing_drops_old_frames_and_keeps_foreign_files(tmp_path, tiny_video):
    root = tmp_path / "set"
    tiny_video().write(root)
    (root / "detections.npz").write_bytes(b"kept")
    (root / ".cache").mkdir()
    (root / ".cache" / "stale").write_bytes(b"gone")
    video = tiny_video(frames=2, splits={"train": [0, 1]})
    with SequenceWriter(root) as writer:
        video.add_frames(writer)
        (writer.folder / "overlay.mp4").write_bytes(b"new")
        video.finish(writer)
    assert len(list((root / "images").iterdir())) == 2
    assert (root / "detections.npz").read_bytes() == b"kept"
    assert (root / "overlay.mp4").read_bytes() == b"new"
    assert not (root / ".cache").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_killed_writer_is_swept_up(tmp_path, tiny_video):
    process = os.fork()
    if process == 0:
        SequenceWriter(tmp_path / "set")
        os._exit(0)
    os.waitpid(process, 0)
    assert (tmp_path / f".set.{process}.partial").is_dir()
    tiny_video().write(tmp_path / "set")
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("there", [False, True])
def test_a_link_leads_to_the_folder_that_is_written(tmp_path, tiny_video, there):
    """Such as one to a larger disk, whether its folder is there yet or not."""
    (tmp_path / "disk").mkdir()
    if there:
        tiny_video().write(tmp_path / "disk" / "set")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "set")
    tiny_video(frames=2, splits={"train": [0, 1]}).write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["set"]
    assert len(PartnerfaceReader(tmp_path / "disk" / "set").read()) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "link"]


def test_refuses_a_mount_point_and_the_working_folder(tmp_path, monkeypatch):
    """One cannot be renamed, of the other the shell would keep what it was."""
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "disk")
    (tmp_path / "disk").mkdir()
    with pytest.raises(UserError, match="disk: is a mount point"):
        SequenceWriter(tmp_path / "disk")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for folder in (".", ".."):
        with pytest.raises(UserError, match="is where you are; another folder takes its place"):
            SequenceWriter(Path(folder))
    SequenceWriter(tmp_path / "disk" / "set").abandon()


def test_refuses_folders_that_are_not_datasets(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    for name in ("file", "photos", "file/inside"):
        with pytest.raises(UserError, match=name):
            SequenceWriter(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "photos"]


def test_a_dataset_of_another_system_is_never_replaced(tmp_path):
    """VHAP's and INSTA's folders hold files of the same names."""
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (root / "images" / "00000.png").write_bytes(b"theirs")
    (root / "transforms.json").write_text('{"frames": []}')
    with pytest.raises(UserError, match="set: exists and is not a partnerface dataset"):
        SequenceWriter(root)
    assert (root / "images" / "00000.png").read_bytes() == b"theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("lost", ["transforms.json", "canonical_head.npz"])
def test_a_damaged_dataset_of_ours_is_replaced(tmp_path, tiny_video, lost):
    tiny_video().write(tmp_path / "set")
    (tmp_path / "set" / lost).write_text("{")
    assert len(tiny_video().write(tmp_path / "set")) == 6


def test_refuses_a_folder_that_cannot_be_written():
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc, where not even root can make a folder")
    with pytest.raises(UserError, match="/proc/set: the folder cannot be written"):
        SequenceWriter(Path("/proc/set"))


def test_refuses_frames_of_another_size_type_or_label(tmp_path, tiny_video):
    video = tiny_video()
    image, matte, labels = video.images[0], video.mattes[0], video.labels[0]
    with SequenceWriter(tmp_path / "set") as writer:
        writer.add_frame(image, matte, labels)
        with pytest.raises(ValueError, match=r"frame 1.*\(24, 32, 3\)"):
            writer.add_frame(image[:-1], matte, labels)
        with pytest.raises(ValueError, match="uint8"):
            writer.add_frame(image, matte / 255, labels)
        with pytest.raises(ValueError, match="no Region"):
            writer.add_frame(image, matte, np.full_like(labels, 7))
