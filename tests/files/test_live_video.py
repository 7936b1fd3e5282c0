"""Live pictures: the newest wins, a video keeps its own rate, and a missing camera is one line."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from partnerface.errors import UserError
from partnerface.files.live_video import LivePicture, NewestPictures, camera_pictures, played_pictures
from partnerface.files.videos import write_video


def picture(number: int) -> LivePicture:
    return LivePicture(np.full((2, 2, 3), number, np.uint8), number / 25, 100 + number / 25)


class FakeSource:
    """Gives a picture when it is told to; an exception is raised, None ends it."""

    def __init__(self) -> None:
        self.orders: queue.Queue = queue.Queue()
        self.given = threading.Semaphore(0)

    def __iter__(self) -> Iterator[LivePicture]:
        while (order := self.orders.get(timeout=5)) is not None:
            if isinstance(order, Exception):
                raise order
            yield order
            # Back for the next one: what was given is stored.
            self.given.release()

    def give(self, *numbers: int) -> None:
        for number in numbers:
            self.orders.put(picture(number))
        for _ in numbers:
            assert self.given.acquire(timeout=5)


def test_the_newest_picture_is_taken_and_those_before_it_are_dropped():
    source = FakeSource()
    with NewestPictures(iter(source)) as newest:
        taken = iter(newest)
        source.give(0)
        assert next(taken).time == 0
        source.give(1, 2, 3)
        assert next(taken).image[0, 0, 0] == 3
        assert newest.dropped == 2
        source.give(4)
        assert next(taken).image[0, 0, 0] == 4
        source.give(5, 6)
        source.orders.put(None)
        assert [found.image[0, 0, 0] for found in taken] == [6]
        assert newest.dropped == 3


def test_iterating_waits_for_the_next_picture():
    source = FakeSource()
    with NewestPictures(iter(source)) as newest:
        threading.Timer(0.05, source.give, [7]).start()
        assert next(iter(newest)).image[0, 0, 0] == 7
        source.orders.put(None)
        assert list(newest) == []


def test_what_the_source_raises_reaches_whoever_iterates():
    source = FakeSource()
    with NewestPictures(iter(source)) as newest:
        source.orders.put(UserError("camera 0: unplugged"))
        with pytest.raises(UserError, match="unplugged"):
            list(newest)


def test_a_camera_that_gives_nothing_any_more_is_given_up_with_what_came_before():
    source, taken = FakeSource(), []
    with NewestPictures(iter(source), patience=0.05) as newest:
        threading.Timer(0.2, source.give, [0]).start()  # the first may take its time
        with pytest.raises(UserError, match=r"no picture for 0\.05 s"):
            taken.extend(newest)
        source.orders.put(None)
    assert [found.time for found in taken] == [0]


def test_leaving_lets_go_of_the_source():
    source = FakeSource()
    with NewestPictures(iter(source)) as newest:
        source.orders.put(picture(0))
        source.orders.put(picture(1))
    source.orders.put(picture(2))
    newest._thread.join(timeout=5)
    assert not newest._thread.is_alive()


class FakeClock:
    """Time passes only by sleeping and by what is added."""

    def __init__(self) -> None:
        self.now, self.slept = 50.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_a_video_is_played_at_its_own_rate_and_late_frames_come_at_once(tmp_path: Path):
    video = tmp_path / "clip.mp4"
    write_video(video, [np.full((16, 16, 3), 20 * i, np.uint8) for i in range(8)], 20)
    clock, seen = FakeClock(), []
    for found in played_pictures(video, clock, clock.sleep):
        seen.append((found.time, found.due, clock.now))
        if len(seen) == 3:
            clock.now += 0.12  # somebody was slow: two frames are overdue, the third is early by 0.03 s
    times = [time for time, _, _ in seen]
    assert times == pytest.approx([i / 20 for i in range(8)], abs=1e-4)
    assert [due for _, due, _ in seen] == pytest.approx([50 + i / 20 for i in range(8)], abs=1e-4)
    came = [50, 50.05, 50.10, 50.22, 50.22, 50.25, 50.30, 50.35]
    assert [now for _, _, now in seen] == pytest.approx(came, abs=1e-4)


def test_no_camera_is_one_line(tmp_path: Path):
    with pytest.raises(UserError, match=r"camera 3 \(.*video3\): there is none; connect one") as refused:
        next(camera_pictures(3, tmp_path))
    assert "\n" not in str(refused.value)


def test_what_is_no_camera_is_one_line(tmp_path: Path):
    (tmp_path / "video0").write_bytes(b"not a device")
    with pytest.raises(UserError, match=r"camera 0 \(.*video0\): is no camera"):
        next(camera_pictures(0, tmp_path))


def test_a_missing_video_is_one_line(tmp_path: Path):
    with (
        pytest.raises(UserError, match="no such video file"),
        NewestPictures(played_pictures(tmp_path / "none.mp4")) as newest,
    ):
        list(newest)
