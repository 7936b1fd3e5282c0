"""Recordings of one head model that drive an avatar of another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.cameras.pinhole import Camera
from partnerface.data.drivers.expression_transfer import carried_recording
from partnerface.data.drivers.motions import talk
from partnerface.data.drivers.performance import make_performance
from partnerface.data.drivers.tracked import tracked_recording
from partnerface.data.formats.auto import known_head_model
from partnerface.data.formats.foreign import DatasetFolder
from partnerface.data.recorded_head_model import recorded_head_model
from partnerface.data.sequence import head_model_record
from partnerface.errors import UserError
from partnerface.head_models import expression_map as mapping_module
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_parts import landmark_points
from partnerface.head_models.ict_facekit import IctFaceKitHead
from tests.contracts.subjects import tracked_sequence
from tests.head_models.flame_files import embedded, flame_head_arrays
from tests.head_models.test_ict_facekit import small_file

FRAMES = 6


@pytest.fixture(scope="module")
def ict():
    return IctFaceKitHead()


@pytest.fixture(scope="module")
def flame_file(anny, tmp_path_factory):
    path = tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(path, **flame_head_arrays(anny))
    return path


@pytest.fixture(scope="module")
def flame(flame_file, anny):
    return embedded(FlameHead(flame_file, 20, 49), anny)


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapping_module, "cache_folder", lambda: folder)
        yield


def dataset(head_model, seed=0):
    """A tracked video of turned heads with open mouths."""
    sequence = tracked_sequence(head_model, FRAMES)
    camera = replace(Camera.static(FRAMES, 60.0, 24, 24), camera_to_world=sequence.camera.camera_to_world)
    head = replace(sequence.head, identity=torch.zeros(head_model.num_identity))
    generator = torch.Generator().manual_seed(seed)
    if head_model.jaw_joint is None:
        head.expression[:, head_model.expression_index("jawOpen")] = torch.rand(FRAMES, generator=generator)
    else:
        angles = torch.rand(FRAMES, 1, generator=generator) * torch.tensor([0.3, 0.0, 0.0])
        head.joint_rotations[:, head_model.jaw_joint] = axis_angle_to_matrix(angles)
        neck = 0.2 * torch.randn(FRAMES, 3, generator=generator)
        head.joint_rotations[:, head_model.joint("neck")] = axis_angle_to_matrix(neck)
    return replace(sequence, camera=camera, head=head)


def faces_in_camera(head_model, recording):
    """``[T, K, 3]`` landmarks of a recording before its camera."""
    head = head_model.neutral_parameters(len(recording.expression))
    head.expression, head.joint_rotations = recording.expression, recording.joint_rotations
    rest = head_model.rest_space_vertices(head)
    points = torch.stack([landmark_points(head_model, vertices) for vertices in rest])
    return points @ recording.rotation.mT + recording.translation[:, None]


@pytest.mark.parametrize(
    ("source", "target"), [("ict", "anny"), ("anny", "ict"), ("flame", "anny"), ("anny", "flame")]
)
def test_the_face_stays_where_it_was_and_does_what_it_did(source, target, request):
    """Landmarks of both heads before the camera: their motion over the clip agrees, pose and jaw included."""
    source, target = request.getfixturevalue(source), request.getfixturevalue(target)
    sequence = dataset(source)
    recording = tracked_recording(sequence, target, tracked_with=source)
    theirs = source(replace(sequence.head, torso_rotation=None, torso_translation=None)).vertices
    theirs = torch.stack([landmark_points(source, vertices) for vertices in theirs])
    known = (source.asset.landmark_spread <= 3) & (target.asset.landmark_spread <= 3)
    ours, theirs = faces_in_camera(target, recording)[:, known], theirs[:, known]
    # The camera of the sequence stands at the origin and looks along -z: camera axes are those of the world.
    shape = (ours - theirs).mean(0)
    motion = (theirs - theirs.mean(0)).norm(dim=-1).mean()
    difference = (ours - theirs - shape).norm(dim=-1)
    assert motion > 0.02
    assert shape.norm(dim=1).median() < 0.012
    assert difference.mean() < 0.12 * motion
    [note] = [note for note in recording.notes if "carried over" in note]
    assert f"expressions of {source.asset.name} carried over to {target.asset.name}" in note
    assert "mm of motion are not reproduced" in note
    performance = make_performance(recording, target)
    assert performance.expression_names == target.asset.expression_names


def test_gaze_is_kept(anny, ict):
    sequence = dataset(ict)
    recording = tracked_recording(sequence, anny, tracked_with=ict)
    for eye in ("eye_left", "eye_right"):
        wanted = sequence.head.joint_rotations[:, ict.joint(eye)]
        assert torch.equal(recording.joint_rotations[:, anny.joint(eye)], wanted)
    assert recording.torso is None


def test_a_known_neutral_is_carried_as_a_frame_is(anny, flame):
    motion = talk(anny, 2.0)
    motion.neutral = motion.expression[20]
    carried = carried_recording(motion, anny, flame)
    torch.testing.assert_close(carried.neutral, carried.expression[20], atol=1e-3, rtol=0)
    assert carried.translation is None
    assert carried.expression.abs().max() > 0.1


def test_the_recorded_head_model_is_found(anny, flame_file):
    sequence = dataset(anny)
    ict = IctFaceKitHead()
    for head_model in (anny, ict):
        named = replace(sequence, head_model_record=head_model_record(head_model))
        assert recorded_head_model(named, None).asset.checksum() == head_model.asset.checksum()
    for teeth in (False, True):
        head_model = FlameHead(flame_file, 20, 10, teeth)
        named = replace(
            sequence,
            head_model_record=head_model_record(head_model),
            shell_thickness=torch.zeros(len(head_model.template_vertices)),
        )
        found = recorded_head_model(named, flame_file)
        assert head_model_record(found) == named.head_model_record
        with pytest.raises(UserError, match="tracked with FLAME; give its file as --head_model FILE"):
            recorded_head_model(named, None)
    strange = replace(sequence, head_model_record=replace(sequence.head_model_record, name="gnm"))
    with pytest.raises(UserError, match="tracked with the head model 'gnm'"):
        recorded_head_model(strange, None)


def test_a_dataset_of_an_ict_facekit_file_of_the_users_own(anny, tmp_path):
    """As `create --head_model FILE` makes it: the packaged head of that name is another."""
    own, other = tmp_path / "own.npz", tmp_path / "other.npz"
    for scale, path in enumerate((own, other), 1):
        small_file(path, template=scale * np.random.default_rng(1).normal(size=(110, 3)).astype(np.float32))
    record = head_model_record(IctFaceKitHead(own))
    folder = DatasetFolder(tmp_path)
    named = replace(dataset(anny), head_model_record=record)
    for found in (recorded_head_model(named, own), known_head_model(folder, record, own)):
        assert head_model_record(found) == record
    assert known_head_model(folder, record) is None
    wrong = head_model_record(IctFaceKitHead(other)).checksum
    with pytest.raises(UserError, match=f"other.npz: .*{wrong}.*{record.checksum}"):
        known_head_model(folder, record, other)


def test_a_dataset_of_another_build_is_refused(anny, ict):
    sequence = dataset(ict)
    other = replace(
        sequence, head_model_record=replace(sequence.head_model_record, checksum="0123456789abcdef")
    )
    with pytest.raises(UserError, match="checksum 0123456789abcdef"):
        tracked_recording(other, anny, tracked_with=ict)
