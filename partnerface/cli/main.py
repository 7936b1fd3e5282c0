"""The ``partnerface`` command: fit, validate, test and predict run the trainer, all others a function."""

from __future__ import annotations

import difflib
import errno
import importlib
import inspect
import os
import re
import select
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import partnerface
from partnerface.cli.process_errors import process_error_message
from partnerface.compute.process_settings import mark_command
from partnerface.errors import UserError, missing_software
from partnerface.runs.stop_signals import EXIT_TERMINATED, Terminated

TRAINER_COMMANDS = {
    "fit": "train an avatar on a tracked video",
    "validate": "metrics on the validation frames",
    "test": "scores, pictures and report.html of the test splits",
    "predict": "render a video",
}


@dataclass(frozen=True)
class Tool:
    """A command that calls a function, whose typed arguments are its options and docstring its help.

    Attributes:
        function: the function as ``module:name``; imported when the command runs.
        summary: the command's line in ``partnerface --help``.
        first: option that gets the argument that belongs to no other, wherever that stands.
    """

    function: str
    summary: str
    first: str = "out"


TOOLS = {
    "demo": Tool("partnerface.cli.demo:demo", "an avatar of the embedded subject: no video needed"),
    "create": Tool("partnerface.cli.create:create", "an avatar from a video: track, fit and test", "video"),
    "track": Tool("partnerface.cli.track:track", "fit a head model to a video", "video"),
    "check": Tool("partnerface.cli.check:check", "is a tracked dataset fit to train on?", "dataset"),
    "convert": Tool(
        "partnerface.cli.convert:convert", "a tracked dataset of one system for another", "dataset"
    ),
    "live": Tool("partnerface.cli.live:live", "an avatar follows a webcam", "avatar"),
    "reenact": Tool(
        "partnerface.cli.reenact:reenact", "drive an avatar by a video, a file or a motion", "avatar"
    ),
    "render": Tool("partnerface.cli.render:render", "an avatar from a moving or a still camera", "avatar"),
    "view": Tool("partnerface.cli.view:view", "move an avatar by hand, in the browser", "avatar"),
    "benchmark methods": Tool(
        "partnerface.cli.benchmark_methods:benchmark_methods", "compare methods under one compute budget"
    ),
    "benchmark speed": Tool(
        "partnerface.cli.benchmark_speed:benchmark_speed", "measure the speed of this machine"
    ),
    "benchmark gpu": Tool(
        "partnerface.cli.benchmark_gpu:benchmark_gpu", "measure all that counts on a GPU, in six minutes"
    ),
    "export avatar": Tool(
        "partnerface.cli.export_avatar:export_avatar", "one file to give away: me.avatar", "avatar"
    ),
    "benchmark transfer": Tool(
        "partnerface.cli.benchmark_transfer:benchmark_transfer", "score another person driving an avatar"
    ),
    "export mesh": Tool(
        "partnerface.cli.export:export_mesh", "GLB: texture, morph targets, animation", "avatar"
    ),
    "export obj": Tool("partnerface.cli.export:export_obj", "a textured mesh of each frame", "avatar"),
    "export ply": Tool("partnerface.cli.export:export_ply", "a coloured mesh of each frame", "avatar"),
    "export splats": Tool("partnerface.cli.export:export_splats", "Gaussian splats", "avatar"),
    "export nersemble": Tool(
        "partnerface.cli.export_nersemble:export_nersemble",
        "a submission to NeRSemble's monocular benchmark",
        "benchmark",
    ),
    "sweep": Tool("partnerface.cli.sweep:sweep", "a W&B sweep file, run here without a server", "file"),
    "bake-head": Tool("partnerface.cli.bake_head:bake_head", "make a head model of the package again"),
    "embed-landmarks": Tool(
        "partnerface.cli.embed_landmarks:embed_landmarks",
        "find the detector's landmarks on a head model",
        "head_model",
    ),
}
DEFAULT_SUITES = {"benchmark": "methods", "export": "mesh"}
"""Second words of commands that may be left out."""

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""As a shell reports a process that SIGPIPE ends."""
LONGEST_MESSAGE = 600
YAML_SWITCHES = {"true", "false", "yes", "no", "on", "off"}
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: command and options; those of the process if None.

    Returns:
        The exit code: 0 for success, 1 if ``check`` finds a dataset unfit, 2 after one line about bad
        input or a lost process, 130 after an interrupt, 141 after its output was closed, 143 after a SIGTERM.
    """
    arguments = [_with_home(word) for word in (sys.argv[1:] if argv is None else argv)]
    try:
        try:
            return _dispatch(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _output_is_closed():
            raise
        # What is left of it goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        print("partnerface: interrupted; what was done is kept", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Terminated:
        print("partnerface: terminated; what was done is kept", file=sys.stderr)
        return EXIT_TERMINATED
    except Exception as error:
        if (message := _user_message(error)) is None:
            raise
        print(f"partnerface: {_one_line(message)}", file=sys.stderr)
        return EXIT_BAD_INPUT


def _output_is_closed() -> bool:
    """True if whoever read the output, such as ``head``, has ended."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _dispatch(arguments: list[str]) -> int:
    for word in arguments:
        if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UserError(f"{word}: is no name in UTF-8, which runs and logs need; rename the file")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else EXIT_BAD_INPUT
    if arguments[0] == "--version":
        print(partnerface.__version__)
        return 0
    mark_command()
    command, rest = split_command(arguments)
    if command in TRAINER_COMMANDS:
        # In each of several processes torch would warn that all parameters were used, which is no fault.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from partnerface.configuration.avatar_cli import run_trainer_command

        run_trainer_command([command, *rest])
        return 0
    return _run_tool(command, rest)


def _with_home(word: str) -> str:
    """An argument with the home folder in place of ``~/``, which shells leave in ``--out=~/me``."""
    flag, equals, value = word.partition("=")
    return f"{flag}={os.path.expanduser(value)}" if equals and value.startswith("~/") else word


def split_command(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The command, of one or two words, and its arguments.

    Raises:
        UserError: there is no such command.
    """
    command, rest = arguments[0], list(arguments[1:])
    if command in DEFAULT_SUITES:
        suite = rest.pop(0) if rest and not rest[0].startswith("-") else DEFAULT_SUITES[command]
        name = f"{command} {suite}"
        if name not in TOOLS:
            raise UserError(f"{name}: {_no_second_word(command, suite)}")
        return name, rest
    if command not in TRAINER_COMMANDS and command not in TOOLS:
        raise UserError(f"no command '{command}'; partnerface --help lists them")
    return command, rest


def _no_second_word(command: str, word: str) -> str:
    """What is wrong with the second word of a command, and which there are."""
    words = [tool.split()[1] for tool in TOOLS if tool.startswith(f"{command} ")]
    near = difflib.get_close_matches(word, words, n=1)
    wrong = "there is no such suite" if command == "benchmark" else "nothing of that name can be exported"
    meant = f"did you mean {near[0]}? " if near else ""
    order = "" if command == "benchmark" else ", before the avatar"
    return f"{wrong}; {meant}choose {', '.join(words)}{order}"


def _run_tool(command: str, arguments: list[str]) -> int:
    import jsonargparse

    from partnerface.avatar_files.class_paths import guard_parser
    from partnerface.configuration.argument_errors import short_message
    from partnerface.configuration.config_files import resolve_config_paths

    guard_parser()
    tool = TOOLS[command]
    module, _, name = tool.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    arguments = _with_named_first(function, tool.first, _with_underscores(arguments))
    arguments = _with_bare_switches(function, arguments)
    arguments = _with_infinity(function, _with_plain_paths(function, arguments))
    arguments = resolve_config_paths(arguments)
    try:
        code = jsonargparse.auto_cli(
            function,
            args=arguments,
            prog=f"partnerface {command}",
            usage=_usage(command, function),
            as_positional=False,
            exit_on_error=False,
            allow_abbrev=False,
        )
    except jsonargparse.ArgumentError as error:
        keys = jsonargparse.ArgumentParser(exit_on_error=False)
        keys.add_function_arguments(function, as_group=False)
        raise UserError(short_message(error, arguments, list(keys.get_defaults().keys()))) from error
    return code or 0


def _with_underscores(arguments: Sequence[str]) -> list[str]:
    """The arguments, with ``--head-model`` as ``--head_model``: both spellings are understood."""
    parts = [word.partition("=") for word in arguments]
    return [
        (name.replace("-", "_").replace("__", "--", 1) if name.startswith("--") else name) + sign + value
        for name, sign, value in parts
    ]


def _usage(command: str, function: Callable) -> str:
    """The command with its first argument and whatever else it cannot do without."""
    parameters = inspect.signature(function).parameters
    first = TOOLS[command].first
    required = [name for name, p in parameters.items() if p.default is p.empty and p.kind != p.VAR_KEYWORD]
    words = [first.upper() if first in required else f"[{first.upper()}]"]
    words += [f"--{name} {name.upper()}" for name in required if name != first]
    return " ".join(["partnerface", command, *words, "[options]"])


def _with_named_first(function: Callable, first: str, arguments: Sequence[str]) -> list[str]:
    """The arguments, with ``--first=`` before the first of them that is neither an option nor its value."""
    parameters = inspect.signature(function).parameters.values()
    switches = {f"--{p.name}" for p in parameters if str(p.annotation) == "bool"}
    words = list(arguments)
    if any(word.partition("=")[0] == f"--{first}" for word in words):
        return words
    for place, (before, word) in enumerate(pairwise(["", *words])):
        takes = before.startswith("--") and "=" not in before
        if takes and before in switches:
            takes = word.lower() in YAML_SWITCHES
        # A name such as "- a.mp4" is no option.
        if not takes and not re.match(r"--?\w", word):
            words[place] = f"--{first}={word}"
            break
    return words


def _with_bare_switches(function: Callable, arguments: Sequence[str]) -> list[str]:
    """The arguments, with ``=true`` behind every switch that stands without a value."""
    parameters = inspect.signature(function).parameters.values()
    switches = {f"--{p.name}" for p in parameters if "bool" in str(p.annotation)}
    after = [*arguments[1:], "--"]
    return [
        f"{word}=true" if word in switches and following.startswith("--") else word
        for word, following in zip(arguments, after, strict=False)
    ]


def _with_plain_paths(function: Callable, arguments: Sequence[str]) -> list[str]:
    """The arguments, with paths that YAML takes for text, and the home folder for ``~``."""
    parameters = inspect.signature(function).parameters.values()
    flags = {f"--{p.name}" for p in parameters if str(p.annotation) in ("Path", "Path | None")}
    plain: list[str] = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if flag in flags and equals:
            argument = f"{flag}={_plain_path(value)}"
        elif plain and plain[-1] in flags and not argument.startswith("--"):
            argument = _plain_path(argument)
        plain.append(argument)
    return plain


def _with_infinity(function: Callable, arguments: Sequence[str]) -> list[str]:
    """The arguments, with ``.inf``, as YAML has it, for ``inf`` wherever no text is wanted."""
    parameters = inspect.signature(function).parameters.values()
    texts = {f"--{p.name}" for p in parameters if re.match("str|Path", str(p.annotation))}
    words: list[str] = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        flag, _, value = word.partition("=") if word.startswith("--") else (before, "", word)
        infinite = flag not in texts and re.fullmatch(r"\+?inf(inity)?", value, re.IGNORECASE)
        words.append(f"{word[: len(word) - len(value)]}.inf" if infinite else word)
    return words


def _plain_path(value: str) -> str:
    """A path that YAML does not take for a list, a number or nothing.

    >>> _plain_path("#1"), _plain_path("a: b"), _plain_path("me.mp4")
    ('./#1', './a: b', 'me.mp4')
    """
    from partnerface.files.plain_values import parse_yaml

    value = str(Path(value).expanduser()) if value.startswith("~/") else value
    try:
        text = isinstance(parse_yaml(value, value), str)
    except UserError:
        text = True  # what is not YAML at all is taken as it is
    return value if text or value.startswith("/") else f"./{value}"


def _user_message(error: BaseException | None) -> str | None:
    """The line for an error that the user can do something about, wherever it is in the chain of causes.

    These are bad input, missing software, an unusable disk, too little memory and a lost process. None
    for any other error: a mistake of this package, shown with its traceback.
    """
    if type(error).__name__ == "OutOfMemoryError":
        return (
            "the GPU's memory is full; lower --data.rays_per_frame, --data.frames_per_batch or the image size"
        )
    if isinstance(error, MemoryError):
        return f"out of memory ({error or 'no more could be had'}); choose a smaller size or fewer frames"
    while error is not None:
        if isinstance(error, UserError):
            return str(error)
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            return f"{error.filename or 'output folder'}: {error.strerror}"
        if (message := missing_software(error) or process_error_message(error)) is not None:
            return message
        error = error.__cause__ or error.__context__
    return None


def _one_line(message: str) -> str:
    """A message on one line, printable and cut to `LONGEST_MESSAGE`: a file may have put anything into it."""
    text = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in message)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 4]} ..."


def _overview() -> str:
    rows = [f"  {name:<18} {summary}" for name, summary in TRAINER_COMMANDS.items()]
    tools = [f"  {name:<18} {tool.summary}" for name, tool in TOOLS.items()]
    return "\n".join(
        [
            f"partnerface {partnerface.__version__}: animatable head avatars from one video",
            "",
            "usage: partnerface COMMAND [options]      partnerface COMMAND --help",
            "",
            "whole paths",
            *tools[:2],
            "steps",
            *tools[2:],
            *rows,
        ]
    )
