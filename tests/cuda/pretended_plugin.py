"""A plugin for pytest (`-p tests.cuda.pretended_plugin`): tests marked ``gpu`` run on the pretended device.

Of what is collected it keeps those, and the tests in `tests/cuda/pretended`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cuda.pretended_device import pretended_cuda, unavailable

OWN_TESTS = Path(__file__).with_name("pretended")

_device = ExitStack()


def pytest_configure() -> None:
    # Tests ask for a device while they are collected.
    if unavailable() is None:
        _device.enter_context(pretended_cuda())


def pytest_unconfigure() -> None:
    _device.close()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    yield
    kept = [item for item in items if item.get_closest_marker("gpu") or OWN_TESTS in item.path.parents]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
