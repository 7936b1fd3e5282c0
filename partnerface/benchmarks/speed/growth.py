"""Growth of the cost with the number of parts, samples, pixels, triangles and frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from partnerface.benchmarks.method_under_test import MethodBuilder, MethodUnderTest, continue_from
from partnerface.benchmarks.speed.interleaving import Duration, duration_of, interleaved
from partnerface.benchmarks.speed.rendering import rendering_time, square_view
from partnerface.benchmarks.speed.result_row import ResultRow, Target
from partnerface.benchmarks.speed.synthetic_sizes import sequence_for
from partnerface.benchmarks.speed.training import parts_variant, variant_of
from partnerface.benchmarks.speed.training_slices import set_up, timed_steps
from partnerface.compute.threads import single_thread

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
    x, y = ([math.log(v) for v in values] for values in (sizes, costs))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def measured_curve(
    name: str, axis: str, cost: str, measures: dict[float, Callable[[], Duration]], rounds: int
) -> GrowthCurve:
    """Measure all sizes in turn, after one round to warm up.

    Args:
        name: what grows.
        axis: label of the sizes.
        cost: label of the measured work.
        measures: function that does and times the work, by size.
        rounds: repetitions, of which the median counts.
    """
    labelled = {str(size): measure for size, measure in measures.items()}
    with single_thread():
        interleaved(labelled, 1)
        found = interleaved(labelled, rounds)
    milliseconds = [1000 * median(d.cpu for d in durations) for durations in found.values()]
    return GrowthCurve(name, axis, cost, list(measures), milliseconds)


def parts_growth(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> GrowthCurve:
    variants = {parts: parts_variant(build, trained, parts) for parts in PARTS}
    return measured_curve("parts", "parts P, top-2", "one training step", _steps(variants, steps), rounds)


def samples_growth(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> GrowthCurve:
    flag = "--model.avatar.sampler.init_args.samples"
    variants = {count: variant_of(build, trained, f"{flag}={count}") for count in SAMPLES}
    return measured_curve("samples", "samples a ray", "one training step", _steps(variants, steps), rounds)


def image_growth(trained: MethodUnderTest, rounds: int) -> GrowthCurve:
    frame = square_view(trained.data.sequence, IMAGE_SIZES[0])
    frames = {size * size: frame.resized(size, size) for size in IMAGE_SIZES}
    measures = {rays: lambda f=f: rendering_time(trained, f) for rays, f in frames.items()}
    return measured_curve("image", "pixels of the frame", "one rendered frame", measures, rounds)


def mesh_growth(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> GrowthCurve:
    """Cost with the head model's own mesh and with finer ones; the field is the same."""
    variants = {}
    for levels in SUBDIVISIONS:
        variant = build(
            trained.name,
            "--model.avatar.head_model.class_path=partnerface.benchmarks.speed.synthetic_sizes.SubdividedHead",
            f"--model.avatar.head_model.init_args.levels={levels}",
        )
        head = variant.module.avatar.head_model
        variant.data.sequence = sequence_for(trained.data.sequence, head)
        train_on_pruned_space(variant, trained)
        variants[len(head.faces)] = variant
    return measured_curve("mesh", "triangles", "one training step", _steps(variants, steps), rounds)


def frames_growth(
    build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int
) -> tuple[GrowthCurve, GrowthCurve]:
    """Cost of a training step, which should be constant, and of reading, decoding and adapting before."""
    steps_by_length, preparations = {}, {}
    for count in CLIP_LENGTHS:
        flags = repeated_flags(count)
        variant = build(trained.name, *flags)
        train_on_pruned_space(variant, trained)
        steps_by_length[count] = variant

        def prepare(flags: tuple[str, ...] = flags) -> Duration:
            fresh = build(trained.name, *flags)
            return duration_of(
                lambda: (fresh.data.setup("fit"), fresh.module.avatar.adapt_to(fresh.data.sequence))
            )

        preparations[count] = prepare
    step = measured_curve(
        "frames_step", "frames", "one training step", _steps(steps_by_length, steps), rounds
    )
    before = measured_curve("frames_preparation", "frames", "decoding and adapting", preparations, 1)
    return step, before


def repeated_flags(frames: int) -> tuple[str, str]:
    """Flags of ``partnerface fit`` that repeat the dataset until it has so many frames."""
    return (
        "--data.reader.class_path=partnerface.benchmarks.speed.synthetic_sizes.RepeatedReader",
        f"--data.reader.init_args.frames={frames}",
    )


def train_on_pruned_space(variant: MethodUnderTest, trained: MethodUnderTest) -> None:
    """Set a variant with its own data up, and copy the state of the trained method into it."""
    set_up(variant)
    continue_from(variant, trained)


def _steps(variants: dict[int, MethodUnderTest], steps: int) -> dict[int, Callable[[], Duration]]:
    return {size: lambda v=v: timed_steps(v, steps) for size, v in variants.items()}
