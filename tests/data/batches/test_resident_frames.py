"""Batches of resident frames are those that the host makes; whether frames are kept, and what is said."""

import numpy as np
import pytest
import torch

from partnerface.data.batches.datasets import RayBatch, RayDataset
from partnerface.data.batches.frame_store import FrameStore
from partnerface.data.batches.loader import FrameVisit
from partnerface.data.batches.pixel_samplers import RegionWeightedPixels, UniformPixels
from partnerface.data.batches.resident_frames import ResidentFrames, resident_or_not
from partnerface.errors import UserError
from tests.views import random_view

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
FRAMES = [5, 1, 3]
"""In an order and with gaps, so that a frame's number is not its place."""

SAMPLERS = {
    "uniform": UniformPixels(),
    "by region": RegionWeightedPixels(),
    "corrected": RegionWeightedPixels(importance_correction=0.7),
}


@pytest.fixture(scope="module")
def store() -> FrameStore:
    generator = np.random.default_rng(0)
    channels = generator.integers(0, 256, (6, 6, 9, 5)).astype(np.uint8)
    channels[..., 4] %= 7
    channels.flags.writeable = False
    return FrameStore(channels)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_rays_are_those_of_the_host(store, sampler):
    views = random_view(6)
    visits = [FrameVisit(frame, 10 + frame) for frame in (3, 5, 3, 1)]
    host, drawn = (RayDataset(store, views, sampler, 200, 4, at_once, 3) for at_once in (True, False))
    expected = RayBatch.concatenate([host[visit] for visit in visits])
    pixels = [drawn[visit] for visit in visits]
    found = ResidentFrames(store, views, FRAMES, CPU).rays(pixels[0].concatenate(pixels))
    assert found.patch_side == expected.patch_side == 3
    for one, other in zip(found.tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    # By hand, from the frames as they are.
    x, y = (found.pixels[1] - 0.5).long().unbind(-1)
    shown = torch.from_numpy(store.channels[5].copy())[y, x]
    assert torch.equal(found.region[1], shown[:, 4])
    assert torch.equal((found.rgb[1] * 255).round().byte(), shown[:, :3])
    assert torch.equal((found.alpha[1] * 255).round().byte(), shown[:, 3])


@pytest.mark.parametrize(
    ("resident", "gigabytes", "kept", "said"),
    [
        ("auto", 2.0, True, "are kept on the GPU: 2.00 GB"),
        ("auto", 2.1, False, "not kept on the GPU: they take 2.10 GB, 25% of the GPU's free memory are 2.00"),
        (True, 7.9, True, "are kept on the GPU: 7.90 GB"),
        (False, 0.1, False, ""),
    ],
)
def test_they_are_kept_where_they_fit(monkeypatch, resident, gigabytes, kept, said):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8 * 10**9, 24 * 10**9))
    found, line = resident_or_not(int(gigabytes * 10**9), CUDA, resident)
    assert found is kept
    assert said in line
    assert bool(line) == bool(said)


def test_what_cannot_be_had_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8 * 10**9, 24 * 10**9))
    with pytest.raises(UserError, match=r"--data\.resident true: .* 9\.00 GB, .* 8\.00 GB free; choose auto"):
        resident_or_not(9 * 10**9, CUDA, True)
    assert resident_or_not(1, CPU, "auto") == (False, "")
    assert resident_or_not(1, CPU, True) == (False, "--data.resident: without effect on a CPU")
