"""SyntheticReader: renders once, reuses, renders again when something changed."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.regions import Region
from partnerface.data.synthetic.performance import SPLIT_PROTOCOL, split_frames
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.data.synthetic.render_subject import SHELL_MARGIN, SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead

FRAMES, SIZE = 12, 24


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("synthetic") / "a"


@pytest.fixture(scope="module")
def sequence(root):
    return SyntheticReader(root, "a", FRAMES, SIZE).read()


def stamps(root):
    return {path.name: path.stat().st_mtime_ns for path in sorted((root / "images").iterdir())}


def test_sequence_is_complete(sequence):
    assert len(sequence) == FRAMES
    assert sequence.camera.width == sequence.camera.height == SIZE
    assert sorted(f for part in sequence.splits.values() for f in part) == list(range(FRAMES))
    assert set(sequence.coverage) == set(sequence.splits)
    assert torch.equal(sequence.torso_motion, torch.eye(2, 3).expand(FRAMES, 2, 3))
    assert sequence.head_model_record.checksum == AnnyHead().asset.checksum()


def test_the_protocol_in_words_is_that_of_the_frames(sequence, root):
    """Shares in the text against the splits of a long clip; a rendering that does not say is told alike."""
    assert sequence.split_protocol.keys() == sequence.splits.keys()
    splits = split_frames(1000)
    assert list(splits) == ["train", "val", "temporal", "unseen_expression"]
    for name in ("val", "temporal", "unseen_expression"):
        (share,) = re.findall(r"([\d.]+) %", SPLIT_PROTOCOL[name])
        assert float(share) == len(splits[name]) / 10, name
    assert splits["unseen_expression"][-1] == 999
    record = json.loads((root / "transforms.json").read_text())
    protocol = record.pop("split_protocol")
    (root / "transforms.json").write_text(json.dumps(record))
    assert PartnerfaceReader(root).read().split_protocol == {}
    assert SyntheticReader(root, "a", FRAMES, SIZE).read().split_protocol == protocol
    assert protocol == sequence.split_protocol


def test_neck_line_lies_above_every_torso_pixel_of_training(sequence):
    paths = [sequence.label_paths[i] for i in sequence.splits["train"]]
    tops = [np.argwhere(np.array(Image.open(p)) == Region.TORSO)[:, 0].min() for p in paths]
    assert min(tops) / SIZE == pytest.approx(sequence.neck_line)


def test_the_shell_is_that_of_the_training_frames(sequence):
    """Test frames bulge farther, and must not tell how far."""
    renderer = SubjectRenderer(AnnyHead(), subject_named("a"), FRAMES, SIZE, seed=0)
    reach = {
        name: torch.stack(
            [renderer.dressed.reach(renderer.head.expression[i], renderer.sway[i]) for i in part]
        )
        for name, part in sequence.splits.items()
    }
    torch.testing.assert_close(sequence.shell_thickness, reach["train"].amax(0) + SHELL_MARGIN)
    assert (reach["unseen_expression"].amax(0) > reach["train"].amax(0)).any()


def test_tracked_head_lies_in_the_matte(sequence):
    """The parameters on disk project the head model's front onto the person in every picture."""
    model = AnnyHead()
    posed = model(sequence.head)
    pixels, _ = sequence.camera.project(posed.vertices)
    head = model.skinning_weights[:, model.joint("head")] > 0.9
    for frame, path in enumerate(sequence.matte_paths):
        matte = np.array(Image.open(path))
        x, y = pixels[frame, head].floor().long().clamp(0, SIZE - 1).unbind(1)
        covered = matte[y.numpy(), x.numpy()] > 0
        assert covered.mean() > 0.97


def test_second_run_reuses_and_says_so(sequence, root, capsys):
    before = stamps(root)
    again = SyntheticReader(root, "a", FRAMES, SIZE).read()
    assert stamps(root) == before
    assert "Reusing" in capsys.readouterr().err
    assert torch.equal(again.head.expression, sequence.head.expression)


def test_other_settings_render_again_and_equal_a_fresh_rendering(tmp_path, capsys):
    place, fresh = tmp_path / "place", tmp_path / "fresh"
    SyntheticReader(place, "a", 2, 16).read()
    capsys.readouterr()
    changed = SyntheticReader(place, "b", 2, 16, seed=3).read()
    message = capsys.readouterr().err
    assert "subject, seed changed" in message
    expected = SyntheticReader(fresh, "b", 2, 16, seed=3).read()
    for found, wanted in zip(changed.image_paths, expected.image_paths, strict=True):
        assert found.read_bytes() == wanted.read_bytes()


def test_damaged_dataset_is_rendered_again(tmp_path, capsys):
    damaged = SyntheticReader(tmp_path / "d", "a", 1, 16).read()
    damaged.image_paths[0].unlink()
    repaired = SyntheticReader(tmp_path / "d", "a", 1, 16).read()
    assert repaired.image_paths[0].exists()
    assert "rendering it again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subject": "zoe"}, "zoe"),
        ({"frames": 0}, "frames 0"),
        ({"size": 3}, "size 3"),
        ({"seed": -1}, "seed -1"),
        ({"coupling": 1.5, "subject": "c"}, "coupling 1.5"),
        ({"coupling": 1.0}, "subject a has no folds"),
        ({"tracking_noise": -0.1}, "tracking_noise -0.1"),
    ],
)
def test_bad_settings_are_named(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        SyntheticReader(tmp_path / "x", **settings)
    assert not list(tmp_path.iterdir())


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(UserError, match="not a partnerface dataset"):
        SyntheticReader(tmp_path, "a", 1, 16).read()
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_a_rendering_of_before_has_its_true_surface(sequence, root):
    """The truth is not on disk: it belongs to whatever was rendered, and to nothing that was filmed."""
    camera = sequence.camera.select([3])
    surface = SyntheticReader(root, "a", FRAMES, SIZE).true_surface(3, camera)
    labels = np.array(Image.open(sequence.label_paths[3]))
    face = torch.from_numpy(np.isin(labels, (Region.FACE, Region.EYES, Region.MOUTH)))
    # At the rim a ray through a pixel's centre may miss what covers half of it.
    assert (surface.depth[face] > 0).float().mean() > 0.95
    assert (surface.depth[torch.from_numpy(labels == Region.TORSO)] > 0).float().mean() < 0.1
    assert PartnerfaceReader(root).true_surface(3, camera) is None


def test_tracking_noise_is_on_what_was_tracked_and_not_in_the_pictures(tmp_path, capsys):
    exact = SyntheticReader(tmp_path, "c", 7, 16).read()
    pictures = [path.read_bytes() for path in exact.image_paths]
    noisy, again = (SyntheticReader(tmp_path, "c", 7, 16, tracking_noise=0.1).read() for _ in range(2))
    messages = capsys.readouterr().err
    assert "tracking_noise changed" in messages
    assert "Reusing" in messages
    error = noisy.head.expression - exact.head.expression
    used = exact.head.expression.amax(0) > 0
    assert error[:, ~used].abs().max() == 0
    inside = (exact.head.expression > 0.25) & (exact.head.expression < 0.75)
    assert float(error[inside].std()) == pytest.approx(0.1, rel=0.35)
    assert noisy.head.expression.min() >= 0
    assert noisy.head.expression.max() <= 1
    assert torch.equal(noisy.head.expression, again.head.expression)
    assert torch.equal(noisy.head.rotation, exact.head.rotation)
    assert [path.read_bytes() for path in noisy.image_paths] == pictures
    assert set(noisy.splits) == {"train", "temporal", "unseen_combination", "larger"}
    assert set(noisy.split_protocol) == set(noisy.splits)
