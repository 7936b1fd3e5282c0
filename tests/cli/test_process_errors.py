"""Errors from between processes, raised by torch itself, become words that say what to do."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from torch.distributed import TCPStore

from partnerface.cli.process_errors import process_error_message

SOON = timedelta(seconds=1)


def _raised(action: Callable[[], object]) -> str | None:
    with pytest.raises(RuntimeError) as raised:
        action()
    return process_error_message(raised.value)


def test_the_others_never_came() -> None:
    said = _raised(lambda: TCPStore("127.0.0.1", 0, 2, True, SOON))
    assert said.startswith("the processes of this run did not meet")
    assert "1/2 clients joined" in said
    assert "MASTER_PORT" in said


def test_the_first_never_came() -> None:
    port = TCPStore("127.0.0.1", 0, 1, True, SOON).port  # and it is gone
    said = _raised(lambda: TCPStore("127.0.0.1", port, 2, False, SOON))
    assert said.startswith("the processes of this run did not meet")
    assert str(port) in said


def test_the_port_is_taken() -> None:
    held = TCPStore("127.0.0.1", 0, 1, True, SOON)
    said = _raised(lambda: TCPStore("127.0.0.1", held.port, 1, True, SOON))
    assert said.startswith("the processes of this run did not meet")
    assert str(held.port) in said


def test_the_one_where_all_meet_is_gone() -> None:
    server = TCPStore("127.0.0.1", 0, 1, True, SOON)
    client = TCPStore("127.0.0.1", server.port, 1, False, SOON)
    del server
    assert _raised(lambda: client.get("what is not there")).startswith(
        "another process of this run has ended"
    )


def test_other_mistakes_are_not_blamed_on_processes() -> None:
    assert process_error_message(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert process_error_message(ValueError("Broken pipe")) is None
