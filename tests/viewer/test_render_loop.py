"""What is rendered next, and for whom: tried with a clock that only rendering moves."""

import threading
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from partnerface.viewer.render_loop import (
    REST_S,
    Page,
    RenderLoop,
    Resolution,
    Superseded,
    checked_between_steps,
)

SECONDS_PER_PIXEL = 0.6 / 256**2


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TimedPage(Page):
    """A page whose pictures take as long as they have pixels, in 16 steps; it notes what it shows."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.shown, self.reports, self.state = clock, [], [], 0
        self.meanwhile: Callable[[], None] = lambda: None
        self.fault: Exception | None = None
        self.next_due: float | None = None
        self.finest = False

    @property
    def complete(self) -> bool:
        return self.finest

    def seconds_to_next(self, now: float) -> float | None:
        return None if self.next_due is None else self.next_due - now

    def render(self, height: int, check: Callable[[], None]) -> None:
        state = self.state
        if self.fault is not None:
            raise self.fault
        for _ in range(16):
            check()
            self.clock.now += height**2 * SECONDS_PER_PIXEL / 16
            self.meanwhile()
        self.shown.append((height, state))

    def report(self, message: str) -> None:
        self.reports.append(message)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(clock: Clock) -> RenderLoop:
    return RenderLoop(Resolution(256), clock)


def run_until_idle(loop: RenderLoop, clock: Clock) -> None:
    for _ in range(50):
        wait = loop.step()
        if wait is None:
            return
        clock.now += wait
    raise AssertionError("the loop never rests")


def test_a_page_at_rest_gets_finer_until_the_finest_and_then_costs_nothing(loop, clock) -> None:
    page = TimedPage(clock)
    loop.open(page)
    run_until_idle(loop, clock)
    heights = [height for height, _ in page.shown]
    assert heights == sorted(set(heights))
    assert heights[-1] == 256
    assert loop.step() is None


def test_heights_while_moving_are_those_that_are_fast_enough() -> None:
    resolution = Resolution(256)
    resolution.note(96, 0.084)  # 0.6 s at 256, 0.34 s at 192
    assert resolution.moving() == 96
    assert resolution.after(96) == 256
    slow = Resolution(512)
    slow.note(96, 0.5)  # 2 s at 192, 3.6 s at 256, 8 s at 384
    assert slow.moving() == 64
    assert [slow.after(96), slow.after(192), slow.after(256)] == [192, 256, None]
    fast = Resolution(512)
    fast.note(256, 0.01)
    assert fast.moving() == 512
    assert fast.after(512) is None


def test_of_many_changes_during_a_picture_only_the_last_is_shown(loop, clock) -> None:
    page = TimedPage(clock)
    loop.open(page)
    loop.step()

    def drag() -> None:
        page.state += 1
        loop.request(page)

    page.meanwhile = drag
    loop.request(page)
    loop.step()
    page.meanwhile = lambda: None
    changes = page.state
    assert changes == 16
    before = len(page.shown)
    loop.step()
    assert page.shown[before:] == [(page.shown[-1][0], changes)]
    run_until_idle(loop, clock)
    assert {state for _, state in page.shown[before:]} == {changes}


def test_a_change_interrupts_a_refinement_within_a_step(loop, clock) -> None:
    page = TimedPage(clock)
    loop.open(page)
    loop.resolution.note(96, 0.084)
    loop.step()
    shown = list(page.shown)
    clock.now += REST_S
    start = clock.now

    def touch() -> None:
        page.meanwhile = lambda: None
        page.state = 7
        loop.request(page)

    page.meanwhile = touch
    loop.step()
    assert page.shown == shown
    assert clock.now - start <= 0.6 / 16 + 1e-9
    loop.step()
    assert page.shown[-1] == (96, 7)


def test_nothing_is_refined_while_another_page_is_dragged(loop, clock) -> None:
    quiet, busy = TimedPage(clock), TimedPage(clock)
    loop.resolution.note(96, 0.084)
    loop.open(quiet)
    loop.open(busy)
    for _ in range(20):
        loop.request(busy)
        loop.step()
        clock.now += REST_S / 2
    assert max(height for height, _ in quiet.shown) == 96
    run_until_idle(loop, clock)
    assert quiet.shown[-1][0] == busy.shown[-1][0] == 256


def test_pages_that_play_take_turns_and_leave_room_for_a_third_to_move(loop, clock) -> None:
    first, second, third = (TimedPage(clock) for _ in range(3))
    loop.resolution.note(96, 0.084)
    for page in (first, second, third):
        loop.open(page)
    first.next_due = second.next_due = 0.0
    for _ in range(9):
        loop.step()
    before = len(third.shown)
    loop.request(third)
    for _ in range(3):
        loop.step()
    assert abs(len(first.shown) - len(second.shown)) <= 1
    assert len(third.shown) == before + 1


def test_a_page_at_rest_becomes_fine_beside_one_that_always_plays(loop, clock) -> None:
    playing, quiet = TimedPage(clock), TimedPage(clock)
    loop.resolution.note(96, 0.084)
    loop.open(playing)
    loop.open(quiet)
    playing.next_due = 0.0
    for _ in range(12):
        loop.step()
    assert quiet.shown[-1][0] == 256
    assert len(playing.shown) >= 8


def test_a_playing_page_is_waited_for_no_longer_than_its_next_frame(loop, clock) -> None:
    page = TimedPage(clock)
    loop.open(page)
    loop.step()
    page.next_due = clock.now + 0.02
    assert loop.step() == pytest.approx(0.02)


def test_a_complete_page_is_rendered_at_full_size_while_it_moves(loop, clock) -> None:
    page = TimedPage(clock)
    page.finest, page.next_due = True, 0.0
    loop.resolution.note(96, 0.084)
    loop.open(page)
    loop.step()
    assert page.shown == [(256, 0)]


def test_a_failure_is_one_line_on_its_page_and_is_not_repeated(loop, clock) -> None:
    page, other = TimedPage(clock), TimedPage(clock)
    page.fault = RuntimeError("the tensors\n  do not fit\n" + "x" * 1000)
    loop.open(page)
    loop.open(other)
    run_until_idle(loop, clock)
    assert len(page.reports) == 1
    assert page.reports[0].startswith("the tensors do not fit x")
    assert len(page.reports[0]) <= 300
    assert "\n" not in page.reports[0]
    assert other.shown[-1][0] == 256
    page.fault = None
    loop.request(page)
    run_until_idle(loop, clock)
    assert page.shown[-1][0] == 256


def test_a_page_that_vanishes_while_it_is_rendered_is_dropped(loop, clock) -> None:
    page, other = TimedPage(clock), TimedPage(clock)

    def refuse(_: str) -> None:
        raise ConnectionError("gone")

    page.report = refuse
    page.fault = ConnectionError("gone")
    loop.open(page)
    loop.open(other)
    run_until_idle(loop, clock)
    page.fault = None
    loop.request(page)
    run_until_idle(loop, clock)
    assert page.shown == []
    assert other.shown[-1][0] == 256


def test_a_page_that_cannot_show_a_failure_is_not_taken_for_gone(loop, clock, caplog) -> None:
    page = TimedPage(clock)

    def fail(_: str) -> None:
        raise KeyError("a control was removed")

    page.report, page.fault = fail, RuntimeError("cannot be rendered")
    loop.open(page)
    run_until_idle(loop, clock)
    assert "could not be shown on its page: cannot be rendered" in caplog.text
    assert "a control was removed" in caplog.text
    page.fault = None
    loop.request(page)
    run_until_idle(loop, clock)
    assert page.shown[-1][0] == 256


def test_the_thread_renders_requests_and_ends() -> None:
    loop, clock = RenderLoop(Resolution(96)), Clock()
    page, shown = TimedPage(clock), threading.Event()
    page.meanwhile = shown.set
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        for _ in range(3):
            shown.clear()
            loop.open(page) if not page.shown else loop.request(page)
            assert shown.wait(10)
    finally:
        loop.stop()
        thread.join(10)
    assert not thread.is_alive()


def test_a_long_computation_ends_between_the_steps_of_a_module() -> None:
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(5)))
    calls = []

    def check() -> None:
        calls.append(time.monotonic())
        if len(calls) == 3:
            raise Superseded

    with checked_between_steps(network, check), pytest.raises(Superseded):
        network(torch.zeros(1, 2))
    assert len(calls) == 3
    # The checks are gone with the block.
    network(torch.zeros(1, 2))
    assert len(calls) == 3
