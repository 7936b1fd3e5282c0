"""What a dataset lacks is made once, piece by piece, from its training frames where training sees it."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import partnerface
from partnerface.data.completion import complete, torso_motion
from partnerface.data.formats import foreign_reader
from partnerface.data.regions import Region
from partnerface.errors import UserError
from partnerface.files.arrays import write_arrays
from partnerface.files.downloads import ASSETS_VARIABLE
from partnerface.files.images import read_labels, read_matte
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.landmark_store import LANDMARKS, landmarks_file
from tests.data.formats import peers
from tests.data.formats.test_foreign_formats import Outlines


class CountedOutlines(Outlines):
    """Counts its pictures, and is interrupted at one of them."""

    seen: int
    stop_at: int

    def mattes(self, frames):
        for matte in super().mattes(frames):
            if CountedOutlines.seen == CountedOutlines.stop_at:
                raise KeyboardInterrupt
            CountedOutlines.seen += 1
            yield matte


@pytest.fixture(autouse=True)
def outlines(monkeypatch) -> type[CountedOutlines]:
    monkeypatch.setattr(torso_motion, "ITERATIONS", 1)
    monkeypatch.setattr(foreign_reader, "MediaPipeMatting", CountedOutlines)
    CountedOutlines.seen, CountedOutlines.stop_at = 0, 10**6
    return CountedOutlines


def made_files(root: Path) -> dict[str, bytes]:
    """Pictures that the reader made, by name."""
    place = root / ".cache/foreign"
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*.png"))}


def interrupted_writing(monkeypatch, module, stop_at: int) -> list[Path]:
    """Make a module's ``write_image`` raise an interrupt at one picture; returns those that it wrote."""
    written: list[Path] = []
    write_image = module.write_image

    def write(path: Path, image: np.ndarray) -> None:
        if len(written) >= stop_at:
            raise KeyboardInterrupt
        write_image(path, image)
        written.append(path)

    monkeypatch.setattr(module, "write_image", write)
    return written


def test_an_interrupted_reading_goes_on_where_it_was(flame, flame_file, tmp_path, outlines, monkeypatch):
    for name in ("whole", "set"):
        peers.write_metrical(tmp_path / name, flame)
    partnerface.read_sequence(tmp_path / "whole", head_model=flame_file)
    outlines.seen, outlines.stop_at, root = 0, 6, tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        partnerface.read_sequence(root, head_model=flame_file)
    outlines.stop_at = 10**6
    with monkeypatch.context() as patch:
        # A pool: frames that were begun are ended.
        interrupted_writing(patch, complete, 4)
        with pytest.raises(KeyboardInterrupt):
            partnerface.read_sequence(root, head_model=flame_file)
    assert outlines.seen == 10
    [partial] = (root / ".cache").iterdir()
    labels = list((partial / "labels").glob("[0-9]*.png"))
    assert len(labels) >= 4
    # Of a process that is gone.
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    partial.rename(partial.with_name(f".foreign.{process}.partial"))
    drawn = interrupted_writing(monkeypatch, complete, 10**6)
    partnerface.read_sequence(root, head_model=flame_file)
    assert (outlines.seen, len(drawn)) == (10, 10 - len(labels))
    assert made_files(root) == made_files(tmp_path / "whole")
    assert [path.name for path in (root / ".cache").iterdir()] == ["foreign"]
    assert {path.name for path in (root / ".cache/foreign").iterdir()} == {
        *("head_model.npz", "labels", "mattes", "sequence.json", "sequence.npz")
    }


def test_what_was_begun_for_another_state_of_the_dataset_is_removed(flame, flame_file, tmp_path, outlines):
    peers.write_metrical(tmp_path / "set", flame)
    outlines.stop_at = 6
    with pytest.raises(KeyboardInterrupt):
        partnerface.read_sequence(tmp_path / "set", head_model=flame_file)
    outlines.stop_at = 10**6
    (tmp_path / "set/input/00003.png").touch()
    partnerface.read_sequence(tmp_path / "set", head_model=flame_file)
    assert outlines.seen == 6 + 10
    assert [path.name for path in (tmp_path / "set/.cache").iterdir()] == ["foreign"]


def test_a_killed_process_of_the_same_number_is_no_obstacle(flame, tmp_path):
    """In a container every first process has the same."""
    peers.write_insta(tmp_path / "set", flame)
    (tmp_path / f"set/.cache/.foreign.{os.getpid()}.partial/labels").mkdir(parents=True)
    partnerface.read_sequence(tmp_path / "set")
    assert [path.name for path in (tmp_path / "set/.cache").iterdir()] == ["foreign"]


def test_decoded_frames_of_videos_are_kept(flame, flame_file, tmp_path, monkeypatch):
    peers.write_nersemble(tmp_path / "set", flame)
    with monkeypatch.context() as patch:
        interrupted_writing(patch, foreign_reader, 7)
        with pytest.raises(KeyboardInterrupt):
            partnerface.read_sequence(tmp_path / "set", head_model=flame_file)
    decoded = interrupted_writing(monkeypatch, foreign_reader, 10**6)
    sequence = partnerface.read_sequence(tmp_path / "set", head_model=flame_file)
    assert len(decoded) == 2 * 10 - 7
    assert len({path.read_bytes() for path in sequence.image_paths}) == 10


def test_a_missing_library_is_not_taken_for_a_full_disk(flame, tmp_path, monkeypatch):
    def complete_without(*_args, **_options):
        raise OSError("libGLESv2.so.2: cannot open shared object file: No such file or directory")

    peers.write_insta(tmp_path, flame)
    monkeypatch.setattr(foreign_reader, "complete_sequence", complete_without)
    with pytest.raises(UserError, match=r"libGLESv2\.so\.2 is missing: apt install libgles2"):
        partnerface.read_sequence(tmp_path)


def with_alpha(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Rewrite RGBA pictures with another alpha."""
    for path in folder.iterdir():
        pixels = np.asarray(Image.open(path)).copy()
        pixels[..., 3] = change(pixels[..., 3])
        peers.save(path, pixels)


def test_opaque_pictures_have_no_mattes(flame, flame_file, tmp_path, caplog, outlines):
    """Though they have an alpha: tools write one that is 255 throughout."""
    root = tmp_path / "set"
    peers.write_imavatar(root, flame, folders=("images", ""))
    kept = root / "images/10.png"
    with_alpha(root / "images", lambda alpha: np.full_like(alpha, 255))
    pixels = np.asarray(Image.open(kept)).copy()
    pixels[:4, :4, 3] = 0
    # Of the last frame, a test frame, alone something is cut out.
    peers.save(kept, pixels)
    with caplog.at_level(logging.WARNING):
        sequence = partnerface.read_sequence(root, head_model=flame_file)
    assert outlines.seen == 10
    said = "mattes, for its pictures are opaque and it has no others"
    assert said in "".join(sequence.assumed)
    assert said in caplog.text
    matte = read_matte(sequence.matte_paths[0])
    assert (matte[:4].max(), matte[-1, 30]) == (0, 255)


def test_mattes_in_the_alpha_of_white_pictures(flame, flame_file, tmp_path):
    for name in ("grey", "alpha"):
        peers.write_imavatar(tmp_path / name, flame)
    for path in (tmp_path / "alpha/mask").iterdir():
        matte = np.asarray(Image.open(path))
        peers.save(path, np.dstack([np.full((*matte.shape, 3), 255, np.uint8), matte]))
    grey, alpha = (
        partnerface.read_sequence(tmp_path / name, head_model=flame_file) for name in ("grey", "alpha")
    )
    for one, other in zip(grey.label_paths, alpha.label_paths, strict=True):
        labels = read_labels(one, max(Region))
        assert (labels == Region.BACKGROUND).any()
        np.testing.assert_array_equal(labels, read_labels(other, max(Region)))


def test_no_test_frame_shapes_what_is_made_for_training(flame, flame_file, tmp_path):
    """Not even where the dataset divides nothing and our own splits do."""
    peers.write_metrical(tmp_path / "one", flame)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    one = partnerface.read_sequence(tmp_path / "one", head_model=flame_file)
    train = one.splits["train"]
    rng = np.random.default_rng(0)
    for frame in {*range(len(one))} - {*train}:
        noise = rng.integers(0, 256, (peers.HEIGHT, peers.WIDTH, 3)).astype(np.uint8)
        peers.save(tmp_path / f"other/input/{frame:05d}.png", noise)
    other = partnerface.read_sequence(tmp_path / "other", head_model=flame_file)
    assert other.splits == one.splits
    torch.testing.assert_close(other.torso_motion[train], one.torso_motion[train], rtol=0, atol=0)
    assert torch.equal(other.shell_thickness, one.shell_thickness)
    for i in train:
        assert other.matte_paths[i].read_bytes() == one.matte_paths[i].read_bytes()
    assert not torch.equal(other.torso_motion, one.torso_motion)


def test_what_the_dataset_does_not_depend_on_keeps_what_was_made(flame, flame_file, tmp_path, monkeypatch):
    def made_again(*_args):
        raise AssertionError

    for name, write in (("vhap", peers.write_vhap), ("insta", peers.write_insta)):
        write(tmp_path / name, flame)
        partnerface.read_sequence(tmp_path / name, head_model=flame_file)
        for place in (
            "me/config.yaml",
            "begun/head_model.npz",
            "looked_at/check.json",
            "ours/canonical_head.npz",
            "runs/x/a.png",
        ):
            (tmp_path / name / place).parent.mkdir(parents=True)
            (tmp_path / name / place).touch()
    np.savez(tmp_path / "renamed.npz", **flame)
    os.utime(tmp_path / "renamed.npz", (1, 1))
    changed = {**flame, "v_template": flame["v_template"] + 1e-3}
    np.savez(tmp_path / "changed.npz", **changed)
    with monkeypatch.context() as patch:
        patch.setattr(foreign_reader, "_completed", made_again)
        partnerface.read_sequence(tmp_path / "vhap", head_model=tmp_path / "renamed.npz")
        # INSTA's meshes need no head model, given or not.
        partnerface.read_sequence(tmp_path / "insta")
        for head_model, touched in (("changed.npz", "flame_param"), ("renamed.npz", "images/00003_00.png")):
            (tmp_path / "vhap" / touched).touch()
            with pytest.raises(AssertionError):
                partnerface.read_sequence(tmp_path / "vhap", head_model=tmp_path / head_model)


def test_what_a_folder_is_taken_for_is_said_before_the_long_part(flame, tmp_path, monkeypatch, capsys):
    def complete(*_args, **_options):
        raise KeyboardInterrupt

    peers.write_insta(tmp_path, flame)
    monkeypatch.setattr(foreign_reader, "complete_sequence", complete)
    with pytest.raises(KeyboardInterrupt):
        partnerface.read_sequence(tmp_path)
    assert f"dataset {tmp_path}: taken for INSTA, since" in capsys.readouterr().err


def test_landmarks_that_are_embedded_later_belong_to_the_kept_head(tmp_path, monkeypatch):
    """Though a static offset gives it another surface than the file has."""
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path / "assets"))
    flame = peers.flame_form()
    np.savez(tmp_path / "flame.npz", **flame)
    peers.write_vhap(tmp_path / "set", flame, static_offset=120)

    def landmarks():
        sequence = partnerface.read_sequence(tmp_path / "set", head_model=tmp_path / "flame.npz")
        return len(sequence.head_model.asset.landmark_faces)

    assert landmarks() == 0
    before = made_files(tmp_path / "set")
    file = FlameHead(tmp_path / "flame.npz", 300, 100)
    arrays = {
        "landmark_faces": np.arange(LANDMARKS) % len(file.faces),
        "landmark_barycentric": np.full((LANDMARKS, 3), 1 / 3),
        "landmark_spread": np.zeros(LANDMARKS),
    }
    (tmp_path / "assets").mkdir()
    write_arrays(tmp_path / "assets" / landmarks_file(file.surface), arrays)
    assert landmarks() == LANDMARKS
    # Eyes and mouth are labelled round them.
    assert made_files(tmp_path / "set") != before
