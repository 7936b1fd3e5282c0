"""Memory of training on a long clip and of rendering a large frame."""

from __future__ import annotations

from partnerface.benchmarks.method_under_test import OURS, MethodBuilder
from partnerface.benchmarks.speed.growth import repeated_flags
from partnerface.benchmarks.speed.peak_memory import PeakMemory, in_new_process
from partnerface.benchmarks.speed.rendering import rendering_time, square_view
from partnerface.benchmarks.speed.result_row import ResultRow, Target
from partnerface.benchmarks.speed.training_slices import set_up, train_steps

TRAINING_GIGABYTES, RENDERING_GIGABYTES = Target("<=", 3.0), Target("<=", 2.0)
LONG_FRAMES, LONG_SIZE = 3000, 512
LARGE_FRAME_SIZE = 1024
FRAMES_PER_STEP = 2


def memory_rows(build: MethodBuilder, long_build: MethodBuilder) -> list[ResultRow]:
    """Measure both, each in a new process.

    Args:
        build: builds methods on the embedded subject.
        long_build: builds methods on the embedded subject at `LONG_SIZE`.
    """
    training = in_new_process(train_long, long_build)
    rendering = in_new_process(render_large, build)
    frames = f"{LONG_FRAMES} frames of {LONG_SIZE}x{LONG_SIZE}"
    return [
        _row("memory_training", training, TRAINING_GIGABYTES, f"{frames}, every one visited, memory-mapped"),
        _row(
            "memory_rendering",
            rendering,
            RENDERING_GIGABYTES,
            f"one frame of {LARGE_FRAME_SIZE}x{LARGE_FRAME_SIZE}",
        ),
    ]


def _row(name: str, peak: PeakMemory, target: Target, note: str) -> ResultRow:
    details = {"anonymous_gb_at_end": peak.anonymous}
    return ResultRow(name, peak.resident, "GB resident", target, note, details=details)


def train_long(build: MethodBuilder) -> None:
    """Train on a long clip until every frame has been in a batch."""
    method = build(OURS, f"--data.image_size={LONG_SIZE}", *repeated_flags(LONG_FRAMES))
    train_steps(method, -(-len(method.data.train_frames) // FRAMES_PER_STEP))


def render_large(build: MethodBuilder) -> None:
    """Render one large frame before any pruning, which takes the most memory."""
    method = build(OURS)
    set_up(method)
    rendering_time(method, square_view(method.data.sequence, LARGE_FRAME_SIZE))
