"""The time left against hand arithmetic."""

import pytest

from partnerface.runs.progress import seconds_left


@pytest.mark.parametrize(
    ("durations", "at_work", "waiting", "workers", "expected"),
    [
        ([], [3.0], 4, 2, None),
        ([10, 20], [], 0, 2, 0),
        # One worker: what is left of the one at work, then the others.
        ([10], [4], 3, 1, 6 + 30),
        # Two workers with 6 and 1 left: three more end at 11, 16, 21.
        ([10], [4, 9], 3, 2, 21),
        # One that is late is taken to end now.
        ([10], [25], 1, 1, 10),
        # More workers than runs.
        ([10], [2], 0, 8, 8),
        ([10], [2], 3, 8, 10),
        # Not begun yet.
        ([10, 30], [], 3, 2, 40),
    ],
)
def test_time_left(durations, at_work, waiting, workers, expected) -> None:
    assert seconds_left(durations, at_work, waiting, workers) == expected
