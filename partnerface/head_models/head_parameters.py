"""HeadParameters: everything that poses a head model, for a batch of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass
class HeadParameters:
    """Identity, expression and pose of one person over F frames.

    The rigid pose maps the head's rest space to the world: ``x_world = rotation @ x + translation``.
    A head tracked from a static camera turns while the shoulders stay, so the torso may have a pose
    of its own; without one it follows the rigid pose, as in FLAME.

    Attributes:
        identity: ``[I]`` identity coefficients in standard deviations, shared by all frames.
        expression: ``[F, E]`` expression coefficients.
        joint_rotations: ``[F, J, 3, 3]`` rotation of each joint relative to its parent, identity at rest.
        rotation: ``[F, 3, 3]`` rigid head rotation, head to world.
        translation: ``[F, 3]`` rigid head translation in metres.
        torso_rotation: ``[F, 3, 3]`` torso rotation, rest to world, or None.
        torso_translation: ``[F, 3]`` torso translation in metres, or None.
        angular_velocity: ``[F, 3]`` radians per second about the head's own axes, from the tracked poses of
            neighbouring frames (a changed ``rotation`` does not change it); None stands for zero.
    """

    identity: Float[Tensor, " I"]
    expression: Float[Tensor, "F E"]
    joint_rotations: Float[Tensor, "F J 3 3"]
    rotation: Float[Tensor, "F 3 3"]
    translation: Float[Tensor, "F 3"]
    torso_rotation: Float[Tensor, "F 3 3"] | None = None
    torso_translation: Float[Tensor, "F 3"] | None = None
    angular_velocity: Float[Tensor, "F 3"] | None = None

    def __len__(self) -> int:
        return len(self.expression)

    @classmethod
    def neutral(cls, frames: int, identities: int, expressions: int, joints: int) -> HeadParameters:
        """Rest pose, mean identity, zero expression."""
        eye = torch.eye(3)
        return cls(
            identity=torch.zeros(identities),
            expression=torch.zeros(frames, expressions),
            joint_rotations=eye.repeat(frames, joints, 1, 1),
            rotation=eye.repeat(frames, 1, 1),
            translation=torch.zeros(frames, 3),
        )

    def select(self, frames: Tensor | slice | Sequence[int]) -> HeadParameters:
        """The same person at the given frames."""
        return self._map(lambda name, value: value if name == "identity" else value[frames])

    def to(self, *args, **kwargs) -> HeadParameters:
        """Move or convert every field as ``Tensor.to`` does."""
        return self._map(lambda _, value: value.to(*args, **kwargs))

    def clone(self) -> HeadParameters:
        """A copy that shares no memory."""
        return self._map(lambda _, value: value.clone())

    @classmethod
    def concatenate(cls, pieces: Sequence[HeadParameters]) -> HeadParameters:
        """Join the frames of pieces of one person."""
        return pieces[0]._map(
            lambda name, value: (
                value if name == "identity" else torch.cat([getattr(piece, name) for piece in pieces])
            )
        )

    def _map(self, change: Callable[[str, Tensor], Tensor]) -> HeadParameters:
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: None if v is None else change(k, v) for k, v in values.items()})
