"""What every head model must hold.

Inherit `HeadModelContract` in a class named ``Test...`` and override its fixture ``head_model`` to return
your `HeadModel` in float64; run pytest on the file. Nothing else of this checkout's tests is needed.
"""

from __future__ import annotations

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset
from partnerface.head_models.head_parameters import HeadParameters


def random_parameters(model: HeadModel, frames: int, seed: int = 0) -> HeadParameters:
    """Parameters in float64 with everything turned, moved and deformed."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    low, high = model.asset.expression_range
    spread = torch.rand(frames, model.num_expression, generator=generator, dtype=torch.float64)
    return HeadParameters(
        identity=normal(model.num_identity),
        expression=float(low) + (float(high) - float(low)) * spread,
        joint_rotations=axis_angle_to_matrix(0.3 * normal(frames, model.num_joints, 3)),
        rotation=axis_angle_to_matrix(normal(frames, 3)),
        translation=normal(frames, 3),
    )


def brute_force_vertices(model: HeadModel, head: HeadParameters, frame: int, vertices: list[int]) -> Tensor:
    """Blendshapes and skinning of single vertices, joint by joint, with 4 x 4 matrices."""
    expression = head.expression[frame]
    joints = model.template_joints.clone()
    for i, weight in enumerate(head.identity):
        joints = joints + weight * model.joint_identity_basis[i]
    if model.joint_expression_basis is not None:
        for e, weight in enumerate(expression):
            joints = joints + weight * model.joint_expression_basis[e]
    world = torch.eye(4, dtype=torch.float64)
    world[:3, :3], world[:3, 3] = head.rotation[frame], head.translation[frame]
    chain: list[Tensor] = []
    for j, parent in enumerate(model.parents):
        about = torch.eye(4, dtype=torch.float64)
        turn = head.joint_rotations[frame, j]
        about[:3, :3], about[:3, 3] = turn, joints[j] - turn @ joints[j]
        chain.append(about if parent < 0 else chain[parent] @ about)
    result = []
    for v in vertices:
        rest = model.template_vertices[v].clone()
        for i, weight in enumerate(head.identity):
            rest += weight * model.identity_basis[i, v]
        for e, weight in enumerate(expression):
            rest += weight * model.expression_basis[e, v]
        if model.pose_correctives is not None:
            feature = [r for turn in head.joint_rotations[frame, 1:] for r in (turn - torch.eye(3)).flatten()]
            for k, weight in enumerate(feature):
                rest += weight * model.pose_correctives[k, v]
        point = torch.cat([rest, rest.new_ones(1)])
        blended = sum(model.skinning_weights[v, j] * (world @ chain[j] @ point) for j in range(len(chain)))
        result.append(blended[:3])
    return torch.stack(result)


class HeadModelContract:
    """Override ``head_model``."""

    @pytest.fixture
    def head_model(self) -> HeadModel:
        """The head model in float64."""
        raise NotImplementedError("override the fixture head_model")

    def test_skinning_weights_are_convex(self, head_model):
        assert head_model.skinning_weights.min() >= 0
        sums = head_model.skinning_weights.sum(1)
        torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-6, rtol=0)

    def test_neutral_parameters_give_the_identity(self, head_model):
        head = head_model.neutral_parameters(2).to(torch.float64)
        head.identity = random_parameters(head_model, 1).identity
        posed = head_model(head)
        expected = head_model.identity_vertices(head.identity).expand(2, -1, -1)
        torch.testing.assert_close(posed.vertices, expected, atol=1e-7, rtol=0)

    def test_agrees_with_brute_force(self, head_model):
        head = random_parameters(head_model, 2)
        count = len(head_model.template_vertices)
        vertices = torch.linspace(0, count - 1, 25).long().tolist()
        posed = head_model(head)
        for frame in range(2):
            expected = brute_force_vertices(head_model, head, frame, vertices)
            torch.testing.assert_close(posed.vertices[frame, vertices], expected, atol=1e-6, rtol=0)

    def test_transforms_and_displacements_explain_the_vertices(self, head_model):
        """What inverse skinning relies on."""
        posed = head_model(random_parameters(head_model, 2))
        rest = posed.canonical_vertices + posed.displacements
        one = torch.cat([rest, torch.ones_like(rest[..., :1])], -1)
        vertices = torch.einsum("fvij,fvj->fvi", posed.vertex_transforms, one)
        torch.testing.assert_close(posed.vertices, vertices, atol=1e-9, rtol=0)

    @pytest.mark.parametrize("with_torso", [False, True])
    def test_rigid_equivariance(self, head_model, with_torso):
        head = random_parameters(head_model, 2)
        if with_torso:
            head.torso_rotation = axis_angle_to_matrix(torch.full((2, 3), 0.2, dtype=torch.float64))
            head.torso_translation = torch.full((2, 3), 0.1, dtype=torch.float64)
        turn = axis_angle_to_matrix(torch.tensor([0.4, -1.1, 0.7], dtype=torch.float64))
        shift = torch.tensor([0.3, -0.2, 1.5], dtype=torch.float64)
        before = head_model(head)
        head.rotation, head.translation = turn @ head.rotation, head.translation @ turn.T + shift
        if with_torso:
            head.torso_rotation = turn @ head.torso_rotation
            head.torso_translation = head.torso_translation @ turn.T + shift
        after = head_model(head)
        torch.testing.assert_close(after.vertices, before.vertices @ turn.T + shift, atol=1e-6, rtol=0)
        torch.testing.assert_close(after.joints, before.joints @ turn.T + shift, atol=1e-6, rtol=0)
        torch.testing.assert_close(after.head_rotation, turn @ before.head_rotation, atol=1e-9, rtol=0)

    @pytest.mark.parametrize("with_torso", [False, True])
    def test_gradients_at_rest_are_finite(self, head_model, with_torso):
        """Where rotations are the identity, and torso and head agree."""
        head = head_model.neutral_parameters(1).to(torch.float64)
        if with_torso:
            head.torso_rotation, head.torso_translation = head.rotation.clone(), head.translation.clone()
        leaves = [
            value.requires_grad_()
            for value in vars(head).values()
            if value is not None and not value.requires_grad
        ]
        generator = torch.Generator().manual_seed(0)
        posed = head_model(head).vertices
        pull = torch.randn(posed.shape, generator=generator, dtype=torch.float64)
        (posed * pull).sum().backward()
        for leaf in leaves:
            assert torch.isfinite(leaf.grad).all()
            assert leaf.grad.abs().max() > 0

    def test_a_written_asset_poses_alike(self, head_model, tmp_path):
        """What was written and read again is the same head, and says so by its checksum."""
        head_model.asset.save(tmp_path / "head.npz")
        read = HeadModel(HeadModelAsset.load(tmp_path / "head.npz")).double()
        assert read.asset.checksum() == head_model.asset.checksum()
        head = random_parameters(head_model, 1)
        torch.testing.assert_close(read(head).vertices, head_model(head).vertices, atol=1e-6, rtol=0)

    def test_torso_pose_holds_the_root(self, head_model):
        """Vertices that ride on the root alone stay when the head turns."""
        weights = head_model.skinning_weights
        root = weights[:, head_model.joint("root")] > 0.999
        assert root.any()
        head = head_model.neutral_parameters(3).to(torch.float64)
        eye, zero = head.rotation.clone(), head.translation.clone()
        head.rotation = axis_angle_to_matrix(
            torch.tensor([[0.0, 0.7, 0], [0.3, -0.5, 0.2], [0, 0, 0.4]]).double()
        )
        head.translation = torch.tensor([[0.02, 0, 0], [0, -0.01, 0.03], [0, 0, 0]]).double()
        head.torso_rotation, head.torso_translation = eye, zero
        posed = head_model(head).vertices
        still = head_model.template_vertices.expand(3, -1, -1)
        # Skinning weights are rounded to halves in the file.
        torch.testing.assert_close(posed[:, root], still[:, root], atol=3e-4, rtol=0)
        skull = weights[:, head_model.joint("head")] > 0.999
        turned = still @ head.rotation.transpose(1, 2) + head.translation[:, None]
        torch.testing.assert_close(posed[:, skull], turned[:, skull], atol=3e-4, rtol=0)
        assert (turned[:, root] - still[:, root]).norm(dim=-1).max() > 0.01
