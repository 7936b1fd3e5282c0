"""``--protocol NAME``: what a protocol of the literature decides about a configuration."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import Namespace

from partnerface.data.protocols import protocol_named
from partnerface.errors import UserError

FLAG, KEY, SIZE = "--protocol", "--data.protocol", "--data.image_size"


def with_whole_key(arguments: Sequence[str]) -> list[str]:
    """The arguments, with ``--protocol`` as the key of the configuration that it stands for."""
    words = [word.partition("=") for word in arguments]
    return [(KEY if name == FLAG else name) + equals + value for name, equals, value in words]


def settle_protocol(chosen: Namespace, arguments: Sequence[str]) -> None:
    """Set the size of the pictures to that of the protocol, if one is chosen.

    A size among the arguments is left as it is, for the data to refuse.

    Args:
        chosen: the configuration of a command.
        arguments: its command line.

    Raises:
        UserError: there is no such protocol, or parameters are fitted to test pictures, which it forbids.
    """
    if (name := chosen.get("data.protocol")) is None:
        return
    protocol = protocol_named(name)
    if name == "strict" and chosen.get("model.test_parameters") == "refined":
        raise UserError(
            "--model.test_parameters refined: fits parameters to the test pictures, which --protocol strict "
            "does not; leave one of them out"
        )
    given = any(word.partition("=")[0] == SIZE for word in arguments)
    if protocol.image_size is not None and not given:
        chosen["data"]["image_size"] = protocol.image_size
