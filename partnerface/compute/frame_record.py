"""FrameRecord: what dataclasses of tensors with one entry a frame have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


@dataclass
class FrameRecord:
    """Base of dataclasses whose tensors are ``[F, ...]``, one entry for each of F frames.

    A field may be such a record itself, or None. Numbers, and the tensors named in `SHARED`, belong to all
    frames.
    """

    SHARED: ClassVar[tuple[str, ...]] = ()

    def select(self, frames: Tensor | slice | Sequence[int]) -> Self:
        """The record of some frames."""
        # A tuple would index the axes of a tensor.
        frames = list(frames) if isinstance(frames, tuple | range) else frames
        return self._map(
            lambda _, value: value.select(frames) if isinstance(value, FrameRecord) else value[frames]
        )

    def to(self, *args, **kwargs) -> Self:
        """Move or convert every tensor as ``Tensor.to`` does."""
        return self._map(lambda _, value: value.to(*args, **kwargs), shared=True)

    def pin_memory(self) -> Self:
        """In memory from which a GPU copies while the host works."""
        return self._map(lambda _, value: value.pin_memory(), shared=True)

    def clone(self) -> Self:
        """A copy that shares no memory."""
        return self._map(lambda _, value: value.clone(), shared=True)

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor, those of inner records among them, in the order of the fields."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, FrameRecord):
                yield from value.tensors()
            elif isinstance(value, Tensor):
                yield value

    @classmethod
    def concatenate(cls, pieces: Sequence[Self]) -> Self:
        """Join the frames of pieces that agree in what belongs to all frames."""

        def join(name: str, first: Tensor | FrameRecord) -> Tensor | FrameRecord:
            values = [getattr(piece, name) for piece in pieces]
            return first.concatenate(values) if isinstance(first, FrameRecord) else torch.cat(values)

        return pieces[0]._map(join)

    def _map(self, change: Callable[[str, Any], Tensor | FrameRecord], shared: bool = False) -> Self:
        values = {f.name: getattr(self, f.name) for f in fields(self) if shared or f.name not in self.SHARED}
        changed = {k: change(k, v) for k, v in values.items() if isinstance(v, (Tensor, FrameRecord))}
        return replace(self, **changed)
