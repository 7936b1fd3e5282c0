"""Every operator on the arguments that it gets in a training step and in a picture."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from partnerface.avatar import voxel_map
from partnerface.cameras.pinhole import pixel_rays
from partnerface.data.view import View
from partnerface.deformation.part_blendshapes import PartBlendshapes
from partnerface.meshes.bvh import BvhCache
from tests.avatar.test_methods import TestPartNetworks as Parts
from tests.contracts.subjects import disturb, shared_head_model, tracked_sequence

OPERATORS = {
    "blended_matrices",
    "blended_matrices_backward",
    "cast_rays",
    "composite_samples",
    "composite_samples_backward",
    "even_voxels",
    "fit_boxes",
    "hash_encoding",
    "hash_encoding_backward",
    "interpolate_voxels",
    "inverse_skinning",
    "inverse_skinning_in_packets",
    "mark_shell",
    "offset_and_usage",
    "offset_and_usage_backward",
    "posed_normals",
    "sample_rays",
    "strongest_parts",
    "strongest_parts_backward",
    "visited_voxels",
}


class Recorder(TorchDispatchMode):
    """Keeps the arguments of the last call of each operator of the package."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, tuple[Any, ...]] = {}

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        space, name = operator.name().split("::")
        if space == "partnerface":
            self.calls[name] = tuple(copy.deepcopy(a.detach()) if isinstance(a, Tensor) else a for a in args)
        return operator(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def calls() -> Iterator[dict[str, tuple[Any, ...]]]:
    model = shared_head_model()
    sequence = tracked_sequence(model)
    views = View(sequence.camera, sequence.head, sequence.torso_motion).select([0, 5])
    recorder = Recorder()
    with recorder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(voxel_map, "LEAST_SAMPLES", 0)
        # Gradients and pictures run in this thread, which the recorder watches.
        patch.setattr(voxel_map, "cpu_threads", lambda device: 1)
        avatar = Parts().make(model)
        avatar.adapt_to(sequence)
        disturb(avatar, 0.05)
        pixels = 24 * torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(0))
        output = avatar.train()(pixel_rays(views.camera, pixels), views)
        (output.rays.rgb.sum() + output.deformation.part_usage[:, 0].sum()).backward()
        blendshapes = PartBlendshapes(20, parts=40, hidden_width=8)
        disturb(blendshapes, 0.05)
        deformed = blendshapes(torch.rand(50, 3), torch.randn(2, 20), torch.arange(50).int() % 2)
        deformed.offsets.sum().backward()
        picture = views.select([0])
        rays = pixel_rays(picture.camera, pixels[:1])
        avatar.eval()
        with torch.no_grad():
            frames = avatar.pose_frames(picture)
            sampled = avatar.sample(rays, frames)
            avatar.shade(sampled, avatar.for_picture(frames, [sampled], False))
            # What a GPU searches in.
            skinning, posed = avatar.skinning, model(picture.head)
            hierarchies = BvhCache().posed(posed.vertices, posed.canonical_vertices, skinning.faces)
            surface = replace(frames.exact.surface, hierarchies=hierarchies)
            skinning(sampled.points, sampled.point_frame, surface)
    # The hierarchies whose ids are among the arguments live as long as the avatar does.
    yield recorder.calls
    del avatar, frames, hierarchies


def test_all_of_them_are_used(calls):
    assert set(calls) == OPERATORS


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_its_schema_its_fake_and_its_gradient_hold(calls, name):
    arguments = list(calls[name])
    if f"{name}_backward" in OPERATORS:
        arguments = [
            a.requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments
        ]
    torch.library.opcheck(getattr(torch.ops.partnerface, name).default, tuple(arguments))


def test_an_array_of_another_device_is_refused():
    """Warp itself would read the address as if it were its own."""
    import warp as wp

    from partnerface.compute import warp_launch

    class Elsewhere:
        def __eq__(self, other):
            return False

        def __str__(self):
            return "cuda:0"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warp_launch.wp, "device_from_torch", lambda device: Elsewhere())
        kernel = next(iter(wp.get_module("partnerface.meshes.normals").kernels.values()))
        with pytest.raises(RuntimeError, match="argument 0 is on cpu, not on cuda:0"):
            warp_launch.launch(kernel, 1, [torch.zeros(3)], torch.device("cpu"))
