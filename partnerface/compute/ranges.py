"""Between: the type of a number with a range, written where a constructor's argument is."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Annotated as Between
else:

    class Between:
        """``Between[int, 1, 32]``: an integer from 1 to 32; ``Between[float, 0, 1]``: a number from 0 to 1.

        For a type checker it is ``Annotated[int, 1, 32]``. The command line refuses other values with
        the name of their flag, and ``--help`` shows the range. What a constructor gets is a plain
        number; called from Python it is not checked by this.
        """

        def __class_getitem__(cls, item: tuple[type, float, float]) -> type:
            return _number_type(*item)


@cache
def _number_type(kind: type, low: float, high: float) -> type:
    """A class that the command line's parser knows; it has no instances."""
    # Only the command line asks for the types: others need not wait for the parser.
    from jsonargparse.typing import register_type

    def read(value: Any) -> float:
        if not isinstance(value, str):
            number = kind(value) if type(value) in (int, kind) else None
        else:
            try:
                number = kind(value)
            except ValueError:
                number = None
        if number is None:
            raise ValueError(f"expected {kind.__name__}, got {value}")
        if not low <= number <= high:
            raise ValueError(f"{value} is not between {low:g} and {high:g}")
        return number

    def is_read(value: Any, _: type) -> bool:
        return type(value) is kind and low <= value <= high

    made = type(f"{kind.__name__} from {low:g} to {high:g}", (kind,), {})
    register_type(made, serializer=kind, deserializer=read, type_check=is_read)
    return made
