"""Re-tracking: faces found again in renderings, compared with those found in the frames themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partnerface.compute.process_settings import without_native_chatter
from partnerface.data.completion.matting import to_mediapipe_image
from partnerface.errors import UserError
from partnerface.evaluation.combinations import expression_groups
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.landmark_geometry import LID_PAIRS, LIP_PAIRS
from partnerface.head_models.rotations import rotation_vectors
from partnerface.tracking.detection.landmark_track import LANDMARKS, LandmarkTrack
from partnerface.tracking.detection.landmarks import face_landmarker, landmark_pixels
from partnerface.tracking.fit.head_fit import FitSettings, PictureGeometry
from partnerface.tracking.fit.problem import FOCAL_IMAGE_SIDES, fit_head

LEAST_SIDE = 96
"""Pixels below which the detector's lids are of no use."""
LEAST_MOTION_M = 0.001
BLINK = 0.6
"""Share of the median lid aperture of the target below which a frame counts as a blink."""
LEAST_FRAMES = 3
"""Frames with faces below which nothing is fitted, compared or correlated."""

STILLS = FitSettings(pose_steps=80, steps=200, smoothness=0.0)
"""The pictures of a test are not one video: no motion between them is smooth."""

RETRACKING_DEFINITION = (
    "a face landmark detector (MediaPipe, each picture on its own) finds the face in the target, the "
    "rendering and the nearest training frame; one fit of the head model to the landmarks of all of "
    "them, with one identity, gives expression, gaze and pose of each. found_share is the share of the "
    "frames with a face in the target in which the picture has one too. Differences to the target, means "
    "over the frames with a face in all three, no values where those are fewer than "
    f"{LEAST_FRAMES}: face: expression (AED: mean absolute difference of coefficients; "
    "by region those of its actions), expression_mm (RMS over the vertices that expressions move), "
    "rotation_degrees and translation_mm (APD); eyes: lid_aperture_mm (mean of three lid distances of "
    "each eye, at the eyes' depth), lid_correlation (over the frames of the split), blink_lid_share (in "
    f"frames in which the target's aperture is below {BLINK:g} of its median over all test frames, as a "
    "share of the eye's width), gaze_degrees (outside of blinks); mouth: opening_mm, "
    "opening_correlation. tracked_head is the tracked head in place of a rendering: of an embedded "
    "subject the truth, so that its errors are the detector's own"
)

RetrackedScores = dict[str, dict[str, dict[str, dict[str, float | None]]]]
"""By split, then ``avatar``, ``nearest_frame`` or ``tracked_head``, region and value."""


@dataclass
class RetrackedError:
    """How far expressions that are tracked in an avatar's video are from those that drove it.

    Attributes:
        millimetres: RMS over frames and the vertices that expressions move.
        coefficients: RMS over frames and coefficients.
    """

    millimetres: float
    coefficients: float


def expression_error(found: Tensor, true: Tensor, head_model: HeadModel) -> RetrackedError:
    """Difference of expressions ``[T, E]`` and true ones, both without their mean over the frames."""
    difference = (found - found.mean(0)) - (true - true.mean(0))
    return RetrackedError(_moved_mm(difference, head_model), float(difference.square().mean().sqrt()))


def _moved_mm(difference: Tensor, head_model: HeadModel) -> float:
    """RMS in mm over frames and moving vertices of differences of expressions ``[T, E]``."""
    basis = head_model.expression_basis.cpu()
    basis = basis[:, basis.norm(dim=-1).amax(0) > LEAST_MOTION_M]
    squared = [(frame @ basis.flatten(1)).square().mean() * 3 for frame in difference]
    return 1000 * float(torch.stack(squared).mean().sqrt())


class FaceFinder:
    """Finds the landmarks of single pictures; used in a ``with`` block.

    Raises:
        UserError: MediaPipe or its model file is missing.
    """

    def __init__(self) -> None:
        with without_native_chatter(), ExitStack() as opened:
            self._landmarker = opened.enter_context(face_landmarker(video_mode=False))
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Release the detector."""
        self._opened.close()

    def __call__(self, picture: Tensor) -> np.ndarray:
        """``[478, 3]`` landmarks in pixels of a picture ``[3, H, W]`` in [0, 1]; NaN without a face."""
        image = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        with without_native_chatter():
            found = self._landmarker.detect(to_mediapipe_image(image)).face_landmarks
        if not found:
            return np.full((LANDMARKS, 3), np.nan, np.float32)
        return landmark_pixels(found[0], image.shape[1], image.shape[0])


@dataclass
class FoundFaces:
    """Landmarks ``[478, 3]`` in pixels, NaN without a face, in three pictures of a test frame.

    Attributes:
        frame: number of the frame.
        splits: the test splits that hold it.
        pixels: ``[3, 478, 3]`` of the target, of the rendering, of the nearest training frame.
        head_pixels: ``[478, 2]`` where the tracked head has them; NaN for those that it does not know.
    """

    frame: int
    splits: list[str]
    pixels: np.ndarray
    head_pixels: np.ndarray


def retracked_scores(
    faces: Sequence[FoundFaces],
    splits: Iterable[str],
    head_model: HeadModel,
    focal: float,
    centre: tuple[float, float],
    size: tuple[int, int],
    on_step: Callable[[int, int], None] | None = None,
) -> RetrackedScores:
    """Compare what was found in renderings with what was found in their targets, see `RETRACKING_DEFINITION`.

    Args:
        faces: what was found in every test frame, each once.
        splits: names of the test splits.
        head_model: is fitted; it has a landmark embedding.
        focal: focal length of the pictures in pixels.
        centre: their principal point in pixels.
        size: their width and height in pixels.
        on_step: called with the step of the fit and the number of steps.

    Returns:
        Of a split with fewer than `LEAST_FRAMES` frames in which all three faces were found only how often
        they were; nothing at all if every split is such.
    """
    landmarks = np.concatenate([face.pixels for face in faces]).astype(np.float32)
    found = np.isfinite(landmarks).all((1, 2))
    if found.sum() < LEAST_FRAMES:
        return {}
    view = PictureGeometry(centre, focal / FOCAL_IMAGE_SIDES)
    # Tests run in inference mode, in which nothing can be fitted.
    with torch.inference_mode(False), torch.enable_grad():
        # An avatar's head model may be on a GPU; the fit works on the CPU.
        head_model = copy.deepcopy(head_model).cpu()
        fit = fit_head(_as_track(landmarks, found, size), head_model, None, None, view, STILLS, on_step)
    mm_per_pixel = (1000 * _eye_depth(fit.head, head_model) / fit.focal).reshape(-1, 3)
    pixels = landmarks.reshape(-1, 3, LANDMARKS, 3)[..., :2]
    place = np.arange(3 * len(faces)).reshape(-1, 3)
    shares = _lid_apertures(pixels)[1]
    usual = np.nanmedian(shares[:, 0]) if np.isfinite(shares[:, 0]).any() else np.nan
    head_pixels = np.stack([face.head_pixels for face in faces])
    seen = found.reshape(-1, 3)

    scores: RetrackedScores = {}
    for split in splits:
        inside = np.array([split in face.splits for face in faces]) & seen[:, 0]
        # The same frames for all: an avatar without a face in hard ones would be compared on easy ones.
        kept = inside & seen.all(1)
        blinks = shares[kept, 0] < BLINK * usual
        table: dict[str, dict[str, dict[str, float | None]]] = {}
        for column, name in ((1, "avatar"), (2, "nearest_frame"), (0, "tracked_head")):
            share = float(seen[inside, column].mean()) if inside.any() else None
            table[name] = {"face": {"frames": float(kept.sum()), "found_share": share}}
            if kept.sum() < LEAST_FRAMES:
                continue
            own = head_pixels if name == "tracked_head" else pixels[:, column]
            openings = _opening_errors(
                pixels[kept, 0], own[kept], mm_per_pixel[kept, 0], mm_per_pixel[kept, column], blinks
            )
            table[name] = _merged(table[name], openings)
            if name != "tracked_head":
                both = [fit.head.select(place[kept, k].tolist()) for k in (0, column)]
                table[name] = _merged(table[name], _fit_errors(*both, blinks, head_model))
        scores[split] = table
    return scores if any(has_retracked_values(table) for table in scores.values()) else {}


def has_retracked_values(table: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> bool:
    """False for a split of `RetrackedScores` in which too few faces were found."""
    return len(table["avatar"]) > 1


def _as_track(landmarks: np.ndarray, found: np.ndarray, size: tuple[int, int]) -> LandmarkTrack:
    """Pictures that are no video, a second apart, as what the tracker's fit reads."""
    count = len(landmarks)
    return LandmarkTrack(
        landmarks=landmarks,
        scores=np.zeros((count, 0), np.float32),
        score_names=[],
        face_matrices=np.zeros((count, 4, 4), np.float32),
        valid=found,
        content_change=np.ones(count, np.float32),
        background_change=np.ones(count, np.float32),
        timestamps=np.arange(count, dtype=np.float64),
        fps=1.0,
        width=size[0],
        height=size[1],
        model_sha256="",
        mode="IMAGE",
    )


def _eye_depth(head: HeadParameters, head_model: HeadModel) -> np.ndarray:
    """``[T]`` metres from the camera at the origin, which looks along -z, to the eyes."""
    eyes = [head_model.joint("eye_left"), head_model.joint("eye_right")]
    middle = head_model.rest_joints(head)[:, eyes].mean(1)
    return -((head.rotation @ middle[..., None])[..., 0] + head.translation)[:, 2].numpy()


def _lid_apertures(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean aperture of both eyes, in pixels and in widths of the eye, of landmarks ``[..., 478, 2]``."""
    apertures, shares = [], []
    for corners, pairs in LID_PAIRS:
        aperture = _distances(pixels, pairs).mean(-1)
        apertures.append(aperture)
        shares.append(aperture / _distances(pixels, [corners])[..., 0])
    return np.mean(apertures, 0), np.mean(shares, 0)


def _distances(pixels: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """``[..., N]`` distances of N pairs of the landmarks ``[..., 478, 2]``."""
    first, second = np.array(pairs).T
    return np.linalg.norm(pixels[..., first, :] - pixels[..., second, :], axis=-1)


def _opening_errors(
    target: np.ndarray, own: np.ndarray, target_mm: np.ndarray, own_mm: np.ndarray, blinks: np.ndarray
) -> dict[str, dict[str, float | None]]:
    """Errors of lids and lips over F frames.

    Args:
        target, own: ``[F, 478, 2]`` landmarks in pixels.
        target_mm, own_mm: ``[F]`` millimetres per pixel.
        blinks: ``[F]`` bool.
    """
    lids, shares = zip(*(_lid_apertures(pixels) for pixels in (target, own)), strict=True)
    lips = [_distances(pixels, LIP_PAIRS).mean(-1) for pixels in (target, own)]

    def error(values: Sequence[np.ndarray]) -> float | None:
        return _number(np.abs(values[1] * own_mm - values[0] * target_mm).mean())

    return {
        "eyes": {
            "lid_aperture_mm": error(lids),
            "lid_correlation": _correlation(*shares),
            "blink_frames": float(blinks.sum()),
            "blink_lid_share": _number(np.abs(shares[1] - shares[0])[blinks].mean())
            if blinks.any()
            else None,
        },
        "mouth": {
            "opening_mm": error(lips),
            "opening_correlation": _correlation(lips[0] * target_mm, lips[1] * own_mm),
        },
    }


def _fit_errors(
    target: HeadParameters, own: HeadParameters, blinks: np.ndarray, head_model: HeadModel
) -> dict[str, dict[str, float | None]]:
    """Errors of expression, pose and gaze over the same F frames of two fits with one identity."""
    difference = own.expression - target.expression
    names = head_model.asset.expression_names
    scores: dict[str, dict[str, float | None]] = {
        region: {"expression": float(difference[:, some].abs().mean())}
        for region, some in expression_groups(names).items()
    }
    turned = rotation_vectors(target.rotation.mT @ own.rotation).norm(dim=1).rad2deg()
    scores["face"] = {
        "expression": float(difference.abs().mean()),
        "expression_mm": _moved_mm(difference, head_model),
        "rotation_degrees": float(turned.mean()),
        "translation_mm": 1000 * float((own.translation - target.translation).norm(dim=1).mean()),
    }
    eye, open_eyes = head_model.joint("eye_left"), torch.from_numpy(~blinks)
    looks = [head.joint_rotations[open_eyes, eye] for head in (target, own)]
    gaze = rotation_vectors(looks[0].mT @ looks[1]).norm(dim=1).rad2deg() if len(looks[0]) else None
    scores.setdefault("eyes", {})["gaze_degrees"] = None if gaze is None else float(gaze.mean())
    return scores


def _merged(
    first: dict[str, dict[str, float | None]], second: dict[str, dict[str, float | None]]
) -> dict[str, dict[str, float | None]]:
    """Values of both by region."""
    return {key: first.get(key, {}) | second.get(key, {}) for key in dict.fromkeys([*first, *second])}


def _correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Pearson's correlation; None where one does not vary or is not known."""
    if not (np.ptp(first) > 0 and np.ptp(second) > 0):
        return None
    return _number(np.corrcoef(first, second)[0, 1])


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def no_faces(width: int, height: int, head_model: HeadModel) -> str:
    """Why nothing can be re-tracked in pictures of that size with that head model; empty if it can."""
    if min(width, height) < LEAST_SIDE:
        return f"pictures of under {LEAST_SIDE} pixels are too small for the face detector"
    if not len(head_model.asset.landmark_faces):
        return f"the head model {head_model.asset.name} has no landmark embedding"
    return ""


def open_face_finder(width: int, height: int, head_model: HeadModel) -> tuple[FaceFinder | None, str]:
    """A detector for pictures of that size, or the reason why there is none, in a few words."""
    reason = no_faces(width, height, head_model)
    if reason:
        return None, reason
    try:
        return FaceFinder(), ""
    except UserError as error:
        return None, str(error)
