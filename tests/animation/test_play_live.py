"""The loop of a live performance on a fake clock: what is shown, and what rate and latency it reports."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest

from partnerface.animation.play_live import LiveFigures, play_live
from partnerface.files.live_video import LivePicture

DETECT_S, RENDER_S = 0.02, 0.13


class Slow:
    """An avatar and its performer whose work takes time on their own clock."""

    def __init__(self, faces: list[bool]) -> None:
        self.now, self.faces, self.rendered = 10.0, iter(faces), []

    def clock(self) -> float:
        return self.now

    def view(self, image: np.ndarray, time: float) -> str | None:
        self.now += DETECT_S
        return f"view at {time:g}" if next(self.faces) else None

    def default_view(self) -> str:
        return "default view"

    def render(self, view: str, size: tuple[int, int]) -> SimpleNamespace:
        self.now += RENDER_S
        self.rendered.append((view, size))
        return SimpleNamespace(to_bytes=lambda: np.full((2, 2, 3), len(self.rendered), np.uint8))

    def pictures(self, count: int, late: float):
        for i in range(count):
            yield LivePicture(np.zeros((2, 2, 3), np.uint8), i / 5, self.now - late)


def play(slow: Slow, count: int, late: float = 0.03):
    return play_live(slow, slow, slow.pictures(count, late), (2, 2), slow.clock)


def test_each_picture_is_rendered_and_its_latency_counts_from_when_it_was_due():
    slow = Slow([True] * 3)
    frames = list(play(slow, 3))
    assert slow.rendered == [(f"view at {i / 5:g}", (2, 2)) for i in range(3)]
    for frame in frames:
        assert frame.detect_s == pytest.approx(DETECT_S)
        assert frame.render_s == pytest.approx(RENDER_S)
        assert frame.latency_s == pytest.approx(0.03 + DETECT_S + RENDER_S)


def test_without_a_face_the_last_image_stays_and_at_first_the_default_view_is_shown():
    slow = Slow([False, False, True, False, True])
    frames = list(play(slow, 5))
    assert [view for view, _ in slow.rendered] == ["default view", "view at 0.4", "view at 0.8"]
    assert [frame.image[0, 0, 0] for frame in frames] == [1, 1, 2, 2, 3]
    assert [frame.has_face for frame in frames] == [False, False, True, False, True]


def test_the_figures_are_those_of_the_clock():
    slow = Slow([True] * 29 + [False])
    figures = LiveFigures(slow.clock)
    with contextlib.suppress(StopIteration):
        for frame in play(slow, 30):
            figures.note(frame)
            now = figures.now()
    # The last picture takes no rendering; the last twenty frames have nineteen intervals.
    rate, latency = 19 / (18 * 0.15 + 0.02), (19 * 180 + 50) / 20
    assert now in {f"{rate:.1f} frames/s, latency {latency + half:.0f} ms" for half in (-0.1, 0.1)}
    summary = figures.summary(dropped=7)
    assert f"30 frames, {29 / (28 * 0.15 + 0.02):.1f} a second; latency 180 ms" in summary
    assert "face 20 ms, rendering 130 ms" in summary
    assert "7 pictures of the performer dropped, 1 without a face" in summary
    assert LiveFigures(slow.clock).summary(0) == "no pictures came"
