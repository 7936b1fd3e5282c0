"""Every moment counts once, for the innermost stage, in every thread; the real avatar has every stage."""

import threading
import time
import types

import pytest
import torch
from torch import nn

from partnerface.benchmarks.speed.stages import (
    StageClock,
    TimedMethod,
    rendering_profile,
    stage_table,
    training_profile,
)
from partnerface.benchmarks.speed.throughput import square_view
from partnerface.benchmarks.speed.training_slices import set_up


class HandClock:
    """Stands still until it is turned; each thread has its own, as CPU time has."""

    def __init__(self) -> None:
        self._time = threading.local()

    def __call__(self) -> float:
        return getattr(self._time, "now", 0.0)

    def turn(self, seconds: float) -> None:
        self._time.now = self() + seconds


@pytest.fixture
def hand() -> HandClock:
    return HandClock()


def test_nested_stages_sum_to_the_whole(hand):
    clock = StageClock(hand)
    with clock.stage("step"):
        hand.turn(1)
        with clock.stage("forward"):
            hand.turn(2)
            with clock.stage("field"):
                hand.turn(4)
            with clock.stage("field"):
                hand.turn(8)
            hand.turn(16)
        hand.turn(32)
    hand.turn(64)
    assert clock.seconds == {"step": 33, "forward": 18, "field": 12}
    assert sum(clock.seconds.values()) == 63


def test_a_stage_within_itself_counts_once(hand):
    clock = StageClock(hand)
    with clock.stage("a"), clock.stage("b"), clock.stage("a"):
        hand.turn(5)
    assert clock.seconds == {"a": 5, "b": 0}


def test_an_exception_leaves_the_stage(hand):
    clock = StageClock(hand)

    def fail() -> None:
        with clock.stage("inner"):
            hand.turn(1)
            raise KeyError

    with clock.stage("outer"):
        with pytest.raises(KeyError):
            fail()
        hand.turn(2)
    assert clock.seconds == {"outer": 2, "inner": 1}


def test_threads_nest_for_themselves_and_their_times_add_up(hand):
    clock = StageClock(hand)
    both = threading.Barrier(2)

    def work(seconds: float) -> None:
        with clock.stage("render"):
            both.wait()
            hand.turn(seconds)
            with clock.stage("field"):
                both.wait()
                hand.turn(10 * seconds)

    threads = [threading.Thread(target=work, args=(s,)) for s in (1.0, 2.0)]
    with clock.stage("whole"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert clock.seconds == {"whole": 0, "render": 3, "field": 30}


class Part(nn.Module):
    def __init__(self, hand: HandClock) -> None:
        super().__init__()
        self.hand = hand

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        self.hand.turn(3)
        return self.prepared(points)

    def prepared(self, points: torch.Tensor) -> torch.Tensor:
        self.hand.turn(5)
        return 2 * points


def test_methods_are_timed_from_outside_and_left_as_they_were(hand):
    part, clock = Part(hand), StageClock(hand)
    methods = [
        TimedMethod(part, "forward", "part", counts_points=True),
        TimedMethod(part, "prepared", "preparation"),
        TimedMethod(part, "no_such_method", "nothing"),
        TimedMethod(None, "forward", "nothing"),
    ]
    before = set(vars(part))
    with clock.timing(methods):
        assert torch.equal(part(torch.ones(7, 3)), torch.full((7, 3), 2.0))
        part(torch.ones(4, 3))
    assert set(vars(part)) == before
    part(torch.ones(100, 3))
    assert clock.seconds == {"part": 6, "preparation": 10}
    assert clock.points == {"part": 11}


def test_methods_of_classes_and_functions_of_modules_come_back_too(hand):
    clock, module = StageClock(hand), types.ModuleType("module")

    class Other(Part):
        def prepared(self, points: torch.Tensor) -> torch.Tensor:
            return super().prepared(points)

    module.work = lambda: hand.turn(7)
    work, prepared = module.work, Other.prepared
    with clock.timing([TimedMethod(module, "work", "module"), TimedMethod(Other, "prepared", "class")]):
        module.work()
        Other(hand).prepared(torch.ones(1, 3))
    assert module.work is work
    assert Other.prepared is prepared
    assert clock.seconds == {"module": 7, "class": 5}


def test_the_table_has_the_slowest_first_and_its_shares_sum_to_one(hand):
    clock = StageClock(hand)
    for name, seconds in (("a", 1.0), ("b", 6.0), ("c", 3.0)):
        with clock.stage(name):
            hand.turn(seconds)
    clock.points["b"] = 40
    table = stage_table(clock, repeats=4)
    assert [row["stage"] for row in table] == ["b", "c", "a"]
    assert table[0] == {"stage": "b", "milliseconds": 1500.0, "share": 0.6, "points": 10}
    assert table[1]["points"] is None
    assert sum(row["share"] for row in table) == pytest.approx(1)
    assert stage_table(StageClock(hand), 1) == []


STAGES = {
    "posing",
    "ray sampling",
    "inverse skinning",
    "deformation",
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
    assert 0 < points["deformation"] <= points["inverse skinning"] <= 2 * 64 * 16


def test_a_rendered_frame_has_no_backward_and_counts_every_ray(tiny_method):
    set_up(tiny_method)
    frame = square_view(tiny_method.data.sequence, 16)
    stages = rendering_profile(tiny_method, frame, 2)
    assert {row["stage"] for row in stages} >= STAGES
    assert not {row["stage"] for row in stages} & {"backward", "optimizer"}
    assert {row["points"] for row in stages if row["stage"] == "torso"} == {256}
