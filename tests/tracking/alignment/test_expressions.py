from dataclasses import replace

import pytest
import torch

from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.head_models.head_parts import landmark_points
from partnerface.head_models.landmark_geometry import LIPS
from partnerface.tracking.alignment.expressions import _smoothed, align_expressions

FRAMES = 24
TIMES = torch.arange(FRAMES) / 25
SIZE = 192


@pytest.fixture(scope="module")
def rendered(anny):
    """Luminance of a rendered clip, its camera and its exact parameters."""
    renderer = SubjectRenderer(anny, subject_named("a"), FRAMES, SIZE, seed=0)
    weights = torch.tensor([0.299, 0.587, 0.114])
    frames = [torch.as_tensor(renderer.render(i).image).float() @ weights for i in range(FRAMES)]
    return torch.stack(frames).to(torch.uint8), renderer.camera, renderer.head


def lip_errors(anny, head, truth):
    """``[T]`` mean distance in millimetres of the lips' landmarks in the head's space."""
    neutral = anny.identity_vertices(truth.identity)
    rows = list(LIPS)

    def lips(expression):
        return torch.stack(
            [landmark_points(anny, neutral + offset)[rows] for offset in anny.expression_offsets(expression)]
        )

    return (lips(head.expression) - lips(truth.expression)).norm(dim=-1).mean(1) * 1000


def disturbed(anny, truth, size):
    """Mouth and brows off by what changes slowly over time, as a landmark's bias does with the pose."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.zeros_like(truth.expression)
    for name in ("jawOpen", "mouthPucker", "mouthSmileLeft", "mouthSmileRight", "browInnerUp"):
        phase = 6.28 * (torch.rand(1, generator=generator) + torch.arange(FRAMES) / 12)
        noise[:, anny.expression_index(name)] = size * phase.sin()
    return replace(truth, expression=(truth.expression + noise).clamp(0, 1))


def test_disturbed_lips_come_back(anny, rendered):
    luminance, camera, truth = rendered
    head = disturbed(anny, truth, 0.15)
    weights = torch.ones(FRAMES)
    undisturbed = align_expressions(luminance, camera, truth, weights, TIMES, anny)
    aligned = align_expressions(luminance, camera, head, weights, TIMES, anny)
    before = lip_errors(anny, head, truth)
    after = lip_errors(anny, aligned, undisturbed)
    assert before.mean() > 0.5
    assert after.mean() < 0.6 * before.mean()
    # Lids are left where the landmarks of each picture have them.
    lids = [i for i, name in enumerate(anny.asset.expression_names) if name.startswith("eye")]
    torch.testing.assert_close(aligned.expression[:, lids], head.expression[:, lids], atol=1e-6, rtol=0)


def test_pictures_without_texture_change_nothing(anny, rendered):
    luminance, camera, truth = rendered
    aligned = align_expressions(torch.zeros_like(luminance), camera, truth, torch.ones(FRAMES), TIMES, anny)
    torch.testing.assert_close(aligned.expression, truth.expression, atol=1e-6, rtol=0)


def test_frames_of_weight_zero_keep_their_expression_and_teach_nothing(anny, rendered):
    luminance, camera, truth = rendered
    weights = torch.ones(FRAMES)
    weights[[0, 7]] = 0
    noise = torch.randint(0, 255, luminance[0].shape, generator=torch.Generator().manual_seed(1))
    spoilt = luminance.clone()
    spoilt[[0, 7]] = noise.to(torch.uint8)
    aligned, plain = (
        align_expressions(images, camera, truth, weights, TIMES, anny) for images in (spoilt, luminance)
    )
    torch.testing.assert_close(aligned.expression[[0, 7]], truth.expression[[0, 7]])
    torch.testing.assert_close(aligned.expression, plain.expression, atol=1e-5, rtol=0)


def test_one_frame_is_its_own_average(anny, rendered):
    luminance, camera, truth = rendered
    first = torch.tensor([0])
    one = truth.select(first)
    aligned = align_expressions(luminance[:1], camera.select(first), one, torch.ones(1), TIMES[:1], anny)
    torch.testing.assert_close(aligned.expression, one.expression, atol=1e-6, rtol=0)


def test_the_tongue_stays_where_the_fit_left_it(anny, rendered):
    luminance, camera, truth = rendered
    tongue = anny.expression_index("tongueOut")
    expression = truth.expression.clone()
    expression[:, tongue] = 0.0
    aligned = align_expressions(
        luminance, camera, replace(truth, expression=expression), torch.ones(FRAMES), TIMES, anny
    )
    assert aligned.expression[:, tongue].abs().max() == 0


def test_corrections_are_smoothed_in_time_and_not_across_a_gap():
    """Against the sum over all pairs of frames: an uneven rate, some without weight, seconds left out."""
    generator = torch.Generator().manual_seed(0)
    times = torch.cumsum(0.02 + 0.03 * torch.rand(40, generator=generator), 0)
    times[20:] += 30
    weights = (torch.rand(40, generator=generator) > 0.2).float()
    moved = torch.randn(40, 3, generator=generator)
    kernel = torch.exp(-0.5 * ((times[:, None] - times) / 0.04).square()) * weights
    expected = (kernel @ moved) / kernel.sum(1, keepdim=True)
    found = _smoothed(moved, weights, times, 0.04)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    moved[20:] = 0
    assert not _smoothed(moved, weights, times, 0.04)[20:].any()
    assert torch.equal(_smoothed(moved[:1], weights[:1] * 0 + 1, times[:1], 0.04), moved[:1])
