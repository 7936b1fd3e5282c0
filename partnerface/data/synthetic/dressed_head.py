"""DressedHead: the head model with hair, shirt, sleeves and fine motion; hair cap and shirt as functions."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor
from torch.nn import functional

from partnerface.data.synthetic.face_coordinates import face_coordinates, smooth_step, value_noise
from partnerface.data.synthetic.fine_face import FineFace
from partnerface.data.synthetic.fine_motion import ExpressionDrive, bulge_heights
from partnerface.data.synthetic.refined_surface import RefinedSurface
from partnerface.data.synthetic.subject import HairStyle, SyntheticSubject
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.linear_blend_skinning import transform_points
from partnerface.meshes.normals import vertex_normals

EAR_CENTRE = (-0.012, -0.085)
EAR_RADII = (0.042, 0.022)


def hair_coverage(points: Tensor, style: HairStyle, softness: float = 0.004) -> Tensor:
    """How much hair grows on the skin at face coordinates ``[..., 3]``: ``[...]`` in [0, 1].

    ``softness`` is half the width of the hair line in metres.
    """
    x, y, z = points.unbind(-1)
    line = (
        style.hairline - style.recession * (x.abs() - 0.035).clamp_min(0) - 0.9 * (-0.03 - z).clamp(0, 0.05)
    )
    crown = smooth_step(-softness, softness, y - line) * (y > 0)
    temple = smooth_step(-softness, softness, y - 0.017 + 0.1 * (z + 0.06))
    temple = temple * smooth_step(softness, -softness, z + 0.030)
    sideburn = smooth_step(-softness, softness, y - style.sideburn_end)
    sideburn = sideburn * smooth_step(softness, -softness, z + 0.046 + 0.25 * (0.02 - y).clamp_min(0))
    back = smooth_step(-softness, softness, y - style.nape_end) * smooth_step(softness, -softness, z + 0.080)
    coverage = torch.stack([crown, temple, sideburn, back]).amax(0)
    # The face itself and the ears stay free.
    ear = ((z - EAR_CENTRE[1]) / EAR_RADII[1]) ** 2 + ((y - EAR_CENTRE[0]) / EAR_RADII[0]) ** 2
    return coverage * smooth_step(1.0, 1.35, ear) * ((z < 0.02) | (y > 0.045))


def hair_thickness(points: Tensor, style: HairStyle) -> Tensor:
    """``[...]`` metres of hair above the skin at face coordinates ``[..., 3]``; thin at its edge."""
    lumps = 0.5 + 0.5 * value_noise(points * 60, 1)
    coverage = hair_coverage(points - torch.tensor([0.0, 0.004, 0.0]), style, softness=0.010)
    return coverage * (style.volume + style.lumpiness * lumps)


def hair_strands(points: Tensor) -> Tensor:
    """Brightness of the strands at face coordinates ``[..., 3]``: ``[...]`` in [-1, 1].

    Strands run down from the crown, so noise is stretched along the direction away from it.
    """
    x, y, z = points.unbind(-1)
    angle = torch.atan2(x, z + 0.07)
    locks = value_noise(torch.stack([angle * 40, y * 45, z * 25], -1), 9)
    strands = value_noise(torch.stack([angle * 130, y * 80, z * 60], -1), 10)
    return 0.5 * locks + 0.5 * strands


CLOTH_THICKNESS = 0.006
STRIPE_PERIOD = 0.0285


def shirt_coverage(points: Tensor) -> Tensor:
    """How far face coordinates ``[..., 3]`` lie inside the shirt: ``[...]`` in [0, 1]."""
    x, y, z = points.unbind(-1)
    collar = 0.165 - 0.25 * (-0.05 - z).clamp(-0.02, 0.1) - 0.35 * (x.abs() - 0.05).clamp_min(0)
    return smooth_step(0.004, -0.004, y + collar)


def shirt_thickness(points: Tensor) -> Tensor:
    """``[...]`` metres of cloth above the skin, with folds."""
    return shirt_coverage(points) * (CLOTH_THICKNESS + 0.0015 * value_noise(points * 40, 2))


def shirt_albedo(points: Tensor, subject: SyntheticSubject) -> Tensor:
    """``[N, 3]`` albedo of cloth and stripes at face coordinates ``[N, 3]``."""
    phase = torch.cos(2 * math.pi * points[:, 1] / STRIPE_PERIOD)
    stripe = smooth_step(0.62, 0.82, phase)[:, None]
    cloth = torch.tensor(subject.shirt) * (1 - stripe) + torch.tensor(subject.stripe) * stripe
    wear = 1 + 0.10 * value_noise(points * 70, 11) + 0.04 * value_noise(points * 700, 13)
    return cloth * wear[:, None]


SLEEVE_LENGTH = 0.25
SLEEVE_SPREAD = 0.40
LASH_SHORTENING = 0.65
LID_RADIUS = 0.0015
REFINEMENT = 2
"""Levels of subdivision of a face that folds: edges of 4 mm become 1 mm, a sixth of a crease's period."""


class DressedHead:
    """One subject's surface: V vertices of the head model, then S of the sleeves.

    The sleeves continue the cut edge of the bust out of the picture.

    Attributes:
        faces: ``[Fc + Fs, 3]``; the first Fc are the head model's.
        face_points: ``[V + S, 3]`` face coordinates.
        head_weights: ``[V + S]`` share of head, jaw and eyes in the skinning weights.
        torso_weights: ``[V + S]`` share of the root.
        growth: ``[V, 3]`` rest-space offsets of hair, shirt and lashes, the same in every frame.
        sway_weights: ``[V]`` share in [0, 1] of the hair's sway.
        folds: the folds of the face at the head model's vertices, None for a subject whose face has none.
        refined: the surface with its faces divided, on which folds are drawn; None like them.
        refined_folds: the folds at its vertices.
    """

    def __init__(self, head_model: HeadModel, subject: SyntheticSubject, coupling: float = 0.0) -> None:
        """Dress.

        Args:
            head_model: supplies the surface.
            subject: supplies hair, clothes and whether the face folds.
            coupling: how much the regions of a face that folds pull at each other, from 0 to 1.
        """
        self.head_model = head_model
        points = face_coordinates(head_model)
        skin = torch.zeros(len(points))
        skin[head_model.faces[head_model.part_faces("skin")]] = 1.0
        neutral = head_model.identity_vertices(subject.identity(head_model.num_identity))
        self._normals = vertex_normals(neutral, head_model.faces) * skin[:, None]
        thickness = hair_thickness(points, subject.hair_style) + shirt_thickness(points)
        self.growth = self._normals * thickness[:, None] + _shorter_lashes(head_model, neutral)
        hair = hair_coverage(points, subject.hair_style) * skin
        self.sway_weights = hair * smooth_step(0.0, 0.08, points[:, 1])
        self._points = points
        self._edge, self._edge_offsets, sleeve_faces = _sleeves(head_model, points)
        self.faces = torch.cat([head_model.faces, sleeve_faces])
        self.face_points = torch.cat([points, points[self._edge] + self._edge_offsets])
        weights = head_model.skinning_weights
        torso, neck = weights[:, head_model.joint("root")], weights[:, head_model.joint("neck")]
        self.head_weights = torch.cat([1 - torso - neck, torch.zeros(len(self._edge))])
        self.torso_weights = torch.cat([torso, torch.ones(len(self._edge))])
        self.folds: FineFace | None = None
        self.refined: RefinedSurface | None = None
        if subject.folds:
            # Lashes move with the lids.
            root = _nearest_skin(head_model, neutral, "lashes")
            points, normals = points[root], self._normals[root]
            self.folds = FineFace(head_model, points, normals, coupling)
            self.refined = RefinedSurface(self.faces, len(self.face_points), REFINEMENT)
            points = self.refined.of(torch.cat([points, self.face_points[len(points) :]]))
            normals = self.refined.of(torch.cat([normals, torch.zeros(len(self._edge), 3)]))
            normals = functional.normalize(normals, dim=1)
            self.refined_folds = FineFace(head_model, points, normals, coupling)

    def face_offsets(self, expression: Tensor) -> Tensor:
        """``[V, 3]`` rest-space offsets of the face, metres, at the expression ``[E]`` of one frame."""
        if self.folds is not None:
            return self.folds.offsets(expression)
        drive = ExpressionDrive.from_expression(expression, self.head_model)
        return self._normals * bulge_heights(self._points, drive)[:, None]

    def fine_offsets(self, expression: Tensor, sway: Tensor) -> Tensor:
        """``[V, 3]`` rest-space offsets that do not follow from the head parameters of a frame.

        They follow from its expression ``[E]`` and the sway of the hair ``[3]``, metres.
        """
        return self.face_offsets(expression) + self.sway_weights[:, None] * sway

    def vertices(self, head: HeadParameters, sway: Tensor, fine_motion: bool = True) -> Tensor:
        """``[V + S, 3]`` world vertices of one frame; the face's fine motion may be left out."""
        expression = head.expression[0] if fine_motion else torch.zeros_like(head.expression[0])
        return self._pose(head, self.fine_offsets(expression, sway))[0]

    def folded_vertices(
        self, head: HeadParameters, sway: Tensor, fine_motion: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The refined surface, R vertices, of a subject whose face folds.

        Returns:
            World vertices ``[R, 3]`` of one frame without folds, the same with folds (unless ``fine_motion``
            is False), and the share of light ``[R]`` that creases leave.
        """
        assert self.refined is not None
        vertices, transforms = self._pose(head, self.sway_weights[:, None] * sway)
        smooth = self.refined.of(vertices)
        expression = head.expression[0] if fine_motion else torch.zeros_like(head.expression[0])
        turn = self.refined.of(transforms[:, :3, :3])
        folds = (turn @ self.refined_folds.offsets(expression)[..., None])[..., 0]
        return smooth, smooth + folds, self.refined_folds.light(expression)

    def _pose(self, head: HeadParameters, fine: Tensor) -> tuple[Tensor, Tensor]:
        """World vertices ``[V + S, 3]`` with rest-space offsets ``[V, 3]``; transforms ``[V + S, 4, 4]``."""
        posed = self.head_model(head)
        rest = posed.canonical_vertices + posed.displacements[0] + (self.growth + fine)
        sleeves = rest[self._edge] + self._edge_offsets
        transforms = torch.cat([posed.vertex_transforms[0], posed.vertex_transforms[0][self._edge]])
        return transform_points(transforms, torch.cat([rest, sleeves])), transforms

    def reach(self, expression: Tensor, sway: Tensor) -> Tensor:
        """``[V]`` metres from the tracked surface to the dressed one in one frame."""
        return (self.growth + self.fine_offsets(expression, sway)).norm(dim=1)


def _shorter_lashes(head_model: HeadModel, neutral: Tensor) -> Tensor:
    """``[V, 3]`` offsets that pull the lashes towards the lids: the head model's are broad bands."""
    offsets = torch.zeros_like(neutral)
    lashes = head_model.faces[head_model.part_faces("lashes")].unique()
    skin = head_model.faces[head_model.part_faces("skin")].unique()
    if len(lashes):
        distance = torch.cdist(neutral[lashes], neutral[skin])
        # A soft nearest place keeps the band's edge smooth between the vertices of the lid.
        lid = torch.softmax(-0.5 * (distance / LID_RADIUS) ** 2, 1) @ neutral[skin]
        offsets[lashes] = LASH_SHORTENING * (lid - neutral[lashes])
    return offsets


def _nearest_skin(head_model: HeadModel, neutral: Tensor, part: str) -> Tensor:
    """``[V]`` for the vertices of a part the nearest of the skin, for all others themselves."""
    nearest = torch.arange(len(neutral))
    some, skin = (head_model.faces[head_model.part_faces(name)].unique() for name in (part, "skin"))
    if len(some):
        nearest[some] = skin[torch.cdist(neutral[some], neutral[skin]).argmin(1)]
    return nearest


def _sleeves(head_model: HeadModel, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Extrude the cut edge of the bust.

    Returns:
        edge vertices ``[S]``, their offsets ``[S, 3]`` and faces ``[Fs, 3]`` that number the new
        vertices from V on.
    """
    faces = head_model.faces[head_model.part_faces("skin")]
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    uses = Counter(frozenset(edge) for edge in directed)
    shoulders = points[:, 1] < -0.15
    open_edges = [
        (a, b) for a, b in directed if uses[frozenset((a, b))] == 1 and shoulders[a] and shoulders[b]
    ]
    edge = sorted({vertex for pair in open_edges for vertex in pair})
    new = {vertex: len(points) + i for i, vertex in enumerate(edge)}
    sleeve_faces = [face for a, b in open_edges for face in ((b, a, new[a]), (b, new[a], new[b]))]
    index = torch.tensor(edge, dtype=torch.long)
    direction = torch.stack(
        [
            SLEEVE_SPREAD * (points[index, 0] / 0.19).clamp(-1, 1),
            -torch.ones(len(edge)),
            torch.zeros(len(edge)),
        ],
        -1,
    )
    offsets = SLEEVE_LENGTH * functional.normalize(direction, dim=1)
    return index, offsets, torch.tensor(sleeve_faces, dtype=torch.long).reshape(-1, 3)
