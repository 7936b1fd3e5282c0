"""What is known of a live performer so far: a filter that does not look ahead, and the neutral face."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

NEUTRAL_QUANTILE = 0.15
"""A face at rest moves no muscle: of each signal the neutral is among its low values, above its noise."""

NEUTRAL_MEMORY_S = 60.0
NEUTRAL_INTERVAL_S = 0.1
TAKEN_S = 0.5
REFERENCE_S = 2.0


class OneEuroFilter:
    """Smooths signals as they come: much at rest, where noise shows, little in motion, where lag does.

    The 1 euro filter of Casiez et al. 2012: a first-order low-pass whose cutoff is
    ``min_cutoff + beta * |speed|``, the speed itself passed through one of ``speed_cutoff``.

    Args:
        min_cutoff: cutoff at rest in Hz; lower smooths more.
        beta: Hz by which the cutoff rises for a speed of one unit per second; higher lags less.
        speed_cutoff: cutoff of the speed in Hz.
    """

    def __init__(self, min_cutoff: float, beta: float = 0.5, speed_cutoff: float = 1.0) -> None:
        self.min_cutoff, self.beta, self.speed_cutoff = min_cutoff, beta, speed_cutoff
        self._time = math.nan
        self._value = self._speed = np.zeros(0)

    def __call__(self, values: np.ndarray, time: float) -> np.ndarray:
        """Values ``[N]`` at ``time`` seconds, smoothed; a time that does not increase changes nothing."""
        if not len(self._value):
            self._time, self._value, self._speed = time, values.astype(float), np.zeros(len(values))
        elif (step := time - self._time) > 0:
            speed = (values - self._value) / step
            self._speed = self._speed + _weight(self.speed_cutoff, step) * (speed - self._speed)
            cutoff = self.min_cutoff + self.beta * np.abs(self._speed)
            self._value = self._value + _weight(cutoff, step) * (values - self._value)
            self._time = time
        return self._value.copy()


def _weight(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """Weight of a new value in a first-order low-pass of a cutoff in Hz, ``step`` seconds after the last."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))


class RunningNeutral:
    """The neutral face of a performer, found while running, or taken when it is said to be neutral.

    Of each signal it is a low quantile of the last minute, never that of the first picture alone. The
    reference of pose and gaze is the median of the first two seconds with a face.
    """

    def __init__(self) -> None:
        self._signals: deque[np.ndarray] = deque(maxlen=round(NEUTRAL_MEMORY_S / NEUTRAL_INTERVAL_S))
        self._latest: deque[tuple[float, np.ndarray, np.ndarray]] = deque()
        self._first: list[np.ndarray] = []
        self._due = self._first_time = -math.inf
        self._taken = False
        self.signals = self.reference = np.zeros(0)

    def observe(self, signals: np.ndarray, placement: np.ndarray, time: float) -> None:
        """Note the expression's signals ``[N]`` and the numbers ``[M]`` of pose and gaze of one picture."""
        self._latest.append((time, signals, placement))
        while self._latest[0][0] < time - TAKEN_S:
            self._latest.popleft()
        if self._taken:
            return
        if not self._first:
            self._first_time = time
        if time <= self._first_time + REFERENCE_S:
            self._first.append(placement)
            self.reference = np.median(self._first, axis=0)
        if time >= self._due:
            self._due = time + NEUTRAL_INTERVAL_S
            self._signals.append(signals)
            self.signals = np.quantile(self._signals, NEUTRAL_QUANTILE, axis=0)

    def take(self) -> None:
        """Take the last half second as neutral, face and pose, from now on; nothing without a face so far."""
        if self._latest:
            self.signals = np.mean([signals for _, signals, _ in self._latest], axis=0)
            self.reference = np.mean([placement for _, _, placement in self._latest], axis=0)
            self._taken = True
