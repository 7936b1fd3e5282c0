"""HeadModel: head parameters -> posed head, for every 3DMM in SMPL/FLAME form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from partnerface.head_models.head_model_asset import HeadModelAsset
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.landmark_store import surface_digest, with_stored_landmarks
from partnerface.head_models.linear_blend_skinning import (
    blend_transforms,
    halfway_transform,
    joint_transforms,
    transform_points,
)


@dataclass
class PosedHead:
    """A head model posed in F frames.

    A vertex obeys ``vertices = vertex_transforms @ (canonical_vertices + displacements)``, so the
    inverse map of a surface point undoes the transform and then subtracts the displacement.

    Attributes:
        vertices: ``[F, V, 3]`` in world space, metres.
        canonical_vertices: ``[V, 3]`` in canonical space: the person's identity, the head model's
            canonical expression, rest pose.
        displacements: ``[F, V, 3]`` expression (and pose-corrective) offsets relative to canonical, metres.
        vertex_transforms: ``[F, V, 3, 4]`` blended joint transforms, rest to world.
        joints: ``[F, J, 3]`` joint positions in world space.
        head_rotation: ``[F, 3, 3]`` head to world; its inverse turns view directions into the head's axes.
    """

    vertices: Float[Tensor, "F V 3"]
    canonical_vertices: Float[Tensor, "V 3"]
    displacements: Float[Tensor, "F V 3"]
    vertex_transforms: Float[Tensor, "F V 3 4"]
    joints: Float[Tensor, "F J 3"]
    head_rotation: Float[Tensor, "F 3 3"]


class HeadModel(nn.Module):
    """A parametric head model.

    It has no per-frame state and no learned parameters; its buffers come from the asset and are
    not written into checkpoints (the asset's checksum is).

    Args:
        asset: its arrays.
        surface: digest of the mean head that its landmark embedding belongs to, `surface_digest`; that of
            the asset by default.
    """

    template_vertices: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    template_joints: Tensor
    joint_identity_basis: Tensor
    skinning_weights: Tensor
    canonical_expression: Tensor
    faces: Tensor
    face_parts: Tensor
    pose_correctives: Tensor | None
    joint_expression_basis: Tensor | None
    canonical_offsets: Tensor

    def __init__(self, asset: HeadModelAsset, surface: str | None = None) -> None:
        super().__init__()
        self.surface = surface or surface_digest(asset.template_vertices, asset.faces)
        if not len(asset.landmark_faces):
            asset = with_stored_landmarks(asset, self.surface)
        self.asset = asset
        self.parents = [int(p) for p in asset.parents]
        # The buffers declared above are the asset's arrays of the same names, but for the last.
        for name in filter(partial(hasattr, asset), HeadModel.__annotations__):
            array = getattr(asset, name)
            kind = np.int64 if name in ("faces", "face_parts") else np.float32
            buffer = None if array is None else torch.tensor(np.asarray(array, kind))
            self.register_buffer(name, buffer, persistent=False)
        offsets = self.expression_offsets(self.canonical_expression[None])[0]
        self.register_buffer("canonical_offsets", offsets, persistent=False)
        # Stored halves do not sum to one exactly; a transform blended with them would not be affine.
        self.skinning_weights /= self.skinning_weights.sum(1, keepdim=True)

    @property
    def num_identity(self) -> int:
        return len(self.identity_basis)

    @property
    def num_expression(self) -> int:
        return len(self.expression_basis)

    @property
    def num_joints(self) -> int:
        return len(self.parents)

    def joint(self, name: str) -> int:
        """Index of a joint by name; ``head`` is the neck in a model without a head joint, such as FLAME."""
        names = self.asset.joint_names
        return names.index("neck" if name == "head" and "head" not in names else name)

    @property
    def jaw_joint(self) -> int | None:
        """Index of the joint that opens the mouth; None where the expression ``jawOpen`` does, as in Anny."""
        by_joint = "jaw" in self.asset.joint_names and "jawOpen" not in self.asset.expression_names
        return self.joint("jaw") if by_joint else None

    def expression_index(self, name: str) -> int:
        """Index of an expression coefficient by name. Raises ValueError if there is none."""
        return self.asset.expression_names.index(name)

    def head_weights(self) -> Tensor:
        """``[V]`` in [0, 1]: skinning weight of the head, the jaw and the eyes, without neck and torso."""
        below = {self.joint("root"), self.joint("neck")} - {self.joint("head")}
        return 1 - self.skinning_weights[:, sorted(below)].sum(1)

    def part_faces(self, *names: str) -> Tensor:
        """``[Fc]`` bool: the faces of the named parts of the surface; absent parts have no faces."""
        wanted = [i for i, n in enumerate(self.asset.part_names) if n in names]
        return torch.isin(self.face_parts, torch.tensor(wanted, device=self.face_parts.device))

    def neutral_parameters(self, frames: int = 1) -> HeadParameters:
        """Rest pose, mean identity, zero expression, on the device of the head model."""
        neutral = HeadParameters.neutral(frames, self.num_identity, self.num_expression, self.num_joints)
        return neutral.to(self.template_vertices.device)

    def identity_vertices(self, identity: Tensor) -> Tensor:
        """``[V, 3]`` vertices of an identity ``[<=I]``, neutral expression, rest pose."""
        basis = self.identity_basis[: len(identity)]
        return _with_basis(self.template_vertices, identity, basis)

    def identity_joints(self, identity: Tensor) -> Tensor:
        """``[J, 3]`` joints of an identity, rest pose."""
        basis = self.joint_identity_basis[: len(identity)]
        return _with_basis(self.template_joints, identity, basis)

    def rest_joints(self, parameters: HeadParameters) -> Tensor:
        """``[F, J, 3]`` joints of F frames at rest: they depend on identity and, in FLAME, on expression."""
        joints = self.identity_joints(parameters.identity).expand(len(parameters), -1, -1)
        if self.joint_expression_basis is not None:
            joints = joints + torch.tensordot(parameters.expression, self.joint_expression_basis, 1)
        return joints

    def head_transforms(self, parameters: HeadParameters) -> Tensor:
        """``[F, 3, 4]`` what moves the skull, rest to world: the rigid pose after that of the neck."""
        return self.joint_transforms(parameters, self.rest_joints(parameters))[:, self.joint("head")]

    def expression_offsets(self, expression: Tensor) -> Tensor:
        """``[F, V, 3]`` offsets of expressions ``[F, E]`` from neutral."""
        flat = expression @ self.expression_basis.reshape(self.num_expression, -1)
        return flat.reshape(len(expression), -1, 3)

    def rest_space_vertices(self, parameters: HeadParameters) -> Tensor:
        """``[F, V, 3]`` vertices under expression and joint rotations, without rigid and torso pose."""
        still = HeadParameters.neutral(len(parameters), 0, 0, 0).to(parameters.expression.device)
        pose = {name: getattr(still, name).to(parameters.expression) for name in ("rotation", "translation")}
        return self(replace(parameters, **pose, torso_rotation=None, torso_translation=None)).vertices

    def forward(self, parameters: HeadParameters) -> PosedHead:
        """Pose the head: blendshapes, then linear blend skinning."""
        identity, expression = parameters.identity, parameters.expression
        canonical = self.identity_vertices(identity) + self.canonical_offsets
        displacements = self.expression_offsets(expression - self.canonical_expression)
        joints = self.rest_joints(parameters)
        if self.pose_correctives is not None:
            eye = torch.eye(3, device=joints.device, dtype=joints.dtype)
            feature = (parameters.joint_rotations[:, 1:] - eye).reshape(len(parameters), -1)
            displacements = displacements + torch.tensordot(feature, self.pose_correctives, 1)
        transforms = self.joint_transforms(parameters, joints)
        vertex_transforms = blend_transforms(self.skinning_weights, transforms)
        return PosedHead(
            vertices=transform_points(vertex_transforms, canonical + displacements),
            canonical_vertices=canonical,
            displacements=displacements,
            vertex_transforms=vertex_transforms,
            joints=transform_points(transforms, joints),
            head_rotation=transforms[:, self.joint("head"), :, :3],
        )

    def joint_transforms(self, parameters: HeadParameters, joints: Tensor) -> Tensor:
        """``[F, J, 3, 4]`` rest to world; joints ``[F, J, 3]`` are at rest.

        Where there is a torso pose, the root follows it and the neck lies halfway between torso and head.
        """
        whole = parameters.rotation, parameters.translation
        transforms = joint_transforms(joints, parameters.joint_rotations, self.parents, *whole)
        if parameters.torso_rotation is None:
            return transforms
        torso = torch.cat([parameters.torso_rotation, parameters.torso_translation[..., None]], -1)
        root, neck, head = self.joint("root"), self.joint("neck"), self.joint("head")
        per_joint = list(transforms.unbind(1))
        per_joint[root] = torso
        if neck != head:
            pivot = torch.lerp(joints[:, neck], joints[:, head], 0.5)
            per_joint[neck] = halfway_transform(torso, transforms[:, head], pivot)
        return torch.stack(per_joint, 1)


def _with_basis(template: Tensor, coefficients: Tensor, basis: Tensor) -> Tensor:
    """``[N, 3]`` a template and coefficients ``[C]`` of its basis ``[C, N, 3]``."""
    added = torch.addmm(template.reshape(1, -1), coefficients[None], basis.flatten(1))
    return added.view_as(template)
