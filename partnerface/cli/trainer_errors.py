"""What Lightning says about a trainer that cannot be: the user's values, not a mistake of the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from partnerface.user_error import UserError

_OF_THE_CONSTRUCTOR = (ImportError, AttributeError, RuntimeError, TypeError, ValueError, KeyError)
"""What it raises about its arguments beside its own exception; ImportError: a strategy that is an extra."""


@contextmanager
def named_trainer_values(constructing: bool = False) -> Iterator[None]:
    """Whatever Lightning refuses about the trainer's values is a matter of the configuration.

    Args:
        constructing: only the trainer is made inside, so that every error is about a value of it.

    Raises:
        UserError: with Lightning's reason.
    """
    refusals = (MisconfigurationException, *(_OF_THE_CONSTRUCTOR if constructing else ()))
    try:
        yield
    except UserError:
        raise
    except refusals as error:
        raise UserError(f"trainer: {error}") from error
