"""A recording becomes a performance: neutral found, gaps bridged, smoothing without delay."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from partnerface.data.drivers.performance import (
    Recording,
    at_times,
    evenly_spaced,
    gap_report,
    least_expression,
    low_pass,
    make_performance,
    mean_rotation,
)
from partnerface.errors import UserError
from tests.contracts.subjects import shared_head_model

HEAD = shared_head_model()


def recording(frames: int, seed: int = 0, turn: float = 0.3) -> Recording:
    """Random expressions, and a head that turns every way."""
    draws = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(turn * draws.standard_normal((frames, 3))).as_matrix()
    return Recording(
        name="clip",
        fps=25.0,
        expression=torch.from_numpy(draws.uniform(0, 1, (frames, HEAD.num_expression))).float(),
        joint_rotations=torch.eye(3).repeat(frames, HEAD.num_joints, 1, 1),
        rotation=torch.from_numpy(turns).float(),
        translation=torch.from_numpy(draws.standard_normal((frames, 3))).float(),
        tracked=torch.ones(frames, dtype=torch.bool),
    )


def face(frames: int, **actions: float) -> torch.Tensor:
    expression = torch.zeros(frames, HEAD.num_expression)
    for name, value in actions.items():
        expression[:, HEAD.expression_index(name)] = value
    return expression


def test_neutral_is_found_under_an_offset_and_is_not_the_first_frame():
    """A squint of 0.6 in every frame, as MediaPipe sees some eyes: rest is where the mouth is shut."""
    expression = face(200, eyeSquintLeft=0.6, eyeSquintRight=0.6)
    time = torch.arange(200) / 25
    expression[:, HEAD.expression_index("jawOpen")] = 0.3 + 0.3 * torch.cos(2 * math.pi * time / 4)
    expression[:3, HEAD.expression_index("jawOpen")] = 0.9
    expression[48:53, HEAD.expression_index("eyeBlinkLeft")] = 1.0
    found = least_expression(expression, torch.ones(200, dtype=torch.bool), HEAD)
    # The mouth is shut at 2 s and 6 s; at 2 s an eye is too.
    assert len(found) == 6
    assert all(abs(frame - 50) < 8 or abs(frame - 150) < 8 for frame in found)
    assert not set(found) & set(range(48, 53))


def test_rest_is_what_the_face_does_most_of_the_time_not_one_odd_frame():
    expression = face(100, jawOpen=0.4)
    expression[40] = face(1)[0]  # the only frame of a shut mouth
    assert least_expression(expression[:30], torch.ones(30, dtype=torch.bool), HEAD) == [0]
    # The quantile says that rest is an open mouth; frames like all others are nearest to it.
    assert 40 not in least_expression(expression, torch.ones(100, dtype=torch.bool), HEAD)


@pytest.mark.parametrize("choice", ["auto", "mean", "7"])
def test_the_performance_and_its_neutral_add_up_to_the_recording(choice):
    recorded = recording(40)
    performance = make_performance(recorded, HEAD, neutral=choice)
    torch.testing.assert_close(performance.expression + performance.neutral, recorded.expression)
    turned = performance.mean_rotation @ performance.rotation
    torch.testing.assert_close(turned, recorded.rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        performance.translation + performance.mean_translation, recorded.translation, atol=1e-5, rtol=0
    )
    expected = recorded.expression.mean(0) if choice == "mean" else recorded.expression[7]
    if choice != "auto":
        torch.testing.assert_close(performance.neutral, expected)
    assert sum("neutral expression" in note for note in performance.notes) == 1


@pytest.mark.parametrize("choice", ["40", "-1", "first", "", "1.5"])
def test_no_such_neutral(choice):
    with pytest.raises(UserError, match=r"--neutral .*0 to 39"):
        make_performance(recording(40), HEAD, neutral=choice)


def test_a_neutral_that_is_known_is_used():
    known = replace(recording(20), neutral=torch.full((HEAD.num_expression,), 0.25))
    assert torch.equal(make_performance(known, HEAD).neutral, known.neutral)


def test_gaps_are_bridged_counted_and_do_not_reach_the_result():
    tracked = torch.ones(50, dtype=torch.bool)
    tracked[[0, 1, 20, 21, 22, 49]] = False
    clean = recording(50)
    soiled = replace(
        clean,
        expression=clean.expression.where(tracked[:, None], 99.0),
        translation=clean.translation.where(tracked[:, None], -99.0),
        tracked=tracked,
    )
    performance = make_performance(soiled, HEAD)
    absolute = performance.expression + performance.neutral
    seen = clean.expression
    torch.testing.assert_close(absolute[:2], seen[2].expand(2, -1))
    torch.testing.assert_close(absolute[49], seen[48])
    torch.testing.assert_close(absolute[21], (seen[19] + seen[23]) / 2)
    assert gap_report(tracked, 25.0).startswith("6 frames without a face in 3 gaps, the longest of 0.12 s")
    assert any("6 frames without a face" in note for note in performance.notes)


def test_the_performers_pictures_are_those_of_the_moment():
    """With or without a face; and of uneven frames the one that is nearest in time."""
    files = [Path(f"{k}.png") for k in range(10)]
    seen = replace(recording(10), pictures=files)
    seen.tracked[3:7] = False
    assert make_performance(seen, HEAD).pictures == files
    times = torch.arange(10).double() / 25
    times[5:] += 4 / 25
    even = evenly_spaced(seen, times)
    shown = [0, 1, 2, 3, 4, 4, 4, 5, 5, 5, 6, 7, 8, 9]
    assert [int(path.stem) for path in even.pictures] == shown


def test_nobody_performs():
    with pytest.raises(UserError, match="no frame shows a face"):
        make_performance(replace(recording(5), tracked=torch.zeros(5, dtype=torch.bool)), HEAD)


def test_rotations_are_interpolated_as_slerp_does():
    """Over steps of up to 40 degrees, within half a degree of the constant speed of slerp."""
    known = recording(12, turn=0.2)
    times = torch.arange(12).double()
    wanted = torch.linspace(0, 11, 57).double()
    found = at_times(known, times, wanted).rotation
    slerp = Slerp(times.numpy(), Rotation.from_matrix(known.rotation.numpy()))(wanted.numpy())
    error = (Rotation.from_matrix(found.numpy()) * slerp.inv()).magnitude()
    assert np.rad2deg(error.max()) < 0.5


def test_the_mean_rotation_equals_scipys():
    turns = recording(30, turn=0.8).rotation
    expected = Rotation.from_matrix(turns.numpy()).mean().as_matrix()
    torch.testing.assert_close(mean_rotation(turns), torch.from_numpy(expected).float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("frequency", [1.0, 3.0, 6.0])
def test_the_filter_has_the_response_it_states_and_no_delay(frequency):
    """A sine keeps its phase and is damped by 2 ** (-(f / cutoff)^2 / 2)."""
    cutoff, time = 3.0, torch.arange(400) / 25.0
    expression = torch.zeros(400, HEAD.num_expression)
    expression[:, 0] = torch.sin(2 * math.pi * frequency * time)
    smooth = low_pass(replace(recording(400), expression=expression), cutoff).expression[:, 0]
    expected = 2 ** (-((frequency / cutoff) ** 2) / 2) * expression[:, 0]
    torch.testing.assert_close(smooth[50:-50], expected[50:-50], atol=2e-3, rtol=0)


def test_the_filter_equals_scipys_and_keeps_what_does_not_move():
    recorded = recording(60)
    sigma = math.sqrt(math.log(2)) / (2 * math.pi * 2.0) * 25.0
    expected = gaussian_filter1d(recorded.expression.numpy(), sigma, axis=0, mode="nearest", truncate=4.5)
    found = low_pass(recorded, 2.0)
    np.testing.assert_allclose(found.expression.numpy(), expected, atol=2e-3)
    still = replace(recorded, rotation=recorded.rotation[:1].repeat(60, 1, 1))
    torch.testing.assert_close(low_pass(still, 2.0).rotation, still.rotation, atol=1e-6, rtol=0)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, 12.5, math.inf, math.nan])
def test_a_cutoff_that_filters_nothing_is_refused(cutoff):
    with pytest.raises(UserError, match="--smooth"):
        make_performance(recording(10), HEAD, smooth_hz=cutoff)
