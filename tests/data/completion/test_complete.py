"""A reader of a foreign dataset: pictures, mattes, a camera and head parameters become a TrackedSequence."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.cameras.pinhole import Camera
from partnerface.data.completion.complete import HeadTrack, complete, complete_sequence
from partnerface.data.regions import Region
from partnerface.data.sequence import SequenceReader, check_head_model
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.errors import UserError
from partnerface.files.images import read_grey, read_labels, write_image
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_parameters import HeadParameters

FRAMES, SIZE = 16, 128
TURN = torch.tensor([0.4, -0.7, 0.2])
PLACE = torch.tensor([0.3, -1.0, 2.0])


class ForeignReader(SequenceReader):
    """Pictures ``rgb/*.png``, mattes ``alpha/*.png``, ``camera.json`` and ``tracking.npz``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def head_track(self) -> HeadTrack:
        record = json.loads((self.root / "camera.json").read_text())
        with np.load(self.root / "tracking.npz") as archive:
            head = HeadParameters(**{name: torch.from_numpy(array) for name, array in archive.items()})
        frames, size = len(head), record["size"]
        pose = torch.tensor(record["camera_to_world"]).repeat(frames, 1, 1)
        camera = replace(Camera.static(frames, record["focal"], size, size), camera_to_world=pose)
        paths = (sorted((self.root / folder).iterdir()) for folder in ("rgb", "alpha"))
        return HeadTrack("foreign", *paths, camera, head, fps=record["fps"])

    def read(self):
        return complete_sequence(self.head_track(), AnnyHead(), self.root / "labels")


@pytest.fixture(scope="module")
def renderer(anny):
    return SubjectRenderer(anny, subject_named("a"), FRAMES, SIZE, seed=0)


@pytest.fixture(scope="module")
def rendered(renderer):
    return [renderer.render(i) for i in range(FRAMES)]


@pytest.fixture(scope="module")
def reader(renderer, rendered, tmp_path_factory):
    """The embedded subject as a stranger would publish it: turned, moved, without a torso."""
    root = tmp_path_factory.mktemp("foreign")
    for folder in ("rgb", "alpha"):
        (root / folder).mkdir()
    for i, frame in enumerate(rendered):
        write_image(root / "rgb" / f"shot{i:03d}.png", frame.image)
        write_image(root / "alpha" / f"shot{i:03d}.png", frame.matte)
    turn, head, camera = axis_angle_to_matrix(TURN), renderer.head, renderer.camera
    pose = torch.cat([turn @ camera.camera_to_world[0, :, :3], PLACE[:, None]], 1)
    record = {
        "size": SIZE,
        "focal": float(camera.intrinsics[0, 0]),
        "fps": 25.0,
        "camera_to_world": pose.tolist(),
    }
    (root / "camera.json").write_text(json.dumps(record))
    np.savez(
        root / "tracking.npz",
        identity=head.identity,
        expression=head.expression,
        joint_rotations=head.joint_rotations,
        rotation=turn @ head.rotation,
        translation=head.translation @ turn.T + PLACE,
    )
    return ForeignReader(root)


@pytest.fixture(scope="module")
def sequence(reader):
    return reader.read()


def test_labels_agree_with_those_that_the_renderer_knows(sequence, rendered):
    labels = np.stack([read_labels(path, max(Region)) for path in sequence.label_paths])
    truth = np.stack([frame.labels for frame in rendered])
    common = {region: ((labels == region) & (truth == region)).sum() for region in Region}
    for region, least in {Region.FACE: 0.65, Region.HAIR: 0.7, Region.NECK: 0.6, Region.TORSO: 0.95}.items():
        union = ((labels == region) | (truth == region)).sum()
        assert common[region] / union > least, region
    # The renderer widens eyes and mouth by more.
    for region in (Region.EYES, Region.MOUTH):
        assert common[region] > 0.95 * (labels == region).sum(), region
        assert common[region] > 0.4 * (truth == region).sum(), region
    mattes = np.stack([read_grey(path) for path in sequence.matte_paths])
    np.testing.assert_array_equal(labels == Region.BACKGROUND, mattes < 128)


def test_the_torso_stands_where_the_renderer_has_it(sequence, renderer):
    """The subject's torso never moves: its pose is known but for the clip's median head place."""
    turn, truth = axis_angle_to_matrix(TURN), renderer.head
    expected = (turn @ truth.torso_rotation, truth.translation.median(0).values @ turn.T + PLACE)
    torch.testing.assert_close(sequence.head.torso_rotation, expected[0], atol=1e-5, rtol=0)
    # The median of turned coordinates is not the turned median.
    assert (sequence.head.torso_translation - expected[1]).norm(dim=1).max() < 0.02
    corners = torch.tensor([[0.1, 0.8, 1], [0.9, 0.8, 1], [0.5, 1, 1]])
    moved = torch.einsum("tij,nj->tni", sequence.torso_motion, corners)
    assert ((moved - corners[:, :2]) * SIZE).norm(dim=-1).median() < 1.0


def test_the_neck_line_lies_above_the_torso(sequence, rendered):
    highest = min(np.flatnonzero((frame.labels == Region.TORSO).any(1))[0] for frame in rendered) / SIZE
    assert highest - 0.1 < sequence.neck_line < highest + 0.02


def test_the_shell_reaches_the_hair_and_not_far_beyond(sequence, renderer):
    """The renderer knows how far its dressed surface stands off the tracked one."""
    truth, found = renderer.shell_thickness(sequence.splits["train"]), sequence.shell_thickness
    assert (found >= truth - 0.001).float().mean() > 0.9
    assert (found - truth).quantile(0.99) < 0.015
    assert torch.corrcoef(torch.stack([found, truth]))[0, 1] > 0.5


def test_splits_are_disjoint_and_the_record_is_of_the_head_model(sequence, anny):
    splits = {n: set(f) for n, f in sequence.splits.items() if n != "unseen_expression"}
    assert {"train", "val", "temporal"} <= set(splits)
    assert all(not one & other for one, other in combinations(splits.values(), 2))
    assert sequence.splits["temporal"] == [13, 14, 15]
    assert set(sequence.coverage) == set(sequence.splits)
    check_head_model(sequence, anny)


def test_the_world_of_a_dataset_changes_nothing(reader, sequence, renderer):
    """The same head before the camera at the origin has the same neck line, torso motion and labels."""
    tracked = reader.head_track()
    ours = replace(renderer.head, torso_rotation=None, torso_translation=None)
    other = complete(replace(tracked, camera=renderer.camera, head=ours), AnnyHead())
    assert other.labels.neck_line == pytest.approx(sequence.neck_line, abs=2e-3)
    torch.testing.assert_close(other.torso.matrices, sequence.torso_motion, atol=2e-3, rtol=0)
    for i in (0, 9):
        labels = other.labels.image(i, read_grey(tracked.matte_paths[i]))
        assert (labels == read_labels(sequence.label_paths[i], max(Region))).mean() > 0.99


def test_own_splits_torso_and_lost_frames_are_kept(reader, renderer, tmp_path, anny):
    tracked = reader.head_track()
    head = replace(
        tracked.head, torso_rotation=tracked.head.rotation, torso_translation=tracked.head.translation + 0.1
    )
    head.translation[5, 2] += 50
    weights = torch.ones(FRAMES)
    weights[3] = 0
    own = {"train": [0, 1, 2], "test": [10, 11]}
    found = complete_sequence(
        replace(tracked, head=head, frame_weights=weights, splits=own), anny, tmp_path / "labels"
    )
    assert found.splits == own
    assert torch.equal(found.head.torso_translation, head.torso_translation)
    assert found.frame_weights.tolist() == [0.0 if i in (3, 5) else 1.0 for i in range(FRAMES)]
    assert list(found.left_out) == [5]
    assert weights[5] == 1


def test_what_cannot_be_completed_is_named(reader, tmp_path, anny):
    tracked = reader.head_track()
    small = tmp_path / "small.png"
    write_image(small, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match=r"small\.png: is 8x8, the cameras are 128x128"):
        complete(replace(tracked, image_paths=[small, *tracked.image_paths[1:]]), anny)
    with pytest.raises(UserError, match="foreign: no frame in which a head was tracked"):
        complete(replace(tracked, frame_weights=torch.zeros(FRAMES)), anny)
    with pytest.raises(ValueError, match="frames differ in number"):
        complete(replace(tracked, matte_paths=tracked.matte_paths[1:]), anny)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/labels: cannot be written"):
        complete_sequence(tracked, anny, tmp_path / "file" / "labels")
