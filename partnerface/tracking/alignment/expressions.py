"""Expression alignment: actions with which lips and brows show one texture in every frame.

Landmarks place lips and brows to a pixel or two, each with a bias of its own; the skin there has texture to
a fraction of that. As in the pose alignment, each round averages the texture of the face over the clip and
moves every frame's expression towards it (Gauss-Newton on Lucas and Kanade 1981, over blendshapes). Lids keep
the actions of the landmark fit: their skin is folded away as they open, so that its average is the texture of
other skin, and drew lids away from where pictures show them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.head_parts import head_parts
from partnerface.meshes.normals import SurfacePoints, spread_points, thin_points, vertex_normals
from partnerface.tracking.alignment.face_texture import (
    average_texture,
    contrast_images,
    texture_residuals,
    texture_sums,
    with_gradient,
)
from partnerface.tracking.alignment.pose_step import SAMPLES_PER_INDEPENDENT, place_gradient
from partnerface.tracking.fit.variables import expression_unit, eye_expressions, fitted_expressions

EXPRESSION_CHUNK = 10
ELSEWHERE = ("scalp", "ears", "neck", "torso")


@dataclass(frozen=True)
class ExpressionSettings:
    """How far and how often expressions are moved.

    Attributes:
        rounds: averages of the texture, a Gauss-Newton step after each.
        spacing_m: distance between the surface points.
        sigma: standard deviation of an expression's correction, as a share of its greatest coefficient.
        smooth_seconds: standard deviation of the filter over time that corrections pass through.
    """

    rounds: int = 6
    spacing_m: float = 0.003
    sigma: float = 0.1
    smooth_seconds: float = 0.04


@torch.no_grad()
def align_expressions(
    luminance: Tensor,
    camera: Camera,
    head: HeadParameters,
    frame_weights: Tensor,
    times: Tensor,
    head_model: HeadModel,
    settings: ExpressionSettings | None = None,
    on_round: Callable[[int], None] | None = None,
) -> HeadParameters:
    """Correct the expression of every tracked frame.

    Args:
        luminance: ``[T, H, W]`` uint8.
        camera: ``T`` cameras at the size of these images.
        head: ``T`` fitted head parameters, their poses aligned.
        frame_weights: ``[T]``; frames of weight 0 keep their expression.
        times: ``[T]`` seconds within which motion is smooth, increasing.
        head_model: the fitted head model.
        settings: see `ExpressionSettings`.
        on_round: called with the number of each finished round.
    """
    settings = settings or ExpressionSettings()
    face = _MovingFace.of(head_model, head.identity, settings.spacing_m)
    chunks = [
        _ExpressionChunk(
            contrast=contrast_images(luminance[frames]),
            camera=camera.select(frames),
            rotation=head.rotation[frames],
            translation=head.translation[frames],
            weights=frame_weights[frames],
            turned=face.turned_by_joints(head_model, head.select(frames)),
            first_expression=head.expression[frames],
            expression=head.expression[frames],
        )
        for frames in torch.arange(len(head)).split(EXPRESSION_CHUNK)
    ]
    low, high = (float(x) for x in head_model.asset.expression_range)
    settings = replace(settings, sigma=settings.sigma * expression_unit(head_model))
    for number in range(settings.rounds):
        texture, seen_often = average_texture([chunk.texture(face) for chunk in chunks], frame_weights)
        moved = torch.cat([chunk.step_towards(texture, seen_often, face, settings) for chunk in chunks])
        # Without the clip's mean correction: the texture, learned with it, cannot see it and drifts.
        moved = moved - frame_weights @ moved / frame_weights.sum().clamp_min(1e-6)
        moved = _smoothed(moved, frame_weights, times, settings.smooth_seconds)
        expression = (head.expression + moved * frame_weights[:, None]).clamp(low, high)
        for chunk, values in zip(chunks, expression.split(EXPRESSION_CHUNK), strict=True):
            chunk.expression = values
        if on_round is not None:
            on_round(number + 1)
    return replace(head, expression=torch.cat([chunk.expression for chunk in chunks]))


@dataclass
class _MovingFace:
    """Points of the skin of the face, lips and lids too.

    Attributes:
        neutral: ``[Q, 3]`` in the head's rest space.
        basis: ``[E, Q, 3]`` how actions move them; zero for actions that are not fitted.
        corrected: ``[E]`` 1 for actions that the alignment corrects, 0 for others, such as those of lids.
        normals: ``[Q, 3]`` of the neutral face.
        points: where they lie on the mesh.
    """

    neutral: Tensor
    basis: Tensor
    corrected: Tensor
    normals: Tensor
    points: SurfacePoints

    @classmethod
    def of(cls, head_model: HeadModel, identity: Tensor, spacing: float) -> _MovingFace:
        weights = head_parts(head_model, identity).weights
        elsewhere = torch.stack([weights[name] for name in ELSEWHERE]).amax(0)
        on_face = (elsewhere < 0.3) & (head_model.head_weights() > 0.99)
        skin = head_model.faces[head_model.part_faces("skin")]
        vertices = head_model.identity_vertices(identity)
        points = spread_points(vertices, skin[on_face[skin].all(1)], spacing)
        points = thin_points(points, vertices, spacing)
        basis = torch.stack([points.of(action) for action in head_model.expression_basis])
        normals = functional.normalize(points.of(vertex_normals(vertices, skin)), dim=-1)
        fitted = fitted_expressions(head_model)
        corrected = fitted * ~eye_expressions(head_model)
        return cls(points.of(vertices), basis * fitted[:, None, None], corrected, normals, points)

    def turned_by_joints(self, head_model: HeadModel, head: HeadParameters) -> Tensor | None:
        """``[T, Q, 3]`` what the joints add to T expressions; None where none but the eyes' moves skin."""
        if head_model.jaw_joint is None:
            return None
        identity = head_model.identity_vertices(head.identity)
        moved = head_model.rest_space_vertices(head) - head_model.expression_offsets(head.expression)
        return torch.stack([self.points.of(frame - identity) for frame in moved])

    def under(self, expression: Tensor, turned: Tensor | None) -> tuple[Tensor, Tensor]:
        """Points and normals ``[T, Q, 3]`` under expressions ``[T, E]``; see `turned_by_joints`."""
        places = self.neutral + torch.tensordot(expression, self.basis, 1)
        if turned is not None:
            places = places + turned
        return places, self.normals.expand_as(places)


@dataclass
class _ExpressionChunk:
    """Some frames of the clip: Jacobians of all at once would not fit in memory.

    Attributes:
        contrast: ``[T, H, W]`` int8.
        camera: their cameras.
        rotation, translation: head to world.
        weights: ``[T]``.
        turned: see `_MovingFace.turned_by_joints`.
        first_expression: ``[T, E]`` of the landmark fit.
        expression: ``[T, E]`` now.
    """

    contrast: Tensor
    camera: Camera
    rotation: Tensor
    translation: Tensor
    weights: Tensor
    turned: Tensor | None
    first_expression: Tensor
    expression: Tensor

    def texture(self, face: _MovingFace) -> tuple[Tensor, Tensor]:
        pose = self.rotation, self.translation
        return texture_sums(
            self.contrast, self.camera, *face.under(self.expression, self.turned), *pose, self.weights
        )

    def step_towards(
        self, texture: Tensor, seen_often: Tensor, face: _MovingFace, settings: ExpressionSettings
    ) -> Tensor:
        """Corrections ``[T, E]`` of the first expression after one damped Gauss-Newton step."""
        skin = texture_residuals(
            with_gradient(self.contrast),
            self.camera,
            *face.under(self.expression, self.turned),
            self.rotation,
            self.translation,
            texture,
            seen_often,
        )
        by_place = place_gradient(self.camera, skin.gradient, skin.world) @ self.rotation
        basis = face.basis * face.corrected[:, None, None]
        normal, slope = skin.equations(torch.einsum("tqc,eqc->tqe", by_place, basis))
        precision = SAMPLES_PER_INDEPENDENT / settings.sigma**2
        so_far = self.expression - self.first_expression
        prior = precision * torch.eye(len(face.basis))
        return so_far - torch.linalg.solve(normal + prior, slope + precision * so_far)


def _smoothed(moved: Tensor, frame_weights: Tensor, times: Tensor, sigma: float) -> Tensor:
    """Rows ``[T, E]`` through a Gaussian over time that skips frames of weight 0.

    Args:
        moved: the rows.
        frame_weights: ``[T]``.
        times: ``[T]`` seconds, increasing.
        sigma: standard deviation, seconds.
    """
    weights = frame_weights[:, None]
    total, share, apart = moved * weights, weights.clone(), 0
    while (apart := apart + 1) < len(times):
        kernel = torch.exp(-0.5 * ((times[apart:] - times[:-apart]) / sigma).square())[:, None].to(moved)
        if kernel.max() < 3e-4:
            break
        for here, there in ((slice(apart, None), slice(-apart)), (slice(-apart), slice(apart, None))):
            total[here] += kernel * weights[there] * moved[there]
            share[here] += kernel * weights[there]
    return total / share.clamp_min(1e-6)
