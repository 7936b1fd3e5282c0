"""Speed of training steps: ours against NeRFace in float32 and bfloat16, many parts against few."""

from __future__ import annotations

from partnerface.benchmarks.method_under_test import MethodBuilder, MethodUnderTest, continue_from
from partnerface.benchmarks.speed.interleaving import Duration, duration_of, interleaved, ratios
from partnerface.benchmarks.speed.result_row import ResultRow, Target, measured_row
from partnerface.benchmarks.speed.training_slices import set_up, timed_steps
from partnerface.compute.threads import single_thread

AGAINST = {"float32": Target(">=", 120), "bfloat16": Target(">=", 35)}
PARTS_RATIO = Target("<=", 1.15)
FEW_PARTS, MANY_PARTS = 4, 64


def rays_per_step(method: MethodUnderTest) -> int:
    """Rays of a training step."""
    return method.data.rays_per_frame * method.data.frames_per_batch


def refresh_share(method: MethodUnderTest, device: str = "cpu") -> Duration:
    """Time of pruning the occupancy grid, divided by the steps between two prunings."""
    data, avatar = method.data, method.module.to(device).avatar
    view = data.views.select([data.train_frames[0]]).to(device)
    visits = method.refresh.visits
    return duration_of(lambda: avatar.refresh_occupancy(view, visits), device).per(method.refresh.every_steps)


def against_nerface(
    ours: MethodUnderTest,
    peers: dict[str, MethodUnderTest],
    rounds: int,
    steps: int,
    threads: int,
    device: str = "cpu",
) -> list[ResultRow]:
    """Rays per second on rays that hit the head, and the ratios to NeRFace.

    Args:
        ours: our method.
        peers: NeRFace by the floating-point type of its fields.
        rounds: interleaved repetitions.
        steps: training steps of ours in a round.
        threads: CPU threads of every method, over which the frames of a batch are spread.
        device: ``cpu`` or ``cuda``.
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
    prefix = "" if device == "cpu" else f"{device}_"
    where = f"rays that hit the head, learned occupancy, {threads} threads, wall time"
    our_rays = rays_per_step(ours)
    our_wall, our_cpu = rates(found["ours"], our_rays)
    note = f"{where}; {our_rays} rays a step, its share of pruning included"
    rows = [
        measured_row(f"{prefix}training_rays_per_second", our_wall, "rays/s", None, note, by_cpu_time=our_cpu)
    ]
    for name, peer in peers.items():
        wall, cpu = rates(found[name], rays_per_step(peer))
        rows.append(
            measured_row(
                f"{prefix}training_against_nerface_{name}",
                ratios(our_wall, wall),
                "x",
                AGAINST[name] if device == "cpu" else None,
                f"{where}; NeRFace {rays_per_step(peer)} rays a step",
                by_cpu_time=ratios(our_cpu, cpu),
                nerface_rays_per_second=wall,
            )
        )
    return rows


def rates(steps: list[Duration], rays: int) -> tuple[list[float], list[float]]:
    """Rays per second of wall time, and of CPU time."""
    return [rays / step.wall for step in steps], [rays / step.cpu for step in steps]


def many_parts_row(build: MethodBuilder, trained: MethodUnderTest, rounds: int, steps: int) -> ResultRow:
    """CPU time of a training step with many parts over one with few, at top-2."""
    few, many = (parts_variant(build, trained, parts) for parts in (FEW_PARTS, MANY_PARTS))
    variants = {"few": lambda: timed_steps(few, steps), "many": lambda: timed_steps(many, steps)}
    with single_thread():
        interleaved(variants, 1)
        found = interleaved(variants, rounds)
    cpu = {name: [d.cpu for d in durations] for name, durations in found.items()}
    return measured_row(
        "training_step_many_parts_against_few",
        ratios(cpu["many"], cpu["few"]),
        "x",
        PARTS_RATIO,
        f"P={MANY_PARTS} against P={FEW_PARTS}, top-2, one thread, CPU seconds",
        milliseconds={name: [1000 * c for c in values] for name, values in cpu.items()},
    )


def parts_variant(build: MethodBuilder, trained: MethodUnderTest, parts: int) -> MethodUnderTest:
    """The trained method with another number of parts, top-2, on the same data."""
    return variant_of(
        build,
        trained,
        f"--model.avatar.deformation.init_args.parts={parts}",
        "--model.avatar.deformation.init_args.top_k=2",
    )


def variant_of(build: MethodBuilder, trained: MethodUnderTest, *flags: str) -> MethodUnderTest:
    """The trained method with other settings, on the same data."""
    variant = build(trained.name, *flags)
    variant.data = trained.data
    set_up(variant)
    continue_from(variant, trained)
    return variant
