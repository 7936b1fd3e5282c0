"""The place in a performance, by a clock that is set by hand."""

import queue
import threading
import time

import pytest

from partnerface.data.drivers.driver import OwnFrames
from partnerface.data.view import View
from partnerface.viewer.playback import LiveViews, Playback
from tests.contracts.subjects import shared_head_model, tracked_sequence

FRAMES, FPS = 10, 25.0


@pytest.fixture
def playback() -> Playback:
    sequence = tracked_sequence(shared_head_model(), FRAMES)
    views = View(sequence.camera, sequence.head, sequence.torso_motion)
    made = Playback(views.select([0]))
    made.load(OwnFrames(views, range(FRAMES), FPS))
    return made


def shown(playback: Playback, now: float) -> int:
    view, place = playback.view(now)
    assert (view.head.translation == playback.driver[place].head.translation).all()
    return place


def test_frames_follow_the_clock_and_late_ones_are_left_out(playback: Playback) -> None:
    playback.play(1000.0)
    times = [0.0, 0.04, 0.05, 0.08, 0.2, 0.36]
    assert [shown(playback, 1000 + t) for t in times] == [0, 1, 1, 2, 5, 9]
    assert shown(playback, 1000.4) == 0


def test_the_next_frame_is_due_when_its_time_comes(playback: Playback) -> None:
    playback.play(1000.0)
    assert playback.seconds_to_next(1000.0) == 0
    shown(playback, 1000.0)
    assert playback.seconds_to_next(1000.01) == pytest.approx(0.03)
    assert playback.seconds_to_next(1000.05) == 0
    playback.pause(1000.05)
    assert playback.seconds_to_next(1000.05) is None


def test_a_pause_keeps_the_place_and_a_search_moves_it(playback: Playback) -> None:
    playback.play(0.0)
    playback.pause(0.13)
    assert shown(playback, 5.0) == 3
    playback.play(10.0)
    assert shown(playback, 10.04) == 4
    playback.seek(8, 10.05)
    assert shown(playback, 10.05) == 8
    playback.seek(10**9, 11.0)
    assert shown(playback, 11.0) == FRAMES - 1
    playback.seek(-5, 11.0)
    assert shown(playback, 11.0) == 0


def test_without_a_loop_it_ends_with_the_last_frame_and_starts_again(playback: Playback) -> None:
    playback.loop = False
    playback.play(0.0)
    assert shown(playback, 3.0) == FRAMES - 1
    assert not playback.playing
    playback.play(5.0)
    assert shown(playback, 5.0) == 0


def test_every_frame_is_shown_once_however_slow(playback: Playback) -> None:
    playback.every_frame = True
    playback.play(0.0)
    places = []
    for step in range(FRAMES):
        assert playback.seconds_to_next(7.0 * step) == 0
        places.append(shown(playback, 7.0 * step))
    assert places == list(range(FRAMES))


def test_a_search_is_followed_while_every_frame_is_shown(playback: Playback) -> None:
    playback.every_frame = True
    playback.play(0.0)
    assert [shown(playback, float(step)) for step in range(3)] == [0, 1, 2]
    playback.seek(7, 3.0)
    assert [shown(playback, 3.0 + step) for step in range(4)] == [7, 8, 9, 0]


def test_without_a_performance_nothing_moves(playback: Playback) -> None:
    playback.load(None)
    playback.play(0.0)
    assert playback.seconds_to_next(1.0) is None
    view, place = playback.view(1.0)
    assert view is playback.still
    assert place == 0


def wait_for(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_of_live_views_the_newest_is_shown_and_the_source_is_let_go(playback: Playback) -> None:
    coming, closed = queue.Queue(), threading.Event()
    views = [playback.driver[place] for place in range(3)]

    def source():
        try:
            while True:
                yield coming.get()
        finally:
            closed.set()

    live = LiveViews(source())
    playback.load(live)
    assert playback.view(0.0)[0] is playback.still
    assert playback.seconds_to_next(0.0) > 0
    for view in (views[0], views[1], None):  # None: a picture without a face
        coming.put(view)
    wait_for(lambda: live.count == 2)
    assert playback.seconds_to_next(0.0) == 0
    assert playback.view(0.0)[0] is views[1]
    assert playback.seconds_to_next(0.0) > 0
    playback.load(None)
    coming.put(views[2])
    assert closed.wait(10)
    assert playback.view(0.0)[0] is playback.still


def test_a_live_source_that_fails_is_raised_once(playback: Playback) -> None:
    def source():
        yield playback.still
        raise OSError("the camera is gone")

    live = LiveViews(source())
    playback.load(live)
    wait_for(lambda: live.failed)
    with pytest.raises(OSError, match="the camera is gone"):
        playback.view(0.0)
    assert playback.view(0.0)[0] is playback.still
