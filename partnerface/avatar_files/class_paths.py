"""Which classes may be imported: those of the user's own configuration, and trusted ones of a checkpoint."""

from __future__ import annotations

import inspect
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import jsonargparse
import yaml
from jsonargparse._common import parsing_settings
from jsonargparse._util import import_object

from partnerface.errors import UserError
from partnerface.files.plain_values import refuse_extremes

_PARTS = ("avatar", "head_models", "sampling", "skinning", "deformation", "fields", "rendering")
_ROOMS = (*_PARTS, "losses", "evaluation")
MODEL_PACKAGES = (*(f"partnerface.{room}" for room in _ROOMS), "torch.optim")
"""Packages whose classes a checkpoint may always name.

The whole of `partnerface` would be too much: `load_avatar` is a function that returns an avatar, so that
a checkpoint could name it, with another checkpoint and its own `trust` as arguments.
"""

_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_NEVER_TRUSTED = sys.stdlib_module_names | {
    *("jsonargparse", "torch", "lightning", "pytorch_lightning", "torchmetrics", "numpy", "warp", "kornia"),
    *("wandb", "tensorboard", "av", "PIL", "rich", "matplotlib", "yaml", "filelock", "jaxtyping"),
    *("pytorch3d", "mediapipe", "anny", "scipy", "fsspec", "pip", "setuptools"),
}
"""Python and the libraries: they hold functions that fetch or run code, and no part of an avatar."""
_LOAD_YAML = jsonargparse.get_loader("yaml")
"""The parser's own YAML, with its rules for numbers."""
_SETTINGS_LOCK = threading.RLock()


def class_path(kind: type) -> str:
    """The path by which a configuration names a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def guard_parser() -> None:
    """Set the process's parser for input that may come from strangers.

    YAML that nests or unfolds without measure is refused; class paths that start programs or load code
    (``os``, ``subprocess``, ``pickle``, ``builtins.eval`` and their like) are never imported, whoever
    names them; an argument without a type keeps its value instead of building the class that it names;
    a text where a table belongs may name a file, never an address of the network.
    """
    jsonargparse.set_loader("yaml", _load_guarded, (yaml.YAMLError,))
    jsonargparse.set_parsing_settings(
        import_path_denylist=[],
        instantiate_subclass_spec_in_any=False,
        config_read_mode_urls_enabled=False,
        config_read_mode_fsspec_enabled=False,
    )


def _load_guarded(text: str) -> Any:
    refuse_extremes(text)
    return _LOAD_YAML(text)


@contextmanager
def imports_only(trust: Iterable[str]) -> Iterator[None]:
    """Let the parser import from `MODEL_PACKAGES` and the packages of ``trust`` alone.

    It holds for the whole process; loads in other threads wait. A path is checked before anything is
    imported, and again by the place where its object is defined: ``mine.os.system`` is ``os.system``.

    Args:
        trust: dotted names of packages, modules or classes, or texts with commas between such names.

    Raises:
        UserError: a name of ``trust`` is not one of a package, or one of Python's own.
    """
    names = [trust] if isinstance(trust, str) else trust
    trusted = [name.strip() for text in names for name in str(text).split(",") if name.strip()]
    for name in trusted:
        if not _PACKAGE.fullmatch(name) or name.partition(".")[0] in _NEVER_TRUSTED:
            raise UserError(f"--trust {name}: is not the name of a package with classes of avatars")
    # A package of ours that is named whole adds nothing: see MODEL_PACKAGES.
    allowed = [*MODEL_PACKAGES, *(name for name in trusted if name != "partnerface")]
    with _SETTINGS_LOCK:
        before = dict(parsing_settings)
        try:
            guard_parser()
            jsonargparse.set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=allowed)
            yield
        finally:
            parsing_settings.update(before)


def denied_path(error: BaseException) -> str | None:
    """The class path that the parser was not allowed to import; None if an error is another."""
    found = re.search(r"Importing '([^']+)' is not allowed", str(error))
    return found[1] if found else None


def refusal(path: str) -> str:
    """What to say about a class path of a checkpoint that `imports_only` denies."""
    package = path.partition(".")[0]
    if package == "partnerface" or package in _NEVER_TRUSTED:
        return f"names {path}, which is no class that an avatar is made of"
    return (
        f"names {path}, a class that is not trusted; if you trust its package, "
        f"give --trust {package} (in Python trust=['{package}'])"
    )


def check_classes(configuration: Any, key: str = "") -> None:
    """Make sure that every class path names a class that can be built, before anything is built.

    For an argument that is a factory (``Callable[[int], Deformation]``) the parser would take a function
    too, and call it with whatever arguments stand beside its name.

    Args:
        configuration: what the parser has read: nested namespaces, tables and lists.
        key: where it stands, for the message.

    Raises:
        UserError: a class path names a function, or a class that lacks methods of its interface.
    """
    if isinstance(configuration, list | tuple):
        for value in configuration:
            check_classes(value, key)
    elif isinstance(configuration, dict | jsonargparse.Namespace):
        values = configuration if isinstance(configuration, dict) else vars(configuration)
        if isinstance(path := values.get("class_path"), str):
            # Not by pkgutil: what may be imported holds for this too.
            _check_class(import_object(path), path, key)
        for name, value in values.items():
            check_classes(value, f"{key}.{name}".lstrip("."))
    elif inspect.isroutine(configuration):
        _check_class(configuration, f"{configuration.__module__}.{configuration.__qualname__}", key)


def _check_class(found: Any, path: str, key: str) -> None:
    if not isinstance(found, type):
        raise UserError(f"{key}: {path} is no class; give the path of a class")
    if lacking := sorted(getattr(found, "__abstractmethods__", ())):
        raise UserError(f"{key}: {path} is abstract: it lacks {', '.join(lacking)}")


def innermost(error: BaseException) -> BaseException:
    """The error that an error was raised from, and so on to the first: the parser wraps one for each key."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def extension_error(error: BaseException) -> str | None:
    """What went wrong in a class that is not ours, while it was imported or built; None if nothing did.

    The line names the module or the class, and what it raised for the parser to raise ``error``.
    """
    first = innermost(error)
    if isinstance(first, UserError | MemoryError | KeyboardInterrupt):
        return None
    reason = f"({type(first).__name__}: {first})"
    caller = ""
    for frame, _ in traceback.walk_tb(first.__traceback__):
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if function == "<module>" and _is_foreign(module):
            return f"{module}: cannot be imported {reason}"
        if function == "__init__" and caller.startswith("jsonargparse."):
            kind = type(frame.f_locals.get("self"))
            if not kind.__module__.startswith("partnerface."):
                return f"{class_path(kind)}: cannot be built {reason}"
        caller = module
    return f"{first.filename}: cannot be imported {reason}" if isinstance(first, SyntaxError) else None


def _is_foreign(module: str) -> bool:
    return module.partition(".")[0] not in {"partnerface", "jsonargparse", "lightning", "torch", "builtins"}
