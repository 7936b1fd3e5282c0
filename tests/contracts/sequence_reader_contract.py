"""What every `SequenceReader` must hold.

Inherit `SequenceReaderContract` in a class named ``Test...`` and override its fixture ``reader`` to return
yours over a short tracked video; run pytest on the file. ``head_model`` is the one it was tracked with.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from partnerface.data.regions import Region
from partnerface.data.sequence import SequenceReader, TrackedSequence, check_head_model
from partnerface.head_models.head_model import HeadModel
from tests.contracts.subjects import shared_head_model

OVERLAPPING = "unseen_expression"
"""The one split that may hold frames of others."""


class SequenceReaderContract:
    """Override ``reader``."""

    in_matte: float = 0.95
    """Least share of the head's vertices that project onto the person, as a mean over the frames."""

    @pytest.fixture
    def reader(self) -> SequenceReader:
        raise NotImplementedError("override the fixture reader")

    @pytest.fixture
    def head_model(self) -> HeadModel:
        return shared_head_model()

    @pytest.fixture
    def sequence(self, reader) -> TrackedSequence:
        return reader.read()

    def test_all_frames_have_everything(self, sequence):
        frames = len(sequence)
        assert frames >= 1
        counts = [
            *(len(sequence.camera), len(sequence.head), len(sequence.torso_motion)),
            *(len(sequence.frame_weights), len(sequence.matte_paths), len(sequence.label_paths)),
        ]
        assert counts == [frames] * len(counts)
        assert sequence.fps > 0
        assert set(sequence.frame_weights.tolist()) <= {0.0, 1.0}
        assert 0 <= sequence.neck_line <= 1
        tensors = [*vars(sequence.head).values(), sequence.camera.intrinsics, sequence.camera.camera_to_world]
        for value in [*tensors, sequence.torso_motion, sequence.shell_thickness]:
            assert value is None or value.isfinite().all()
        assert (sequence.shell_thickness >= 0).all()

    def test_files_exist_at_the_cameras_size(self, reader, sequence):
        assert reader.root.is_dir()
        size = (sequence.camera.width, sequence.camera.height)
        triples = zip(sequence.image_paths, sequence.matte_paths, sequence.label_paths, strict=True)
        known = {int(region) for region in Region}
        for image, matte, labels in list(triples)[:: max(1, len(sequence) // 5)]:
            with Image.open(image) as picture:
                assert (picture.size, picture.mode) == (size, "RGB")
            for path in (matte, labels):
                with Image.open(path) as picture:
                    assert (picture.size, picture.mode) == (size, "L")
            assert set(np.unique(np.array(Image.open(labels))).tolist()) <= known

    def test_rotations_are_rotations(self, sequence):
        head = sequence.head
        rotations = [head.rotation, head.joint_rotations, sequence.camera.camera_to_world[..., :3]]
        if head.torso_rotation is not None:
            rotations.append(head.torso_rotation)
        for rotation in rotations:
            eye = torch.eye(3).expand_as(rotation)
            torch.testing.assert_close(rotation @ rotation.mT, eye, atol=1e-4, rtol=0)
            assert (torch.linalg.det(rotation) > 0).all()

    def test_the_head_is_in_front_of_the_camera_in_metres(self, sequence):
        """OpenCV axes: z forward, y down; a head 0.2 to 3 m away, the right way up."""
        tracked = sequence.frame_weights == 1
        place = sequence.camera.world_to_camera(sequence.head.translation[:, None])[tracked, 0]
        assert (place[:, 2] > 0.2).all()
        assert (place[:, 2] < 3.0).all()
        up = sequence.head.translation + 0.1 * sequence.head.rotation[:, :, 1]
        above = sequence.camera.world_to_camera(up[:, None])[tracked, 0]
        assert ((above - place)[:, 1] < 0).float().mean() > 0.5

    def test_splits_are_disjoint_and_known_to_the_video(self, sequence):
        assert sequence.splits.get("train")
        for name, frames in sequence.splits.items():
            assert len(set(frames)) == len(frames), name
            assert set(frames) <= set(range(len(sequence))), name
            assert (sequence.frame_weights[frames] == 1).all(), name
        names = [name for name in sequence.splits if name != OVERLAPPING]
        frames = [frame for name in names for frame in sequence.splits[name]]
        assert len(set(frames)) == len(frames)
        learned = {*sequence.splits["train"], *sequence.splits.get("val", [])}
        assert not learned & set(sequence.splits.get(OVERLAPPING, []))

    def test_the_head_model_is_the_recorded_one(self, sequence, head_model):
        check_head_model(sequence, head_model)

    def test_the_head_projects_onto_the_person(self, sequence, head_model):
        pixels, _ = sequence.camera.project(head_model(sequence.head).vertices)
        turning = head_model.head_weights() > 0.9
        shares = []
        for frame in (sequence.frame_weights == 1).nonzero()[:, 0].tolist():
            matte = np.array(Image.open(sequence.matte_paths[frame]))
            shares.append(_covered(matte, pixels[frame, turning]))
        assert float(np.mean(shares)) > self.in_matte

    def test_reading_twice_gives_the_same(self, reader, sequence):
        again = reader.read()
        assert again.image_paths == sequence.image_paths
        assert again.splits == sequence.splits
        for name, value in vars(sequence.head).items():
            assert value is None or torch.equal(getattr(again.head, name), value), name

    def test_a_true_surface_is_at_the_cameras_distance_or_unknown(self, reader, sequence):
        camera = sequence.camera.select([0])
        surface = reader.true_surface(0, camera)
        if surface is None:
            return
        assert surface.depth.shape == (camera.height, camera.width)
        assert surface.canonical.shape == (camera.height, camera.width, 3)
        seen = surface.depth > 0
        assert seen.any()
        distance = (sequence.head.translation[0] - camera.camera_to_world[0, :, 3]).norm()
        assert ((surface.depth[seen] - distance).abs() < 0.5).all()


def _covered(matte: np.ndarray, pixels: Tensor) -> float:
    """Share of pixels ``[N, 2]`` that lie on the person; those off the picture count as not."""
    height, width = matte.shape
    x, y = pixels.detach().floor().long().numpy().T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return float((matte[y.clip(0, height - 1), x.clip(0, width - 1)][inside] > 0).sum() / len(x))
