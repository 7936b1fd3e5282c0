"""``--trainer.precision`` as the type that an avatar's networks are evaluated in."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only

from partnerface.errors import UserError

FLOAT32 = ("None", "32", "32-true")
NETWORK_TYPES = {"bf16": "bfloat16", "bf16-mixed": "bfloat16", "16": "float16", "16-mixed": "float16"}
"""Names of Lightning's mixed precisions, with the switch of the classes that evaluate networks in them."""


def with_network_types(config: Namespace) -> None:
    """Move a mixed precision from the trainer to the classes of the avatar that have a switch for its type.

    Lightning's own mixed precision rounds whatever is multiplied: vertices, skinning transforms and rays too.

    Args:
        config: the configuration of a trainer command, with ``trainer`` and ``model``; changed in place.

    Raises:
        UserError: the precision is not supported, or the avatar has no class with such a switch.
    """
    precision = str(config["trainer"]["precision"])
    if precision in FLOAT32:
        config["trainer"]["precision"] = "32-true"
        return
    if precision not in NETWORK_TYPES:
        raise UserError(
            f"--trainer.precision {precision}: points, rays and compositing are float32; choose 32-true, or "
            "bf16-mixed or 16-mixed to evaluate networks in bfloat16 or float16"
        )
    kind, avatar = NETWORK_TYPES[precision], config["model"]["avatar"]
    switches = [arguments for arguments in _arguments(avatar) if kind in arguments]
    if not switches:
        raise UserError(
            f"--trainer.precision {precision}: {avatar['class_path']} has no network with the switch "
            f"{kind}; choose 32-true"
        )
    for arguments in switches:
        for name in {*NETWORK_TYPES.values()} & {*vars(arguments)}:
            arguments[name] = name == kind
    config["trainer"]["precision"] = "32-true"
    if rank_zero_only.rank == 0:
        print(
            f"partnerface: --trainer.precision {precision}: networks in {kind}, all else in float32",
            file=sys.stderr,
        )


def _arguments(tree: Namespace) -> Iterator[Namespace]:
    """Arguments of a class and of those among them."""
    arguments = tree.get("init_args") or Namespace()
    yield arguments
    for value in list(vars(arguments).values()):
        if isinstance(value, Namespace) and "class_path" in value:
            yield from _arguments(value)
