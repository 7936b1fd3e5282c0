"""Signals are noted once, obeyed at once the second time, and given back."""

import os
import signal
import threading

import pytest

from partnerface.runs.stop_signals import StopSignals, Terminated, termination_as_exit


@pytest.fixture
def signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    found = StopSignals()
    found.listen()
    yield found
    found.restore()
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_the_first_is_noted_and_the_second_ends_at_once(signals: StopSignals, number, expected) -> None:
    assert not signals.received
    os.kill(os.getpid(), number)
    assert signals.received
    with pytest.raises(expected):
        signals.stop()
    with pytest.raises(expected):
        os.kill(os.getpid(), number)


def test_a_process_that_received_none_ends_as_terminated() -> None:
    """Another process of the run did."""
    with pytest.raises(Terminated) as ended:
        StopSignals().stop()
    assert ended.value.code == 143


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        signals = StopSignals()
        signals.listen()
        os.kill(os.getpid(), signal.SIGINT)
        assert not signals.received
        signals.restore()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_the_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: StopSignals().listen())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_termination_can_be_an_exit() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), termination_as_exit():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
