"""The import policy ends with its block, and never leaves a gap between two threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import jsonargparse
import pytest
import yaml

from partnerface.avatar_files.class_paths import (
    MODEL_PACKAGES,
    denied_path,
    guard_parser,
    imports_only,
    refusal,
)
from partnerface.configuration.config_files import CONFIGS
from partnerface.errors import UserError
from partnerface.losses.loss import Loss


def _parse(path: str, kind: object = Loss) -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--x", type=kind)
    parser.parse_object({"x": {"class_path": path}})


def _refusal(path: str, kind: object = Loss) -> str | None:
    with pytest.raises(jsonargparse.ArgumentError) as caught:
        _parse(path, kind)
    denied = denied_path(caught.value)
    return denied and refusal(denied)


def test_the_policy_ends_with_its_block_however_it_ends() -> None:
    before = _refusal("collections.OrderedDict")
    with suppress(KeyError), imports_only(["mine"]):
        within = _refusal("collections.OrderedDict")
        raise KeyError
    assert "collections.OrderedDict" in within
    assert before is None
    assert _refusal("collections.OrderedDict") is None


def test_each_block_trusts_its_own_packages_only() -> None:
    with imports_only(["decimal_of_mine"]):
        pass
    with imports_only(()):
        assert "--trust decimal_of_mine" in _refusal("decimal_of_mine.Decimal")


def test_a_second_thread_is_never_without_a_policy() -> None:
    """The first to leave restores what was before it, which must not be the second one's opening."""
    entered, leave, seen = threading.Event(), threading.Event(), []

    def first() -> None:
        with imports_only(["first_package"]):
            entered.set()
            leave.wait(5)

    def second() -> None:
        entered.wait(5)
        with imports_only(["second_package"]):
            seen.append(_refusal("first_package.Loss"))
            seen.append(_refusal("second_package.Loss"))

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    entered.wait(5)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert "--trust first_package" in seen[0]
    # It is not installed, but would have been imported.
    assert seen[1] is None


def test_every_class_of_the_shipped_methods_is_allowed() -> None:
    """Fails when a room of model parts is added and not to the list."""
    for path in sorted(CONFIGS.rglob("*.yaml")):
        for class_path in _class_paths((yaml.safe_load(path.read_text()) or {}).get("model")):
            assert class_path.startswith(tuple(f"{p}." for p in MODEL_PACKAGES)), (path, class_path)


def _class_paths(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["class_path"]] if "class_path" in node else []
        return own + [path for value in node.values() for path in _class_paths(value)]
    return [path for value in node for path in _class_paths(value)] if isinstance(node, list) else []


def test_programs_are_never_imported_even_from_the_users_own_configuration() -> None:
    guard_parser()
    assert "subprocess.Popen" in _refusal("subprocess.Popen", Callable)
    assert _refusal("collections.OrderedDict") is None


@pytest.mark.parametrize("trust", ["sys", "os.path", "*", "-x", "a.", "ä b"])
def test_names_that_are_no_packages(trust: str) -> None:
    with pytest.raises(UserError, match=f"--trust {trust.replace('*', '.')}"), imports_only([trust]):
        raise AssertionError
