"""Help of the trainer commands: what is ours on a page, everything on request."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Sequence

from partnerface.errors import UserError

TRAINER_KEYS = (
    *("max_steps", "max_time", "accelerator", "devices", "num_nodes", "strategy", "precision", "logger"),
    *("callbacks", "val_check_interval", "limit_val_batches", "limit_test_batches"),
)
"""Keys of Lightning's trainer that the short help lists."""
GROUPS = {
    "run": "this run",
    "data": "the tracked video",
    "model": "the avatar and its training",
    "trainer": "Lightning's trainer, its most used keys",
}
OURS = {
    "--config": "YAML file, once or more",
    "--print_config": "print the configuration that results, and end",
    "--seed_everything": "seed of all random numbers",
    "--ckpt_path": "a checkpoint, or last for that of --run_dir; by default the last, in fit none",
}
"""What to say in place of the parser's own words."""
LEFT_OUT = ("--help", "--weights_only", "--return_predictions", "--model.learning_rates")
WIDTH, KEY_WIDTH = 118, 36
_OPTION = re.compile(r"^  -.*\n(?: {8,}.*\n|\n(?= {8,}))*", re.MULTILINE)
"""One option of the parser's own help: its first line and the indented ones below."""


def help_topic(arguments: Sequence[str]) -> str | None:
    """What ``--help=TOPIC`` names; empty for ``--help`` and ``-h``, None without any."""
    for word in arguments:
        if word in ("-h", "--help"):
            return ""
        if word.startswith("--help="):
            return word.partition("=")[2]
    return None


def trainer_help(command: str, parser: argparse.ArgumentParser, topic: str) -> str:
    """The text of the help.

    Args:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        parser: its parser.
        topic: empty for a page of the keys that are ours, ``all`` for every key, or a group or key, such as
            ``data`` or ``model.learning_rates``, for those that begin with it.

    Raises:
        UserError: no key begins with ``topic``.
    """
    if not topic:
        return _short_help(command, parser)
    full = parser.format_help()
    if topic == "all":
        return full
    blocks = [match[0].rstrip() for match in _OPTION.finditer(full + "\n")]
    chosen = [block for block in blocks if _begins_with(block, topic)]
    if not chosen:
        raise UserError(f"--help={topic}: no key begins so; choose {', '.join(GROUPS)}, all or a key")
    return "\n".join(chosen)


def _begins_with(block: str, topic: str) -> bool:
    keys = re.findall(r"--([\w.]+)", block.partition("\n")[0])
    return any(f"{key}.".startswith(f"{topic}.") or (topic == "run" and "." not in key) for key in keys)


def _short_help(command: str, parser: argparse.ArgumentParser) -> str:
    lines = [
        f"usage: partnerface {command} --config FILE [--config FILE ...] [--KEY VALUE ...]",
        "",
        "Files are read from left to right, then flags, and the last value of a key wins. Shipped files:",
        "configs/base.yaml, then one each of configs/method, head_model, data and scale.",
    ]
    rows: dict[str, list[str]] = {group: [] for group in GROUPS}
    for action in parser._actions:
        flag = next((option for option in action.option_strings if option.startswith("--")), None)
        group, dot, key = (flag or "").removeprefix("--").partition(".")
        if flag is None or flag in LEFT_OUT or key.endswith("help"):
            continue
        if (group in GROUPS and not dot) or (group == "trainer" and key not in TRAINER_KEYS):
            continue
        rows[group if dot else "run"].append(f"  {flag:<{KEY_WIDTH}} {OURS.get(flag) or _summary(action)}")
    for group, title in GROUPS.items():
        lines += ["", f"{title}:", *rows[group]]
    return "\n".join(
        [
            *lines,
            "",
            "more:",
            f"  {'--help=data':<{KEY_WIDTH}} a group in full ({', '.join(GROUPS)}), or keys that begin so",
            f"  {'--help=all':<{KEY_WIDTH}} every key",
            f"  {'--model.avatar.help CLASS':<{KEY_WIDTH}} the arguments of a class, here of an avatar",
        ]
    )


def _summary(action: argparse.Action) -> str:
    """The first sentence of an option's help, cut to the line."""
    text = " ".join((action.help or "").split()).replace("``", "")
    first = re.split(r"(?<=[^.])\. |\.$|; ", text, maxsplit=1)[0]
    return textwrap.shorten(first, WIDTH - KEY_WIDTH - 3, placeholder=" ...")
