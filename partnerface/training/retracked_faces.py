"""RetrackedFaces: finds faces again in the renderings of a test, frame by frame and over all processes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from partnerface.data.completion.frame_labels import landmark_pixels
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.evaluation.pictures import Prediction
from partnerface.evaluation.retracking import (
    FoundFaces,
    RetrackedScores,
    open_face_finder,
    retracked_scores,
)
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.landmark_geometry import landmark_geometry
from partnerface.tracking.detection.landmark_track import LANDMARKS
from partnerface.training.distributed import gathered_at_first


class RetrackedFaces:
    """Faces in targets, renderings and nearest training frames, see `RETRACKING_DEFINITION`.

    Args:
        data: the video.
        head_model: that of the avatar.

    Attributes:
        missing: why there are no faces, for instance a missing model file; empty if they are looked for.
    """

    def __init__(self, data: HeadVideoDataModule, head_model: HeadModel) -> None:
        self._data, self._head_model = data, head_model
        self._finder, self.missing = open_face_finder(data.camera.width, data.camera.height, head_model)
        self._found: list[FoundFaces] = []
        if self._finder is not None:
            self._geometry = landmark_geometry(head_model)

    def update(self, rendered: Prediction, nearest: Tensor) -> None:
        """Look at one frame, its rendering and its nearest training frame ``[3, H, W]`` over white."""
        if self._finder is None:
            return
        frame, view = rendered.frame, rendered.frame.view.to("cpu")
        head_pixels = np.full((LANDMARKS, 2), np.nan, np.float32)
        placed = landmark_pixels(self._head_model, self._geometry, view.head, view.camera)
        head_pixels[self._geometry.numbers] = placed[0].numpy()
        pictures = frame.on_white(), rendered.image, nearest
        pixels = np.stack([self._finder(picture) for picture in pictures])
        self._found.append(FoundFaces(frame.frame_index, frame.splits, pixels, head_pixels))

    def gathered(self) -> list[FoundFaces]:
        """What all processes have found, in the first one; all of them have to call it, once, at the end."""
        if self._finder is not None:
            self._finder.close()
            self._finder = None
        return gathered_at_first(self._found)

    def scores(self, faces: Sequence[FoundFaces], splits: Sequence[str]) -> RetrackedScores | None:
        """Scores of the faces of `gathered` by split; None where `missing` says why there are none."""
        if self.missing:
            return None
        camera = self._data.camera
        focal, _, *centre = camera.intrinsics[0].tolist()
        size = camera.width, camera.height
        scores = retracked_scores(faces, splits, self._head_model, focal, tuple(centre), size)
        if not scores:
            self.missing = "the detector found no face in the pictures, or in too few"
        return scores or None
