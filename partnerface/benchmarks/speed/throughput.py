"""Speed of training steps and of rendered frames: ours against NeRFace, many parts against few."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from partnerface.benchmarks.method_under_test import PEER, MethodBuilder, MethodUnderTest
from partnerface.benchmarks.speed.measurement import (
    Duration,
    ResultRow,
    Target,
    duration_of,
    interleaved,
    measured_row,
    ratios,
)
from partnerface.benchmarks.speed.training_slices import continue_from, set_up, timed_steps
from partnerface.compute.threads import single_thread
from partnerface.data.sequence import TrackedSequence
from partnerface.data.view import View

AGAINST = {"float32": Target(">=", 120), "bfloat16": Target(">=", 35)}
PARTS_RATIO = Target("<=", 1.15)
FEW_PARTS, MANY_PARTS = 4, 64

BANK, BANK_RATIO = "part_networks", Target("<=", 1.0)


def rays_per_step(method: MethodUnderTest) -> int:
    """Rays of a training step."""
    return method.data.rays_per_frame * method.data.frames_per_batch


def refresh_share(method: MethodUnderTest, device: str = "cpu") -> Duration:
    """Time of pruning the occupancy grid, divided by the steps between two prunings."""
    data, avatar = method.data, method.module.to(device).avatar
    view = data.views.select([data.train_frames[0]]).to(device)
    visits = method.refresh.visits
    return duration_of(lambda: avatar.refresh_occupancy(view, visits), device).per(method.refresh.every_steps)


def nerface_by_type(build: MethodBuilder, *flags: str, device: str = "cpu") -> dict[str, MethodUnderTest]:
    """NeRFace, set up, by the floating-point type of its fields."""
    types = {"float32": [], "bfloat16": ["--model.avatar.init_args.bfloat16=true"]}
    peers = {name: build(PEER, *flags, *words) for name, words in types.items()}
    for peer in peers.values():
        set_up(peer, device)
    return peers


def against_nerface(
    ours: MethodUnderTest,
    peers: dict[str, MethodUnderTest],
    rounds: int,
    steps: int,
    threads: int,
    device: str = "cpu",
) -> list[ResultRow]:
    """Rays per second on rays that hit the head, and the ratios to NeRFace.

    A round has ``steps`` training steps of ours and one of each peer: NeRFace by the floating-point type of
    its fields. The frames of a batch are spread over ``threads`` on a CPU.
    """

    def our_step() -> Duration:
        step = timed_steps(ours, steps, warm_up=2, threads=threads, device=device)
        return step.plus(refresh_share(ours, device))

    variants = {"ours": our_step} | {
        name: lambda peer=peer: timed_steps(peer, 1, threads=threads, device=device)
        for name, peer in peers.items()
    }
    with single_thread():
        found = interleaved(variants, rounds)
    where = f"rays that hit the head, learned occupancy, {threads} threads, wall time"
    our_rays = rays_per_step(ours)
    our_wall, our_cpu = rates(found["ours"], our_rays)
    note = f"{where}; {our_rays} rays a step, its share of pruning included"
    rows = [measured_row("training_rays_per_second", our_wall, "rays/s", None, note, by_cpu_time=our_cpu)]
    for name, peer in peers.items():
        wall, cpu = rates(found[name], rays_per_step(peer))
        rows.append(
            measured_row(
                f"training_against_nerface_{name}",
                ratios(our_wall, wall),
                "x",
                AGAINST[name] if device == "cpu" else None,
                f"{where}; NeRFace {rays_per_step(peer)} rays a step",
                by_cpu_time=ratios(our_cpu, cpu),
                nerface_rays_per_second=wall,
            )
        )
    return rows


def rates(steps: Sequence[Duration], rays: float = 1) -> tuple[list[float], list[float]]:
    """Rays (or frames) per second of wall time, and of CPU time."""
    return [rays / step.wall for step in steps], [rays / step.cpu for step in steps]


def many_parts_row(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> ResultRow:
    """CPU time of a training step with many parts over one with few, at top-2."""
    few, many = (parts_variant(build, trained, parts) for parts in (FEW_PARTS, MANY_PARTS))
    variants = {"many": lambda: timed_steps(many, steps), "few": lambda: timed_steps(few, steps)}
    note = f"P={MANY_PARTS} against P={FEW_PARTS}, top-2, one thread, CPU seconds"
    return _ratio_of_two("training_step_many_parts_against_few", variants, PARTS_RATIO, note, rounds)


def bank_rows(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> list[ResultRow]:
    """CPU time of a training step and of a picture over those of the bank, its parts a network each."""
    bank = build(BANK)
    bank.data = trained.data
    methods = {"ours": trained, "bank": continue_from(bank, trained)}
    view = square_view(trained.data.sequence, FRAME_SIZE)
    work = {
        "training_step_against_bank": lambda method: timed_steps(method, steps),
        "rendered_frame_against_bank": lambda method: rendering_time(method, view),
    }
    note = f"{trained.name} against {BANK}, one thread, CPU seconds"
    return [
        _ratio_of_two(
            name, {key: partial(measure, method) for key, method in methods.items()}, BANK_RATIO, note, rounds
        )
        for name, measure in work.items()
    ]


def _ratio_of_two(
    name: str, variants: dict[str, Callable[[], Duration]], target: Target, note: str, rounds: int
) -> ResultRow:
    """CPU time of the first variant over that of the second, interleaved on one thread."""
    with single_thread():
        interleaved(variants, 1)
        found = interleaved(variants, rounds)
    cpu = {key: [d.cpu for d in durations] for key, durations in found.items()}
    milliseconds = {key: [1000 * c for c in values] for key, values in cpu.items()}
    return measured_row(name, ratios(*cpu.values()), "x", target, note, milliseconds=milliseconds)


def parts_variant(build: MethodBuilder, trained: MethodUnderTest, parts: int) -> MethodUnderTest:
    """The trained method with another number of parts, top-2, on the same data."""
    flag = "--model.avatar.deformation.init_args"
    return variant_of(build, trained, f"{flag}.parts={parts}", f"{flag}.top_k=2")


def variant_of(build: MethodBuilder, trained: MethodUnderTest, *flags: str) -> MethodUnderTest:
    """The trained method with other settings, on the same data."""
    variant = build(trained.name, *flags)
    variant.data = trained.data
    return continue_from(variant, trained)


FRAME_SIZE = 256
PEER_SIZE = 32
"""Pixels a side that NeRFace renders of the same view; its time is scaled by the number of rays."""

RATIO, FRAMES_PER_SECOND = Target(">=", 400), Target(">=", 3)


def square_view(sequence: TrackedSequence, size: int) -> View:
    """The first frame of a video in a picture of ``size`` pixels a side."""
    return View(sequence.camera, sequence.head, sequence.torso_motion).select([0]).resized(size, size)


def rendering_time(method: MethodUnderTest, view: View, device: str = "cpu") -> Duration:
    """Time of rendering one picture; the method stays in evaluation mode."""
    avatar, view = method.module.to(device).avatar.eval(), view.to(device)
    return duration_of(lambda: avatar.render(view), device)


def rendering_rows(ours: MethodUnderTest, peer: MethodUnderTest, rounds: int) -> list[ResultRow]:
    """Frames per second and the ratio to NeRFace, on all cores, without gradients."""
    view = square_view(ours.data.sequence, FRAME_SIZE)
    small, rays = view.resized(PEER_SIZE, PEER_SIZE), (PEER_SIZE / FRAME_SIZE) ** 2
    variants = {
        "ours": lambda: rendering_time(ours, view),
        "nerface": lambda: rendering_time(peer, small).per(rays),
    }
    interleaved(variants, 1)
    found = interleaved(variants, rounds)
    frames, frames_by_cpu = rates(found["ours"])
    seconds = [d.wall for d in found["nerface"]]
    size = f"{FRAME_SIZE}x{FRAME_SIZE}"
    return [
        measured_row(
            "rendering_frames_per_second",
            frames,
            "frames/s",
            FRAMES_PER_SECOND,
            f"{size}, all cores, wall time",
            by_cpu_time=frames_by_cpu,
        ),
        measured_row(
            "rendering_against_nerface",
            ratios(seconds, [d.wall for d in found["ours"]]),
            "x",
            RATIO,
            f"{size}, all cores; NeRFace: {PEER_SIZE}x{PEER_SIZE} rays of that view, scaled by number",
            nerface_seconds_per_frame=seconds,
            by_cpu_time=ratios(*([d.cpu for d in found[name]] for name in ("nerface", "ours"))),
        ),
    ]
