"""Where a landmark detector's points lie on a head model: render the head, detect, look underneath.

Works for every head model and detector, since no correspondence has to be known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from partnerface.errors import UserError
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import MAX_SPREAD_MM, MIRRORED
from partnerface.tracking.detection.head_portraits import PORTRAITS, MeshImage, portraits
from partnerface.tracking.detection.landmark_track import SKIN_LANDMARKS
from partnerface.tracking.detection.landmarks import detect_landmarks

MIN_HITS = 3
UNSEEN_SPREAD_MM = 9.0
REACH_PX = 6
"""The detector puts a lid's edge on the eyeball or the lashes beside it: then the nearest skin counts."""

NEIGHBOURHOOD_M = 0.02
"""Distance from a landmark of the middles of faces that may hold its symmetric place, along each axis."""
SAME_SIDE = 0.3
"""Cosine of the angle between normals of faces on one side of a fold."""

SETTLING_FRAMES = 4
FIND_VIEWS = 2 * PORTRAITS
"""Portraits that `find_landmarks` looks at."""
LEAST_LANDMARKS = 200


@dataclass
class LandmarkEmbedding:
    """As in `HeadModelAsset`.

    Attributes:
        faces: ``[K]`` face under each landmark.
        barycentric: ``[K, 3]``.
        spread: ``[K]`` median distance in mm between the views' hits and the chosen one.
    """

    faces: np.ndarray
    barycentric: np.ndarray
    spread: np.ndarray


def find_landmarks(
    head_model: HeadModel,
    on_view: Callable[[], None] = lambda: None,
    detect: Callable[[np.ndarray], np.ndarray | None] | None = None,
) -> None:
    """Give a head model that has none a landmark embedding, in half a minute.

    Portraits are painted twice: with the landmarks of the first round the second has lips.

    Args:
        head_model: gets the embedding in its asset; one that it has is replaced.
        on_view: called after each of the `FIND_VIEWS` portraits.
        detect: see `embed_landmarks`; MediaPipe by default.

    Raises:
        UserError: too few landmarks were found: it is no head, or not one that looks along +z.
    """

    def counted() -> Iterable[MeshImage]:
        for view in portraits(head_model):
            yield view
            on_view()

    for _ in range(2):
        found = symmetric(head_model, embed_landmarks(head_model, counted(), detect or detect_still))
        if (known := int((found.spread <= MAX_SPREAD_MM).sum())) < LEAST_LANDMARKS:
            raise UserError(
                f"head model {head_model.asset.name} {head_model.asset.version}: only {known} of "
                f"{SKIN_LANDMARKS} landmarks were found on pictures of it, {LEAST_LANDMARKS} are needed; is "
                "it a head with eyes, in the axes of its makers?"
            )
        head_model.asset = replace(
            head_model.asset,
            landmark_faces=found.faces,
            landmark_barycentric=found.barycentric,
            landmark_spread=found.spread,
        )


def detect_still(image: np.ndarray) -> np.ndarray | None:
    """``[468, 2]`` landmarks of a picture in pixels, found as in a video that stands still."""
    track = detect_landmarks((i / 25, image) for i in range(SETTLING_FRAMES))
    return track.landmarks[-1, :SKIN_LANDMARKS, :2] if track.valid[-1] else None


def embed_landmarks(
    head_model: HeadModel,
    views: Iterable[MeshImage],
    detect: Callable[[np.ndarray], np.ndarray | None] = detect_still,
) -> LandmarkEmbedding:
    """Read the surface under every landmark in every view and keep the most central hit on the mean head.

    The first faces of the views' surfaces are the head model's. ``detect`` gives a picture's landmarks
    ``[K, 2]`` in pixels, None where it finds no face.
    """
    skin = head_model.part_faces("skin")
    hits: list[list[tuple[int, Tensor]]] = [[] for _ in range(SKIN_LANDMARKS)]
    beside: list[list[tuple[int, Tensor]]] = [[] for _ in range(SKIN_LANDMARKS)]
    for view in views:
        landmarks = detect(view.image)
        if landmarks is None:
            continue
        seen = view.fragments.faces
        on_skin = ((seen >= 0) & (seen < len(skin))).numpy()
        on_skin &= skin.numpy()[seen.clamp(0, len(skin) - 1).numpy()]
        for k, landmark in enumerate(landmarks):
            if (pixel := _nearest_pixel(on_skin, landmark)) is not None:
                hit = int(seen[pixel]), view.fragments.barycentric[pixel]
                (hits if pixel == _pixel(landmark) else beside)[k].append(hit)
    few = [len(found) < MIN_HITS for found in hits]
    return _most_central(
        head_model, [other if rare else found for found, other, rare in zip(hits, beside, few, strict=True)]
    )


def symmetric(head_model: HeadModel, embedding: LandmarkEmbedding) -> LandmarkEmbedding:
    """Each landmark midway between its own place and the mirrored one of its partner on the other side.

    A detector does not treat both sides of a painted face alike. Heads would come out turned by a degree or
    two, and eyes by more, to the side opposite to that of a mirrored video. The mean head must be its own
    mirror image in ``x = 0``, as all head models are; landmarks whose places are not known stay.
    """
    corners = head_model.template_vertices.double().numpy()[head_model.faces.numpy()]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    skin = np.flatnonzero(head_model.part_faces("skin").numpy())
    partner = np.array(MIRRORED)
    places = (corners[embedding.faces] * embedding.barycentric[..., None]).sum(1)
    middle = (places + places[partner] * (-1, 1, 1)) / 2
    spread = np.maximum(embedding.spread, embedding.spread[partner])
    found = replace(embedding, faces=embedding.faces.copy(), barycentric=embedding.barycentric.copy())
    centres = corners[skin].mean(1)
    for k in np.flatnonzero(spread <= MAX_SPREAD_MM):
        # Of upper and lower lip, which touch, the one that faces the same way.
        alike = normals[skin] @ normals[embedding.faces[k]] > SAME_SIDE
        near = skin[alike & (np.abs(centres - middle[k]).max(1) < NEIGHBOURHOOD_M)]
        shares = _barycentric(corners[near], middle[k])
        distance = np.linalg.norm((corners[near] * shares[..., None]).sum(1) - middle[k], axis=1)
        nearest = int(distance.argmin())
        found.faces[k], found.barycentric[k] = near[nearest], shares[nearest]
    return found


def _barycentric(corners: np.ndarray, point: np.ndarray) -> np.ndarray:
    """``[N, 3]`` barycentric coordinates of a point ``[3]`` laid onto triangles ``[N, 3, 3]``."""
    edges = corners[:, 1:] - corners[:, :1]
    gram = edges @ edges.transpose(0, 2, 1)
    ahead = (edges @ (point - corners[:, 0])[..., None])[..., 0]
    second, third = (np.linalg.pinv(gram) @ ahead[..., None])[..., 0].T
    shares = np.stack([1 - second - third, second, third], 1).clip(0)
    return shares / shares.sum(1, keepdims=True)


def _pixel(place: np.ndarray) -> tuple[int, int]:
    """Row and column of the pixel at ``place`` (x, y)."""
    column, row = np.floor(place).astype(int)
    return int(row), int(column)


def _nearest_pixel(mask: np.ndarray, place: np.ndarray) -> tuple[int, int] | None:
    """Row and column of the pixel of a mask nearest to ``place`` (x, y), None beyond `REACH_PX`."""
    row, column = _pixel(place)
    top, left = max(row - REACH_PX, 0), max(column - REACH_PX, 0)
    window = mask[top : max(row + REACH_PX + 1, 0), left : max(column + REACH_PX + 1, 0)]
    rows, columns = np.nonzero(window)
    distance = np.hypot(rows + top + 0.5 - place[1], columns + left + 0.5 - place[0])
    if not len(distance) or (distance > REACH_PX).all():
        return None
    nearest = int(distance.argmin())
    return int(rows[nearest] + top), int(columns[nearest] + left)


def _most_central(head_model: HeadModel, hits: list[list[tuple[int, Tensor]]]) -> LandmarkEmbedding:
    faces = np.zeros(len(hits), np.int32)
    barycentric = np.zeros((len(hits), 3), np.float32)
    spread = np.full(len(hits), UNSEEN_SPREAD_MM, np.float32)
    for k, found in enumerate(hits):
        if len(found) < MIN_HITS:
            barycentric[k, 0] = 1
            continue
        index = torch.tensor([face for face, _ in found])
        share = torch.stack([place for _, place in found])
        corners = head_model.template_vertices[head_model.faces[index]]
        points = (corners * share[..., None]).sum(1)
        distance = (points - points.median(0).values).norm(dim=1)
        centre = int(distance.argmin())
        faces[k], barycentric[k] = int(index[centre]), share[centre].numpy()
        spread[k] = float(distance.median()) * 1e3
    return LandmarkEmbedding(faces, barycentric, spread)
