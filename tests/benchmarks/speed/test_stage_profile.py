"""A profile of the real avatar: every stage is seen, and the stages are the whole."""

import time

import pytest

from partnerface.benchmarks.speed.rendering import square_view
from partnerface.benchmarks.speed.stage_profile import rendering_profile, training_profile
from partnerface.benchmarks.speed.training_slices import set_up

STAGES = {
    "posing",
    "ray sampling",
    "inverse skinning",
    "deformation bank",
    "hash encoding",
    "field heads",
    "torso",
    "compositing, gathering",
}


def test_a_training_step_has_all_stages(tiny_method):
    set_up(tiny_method)
    start = time.thread_time()
    stages = training_profile(tiny_method, 2)
    taken = time.thread_time() - start
    names = {row["stage"] for row in stages}
    assert names >= STAGES | {"backward", "optimizer", "losses"}
    assert sum(row["share"] for row in stages) == pytest.approx(1)
    assert 0 < 2 * sum(row["milliseconds"] for row in stages) < 1000 * taken
    points = {row["stage"]: row["points"] for row in stages}
    assert points["ray sampling"] == points["torso"] == 2 * 64
    assert 0 < points["deformation bank"] <= points["inverse skinning"] <= 2 * 64 * 16


def test_a_rendered_frame_has_no_backward_and_counts_every_ray(tiny_method):
    set_up(tiny_method)
    view = square_view(tiny_method.data.sequence, 16)
    stages = rendering_profile(tiny_method, view, 2)
    assert {row["stage"] for row in stages} >= STAGES
    assert not {row["stage"] for row in stages} & {"backward", "optimizer"}
    assert {row["points"] for row in stages if row["stage"] == "torso"} == {256}
