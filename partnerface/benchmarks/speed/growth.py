"""Growth of the cost with parts, samples, pixels, and with finer meshes and longer clips made for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import linear_regression, median

import numpy as np
import torch

from partnerface.benchmarks.method_under_test import MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed.measurement import Duration, ResultRow, Target, duration_of, interleaved
from partnerface.benchmarks.speed.throughput import parts_variant, rendering_time, square_view, variant_of
from partnerface.benchmarks.speed.training_slices import continue_from, timed_steps
from partnerface.compute.threads import single_thread
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.sequence import SequenceReader, TrackedSequence, head_model_record
from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset


class RepeatedReader(SequenceReader):
    """Reads a dataset of our own format repeatedly until it has ``frames`` frames; no file is copied."""

    def __init__(self, root: Path, frames: int) -> None:
        if frames < 1:
            raise UserError(f"frames {frames}: a clip needs at least one frame")
        self.root, self.frames = Path(root), frames

    def read(self) -> TrackedSequence:
        once = PartnerfaceReader(self.root).read()
        order = torch.arange(self.frames) % len(once)
        places = order.tolist()
        members = {name: {*frames} for name, frames in once.splits.items()}
        return replace(
            once,
            image_paths=[once.image_paths[i] for i in places],
            matte_paths=[once.matte_paths[i] for i in places],
            label_paths=[once.label_paths[i] for i in places],
            camera=once.camera.select(order),
            head=once.head.select(order),
            frame_weights=once.frame_weights[order],
            torso_motion=once.torso_motion[order],
            splits={name: [t for t, i in enumerate(places) if i in some] for name, some in members.items()},
        )


class SubdividedHead(HeadModel):
    """Anny's head, in which every level cuts each triangle into four; it has no landmarks.

    Args:
        levels: how often triangles are cut; 0 is the head itself.
    """

    def __init__(self, levels: int = 1) -> None:
        asset = AnnyHead().asset
        for _ in range(levels):
            asset = subdivided(asset)
        super().__init__(asset)


def subdivided(asset: HeadModelAsset) -> HeadModelAsset:
    """Cut every triangle into four at the midpoints of its edges; the surface does not move."""
    faces, edges = cut_faces(asset.faces)
    uv_faces, uv_edges = cut_faces(asset.uv_faces)

    def midpoints(values: np.ndarray | None, axis: int, ends: np.ndarray = edges) -> np.ndarray | None:
        if values is None:
            return None
        values = np.asarray(values, np.float32)
        middle = (values.take(ends[:, 0], axis) + values.take(ends[:, 1], axis)) / 2
        return np.concatenate([values, middle], axis)

    return replace(
        asset,
        version=f"{asset.version}, subdivided",
        template_vertices=midpoints(asset.template_vertices, 0),
        identity_basis=midpoints(asset.identity_basis, 1),
        expression_basis=midpoints(asset.expression_basis, 1),
        skinning_weights=midpoints(asset.skinning_weights, 0),
        pose_correctives=midpoints(asset.pose_correctives, 1),
        faces=faces,
        uv=midpoints(asset.uv, 0, uv_edges),
        uv_faces=uv_faces,
        face_parts=np.repeat(asset.face_parts, 4),
        landmark_faces=asset.landmark_faces[:0],
        landmark_barycentric=asset.landmark_barycentric[:0],
        landmark_spread=asset.landmark_spread[:0],
        source_vertex_ids=None,
    )


def cut_faces(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut faces ``[Fc, 3]`` into four each, at the midpoints of their edges.

    Returns:
        The new faces ``[4 Fc, 3]``, those of one face in a row, and the edges ``[Ed, 2]`` whose midpoints
        are new vertices: that of edge ``e`` is vertex ``V + e``, with V the number of old vertices.
    """
    corners = np.asarray(faces, np.int64)
    sides = np.sort(np.stack([corners, np.roll(corners, -1, 1)], 2).reshape(-1, 2), 1)
    edges, which = np.unique(sides, axis=0, return_inverse=True)
    middles = corners.max() + 1 + which.reshape(-1, 3)
    a, b, c = corners.T
    ab, bc, ca = middles.T
    cut = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], 1)
    return cut.reshape(-1, 3), edges


def sequence_for(sequence: TrackedSequence, head: SubdividedHead) -> TrackedSequence:
    """A video that was tracked with the plain head, converted to a subdivided one."""
    # A new vertex has the mean thickness of its edge's ends, level by level.
    thickness, faces = sequence.shell_thickness, AnnyHead().asset.faces
    while len(thickness) < len(head.template_vertices):
        faces, edges = cut_faces(faces)
        thickness = torch.cat([thickness, thickness[torch.from_numpy(edges)].mean(1)])
    return replace(sequence, head_model_record=head_model_record(head), shell_thickness=thickness)


FITTED_SIZES = 3
"""Number of the largest sizes to which the exponent is fitted: there fixed costs hide the least."""

LINEAR = Target("<=", 1.1)
"""Largest exponent that counts as linear, a tenth of it for the noise of a shared machine."""

PARTS = (1, 2, 4, 8, 16, 32, 64)
SAMPLES = (4, 8, 16, 32, 64)
IMAGE_SIZES = (64, 128, 256, 512)
SUBDIVISIONS = (0, 1, 2)
CLIP_LENGTHS = (96, 384, 1536)


@dataclass
class GrowthCurve:
    """Cost against size.

    Attributes:
        name: what grows.
        axis: label of the sizes.
        cost: label of the measured work.
        sizes: in ascending order.
        milliseconds: median CPU time of the work at each size.
    """

    name: str
    axis: str
    cost: str
    sizes: list[float]
    milliseconds: list[float]

    @property
    def exponent(self) -> float:
        """Exponent of the power law fitted to the largest sizes."""
        return growth_exponent(self.sizes[-FITTED_SIZES:], self.milliseconds[-FITTED_SIZES:])

    def row(self) -> ResultRow:
        """The exponent, with linear growth as its target."""
        note = f"{self.cost}, CPU time, against {self.axis}: power law through the {FITTED_SIZES} largest"
        return ResultRow(f"growth_{self.name}", self.exponent, "exponent", LINEAR, note, details=asdict(self))


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of the least-squares line through ``log size, log cost``: 1 is linear, 0 is constant."""
    return linear_regression(*([math.log(v) for v in values] for values in (sizes, costs))).slope


def measured_curve(
    name: str, axis: str, cost: str, measures: Mapping[int, Callable[[], Duration]], rounds: int
) -> GrowthCurve:
    """Measure all sizes in turn: after one round to warm up ``rounds`` of them, of which the median counts.

    ``measures`` do and time the work, by size; the labels are those of `GrowthCurve`.
    """
    labelled = {str(size): measure for size, measure in measures.items()}
    with single_thread():
        interleaved(labelled, 1)
        found = interleaved(labelled, rounds)
    milliseconds = [1000 * median(d.cpu for d in durations) for durations in found.values()]
    return GrowthCurve(name, axis, cost, list(measures), milliseconds)


def _step_curve(
    name: str, axis: str, variants: Mapping[int, MethodUnderTest], rounds: int, steps: int
) -> GrowthCurve:
    measures = {size: lambda v=v: timed_steps(v, steps) for size, v in variants.items()}
    return measured_curve(name, axis, "one training step", measures, rounds)


def _parts(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> list[GrowthCurve]:
    variants = {parts: parts_variant(build, trained, parts) for parts in PARTS}
    return [_step_curve("parts", "parts P, top-2", variants, rounds, steps)]


def _samples(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> list[GrowthCurve]:
    flag = "--model.avatar.sampler.init_args.samples"
    variants = {count: variant_of(build, trained, f"{flag}={count}") for count in SAMPLES}
    return [_step_curve("samples", "samples a ray", variants, rounds, steps)]


def _image(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> list[GrowthCurve]:
    views = {size**2: square_view(trained.data.sequence, size) for size in IMAGE_SIZES}
    measures = {pixels: lambda v=v: rendering_time(trained, v) for pixels, v in views.items()}
    return [measured_curve("image", "pixels of the frame", "one rendered frame", measures, rounds)]


def _mesh(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> list[GrowthCurve]:
    """Cost with the head model's own mesh and with finer ones; the field is the same."""
    variants = {}
    for levels in SUBDIVISIONS:
        variant = build(
            trained.name,
            "--model.avatar.head_model.class_path=partnerface.benchmarks.speed.growth.SubdividedHead",
            f"--model.avatar.head_model.init_args.levels={levels}",
        )
        head = variant.module.avatar.head_model
        variant.data.sequence = sequence_for(trained.data.sequence, head)
        variants[len(head.faces)] = continue_from(variant, trained)
    return [_step_curve("mesh", "triangles", variants, rounds, steps)]


def _frames(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> list[GrowthCurve]:
    """Cost of a training step, which should be constant, and of reading, decoding and adapting before."""

    def prepared(frames: int) -> Duration:
        fresh = build(trained.name, *repeated_flags(frames))
        return duration_of(
            lambda: (fresh.data.setup("fit"), fresh.module.avatar.adapt_to(fresh.data.sequence))
        )

    variants = {n: continue_from(build(trained.name, *repeated_flags(n)), trained) for n in CLIP_LENGTHS}
    measures = {frames: lambda n=frames: prepared(n) for frames in CLIP_LENGTHS}
    return [
        _step_curve("frames_step", "frames", variants, rounds, steps),
        measured_curve("frames_preparation", "frames", "decoding and adapting", measures, 1),
    ]


GROWTH = {
    "parts": _parts,
    "samples": _samples,
    "image size": _image,
    "mesh size": _mesh,
    "number of frames": _frames,
}
"""By what grows: functions of builder, trained method, rounds and training steps in a round."""


def repeated_flags(frames: int) -> tuple[str, str]:
    """Flags of ``partnerface fit`` that repeat the dataset until it has so many frames."""
    return (
        "--data.reader.class_path=partnerface.benchmarks.speed.growth.RepeatedReader",
        f"--data.reader.init_args.frames={frames}",
    )
