"""A tiny method as the benchmark's command builds it."""

from collections.abc import Callable

import pytest

from partnerface.benchmarks.method_under_test import MethodBuilder, MethodUnderTest

TINY = {
    "part_deformation": (
        "--model.avatar.sampler.init_args.cells=32",
        "--model.avatar.field.init_args.log2_table_size=12",
    ),
    "nerface": (
        "--model.avatar.init_args.layers=2",
        "--model.avatar.init_args.hidden_width=16",
        "--model.avatar.sampler.init_args.samples=8",
        "--model.avatar.init_args.importance=8",
    ),
}


@pytest.fixture(scope="session")
def build_tiny(synthetic_dataset) -> Callable[..., MethodUnderTest]:
    build = MethodBuilder(synthetic_dataset)

    def tiny(method: str, *flags: str) -> MethodUnderTest:
        return build(
            method, "--data.rays_per_frame=64", "--data.image_size=32", *TINY.get(method, ()), *flags
        )

    return tiny


@pytest.fixture
def tiny_method(build_tiny) -> MethodUnderTest:
    return build_tiny("part_deformation")


@pytest.fixture(scope="session")
def make_row() -> Callable[..., dict]:
    """Makes a row of results.json from the scores of the head mask."""

    def make(method: str, psnr: float | None, lpips: float | None = None, **changes: object) -> dict:
        metrics = {"head_mask": {"psnr": psnr, "lpips": lpips}, "full_frame": {"psnr": 30.0}}
        return {
            "method": method,
            "overrides": {},
            "subject": "synthetic_a",
            "source": "synthetic_a",
            "split": "unseen_expression",
            "protocol": None,
            "test_parameters": "strict",
            "seed": 0,
            "start": "scratch",
            "budget": {"cpu_seconds": 60.0},
            "statics_budget": None,
            "metrics": metrics,
            "nearest_frame": {"head_mask": {"psnr": 15.0, "lpips": 0.2}},
            "frames": 21,
            "resolution": [128, 128],
            "commit": "abc1234",
            "machine": {"cores": 2, "processor": "AMD EPYC"},
            "command": "partnerface fit && partnerface test",
            "run": f"{method}-run",
            **changes,
        }

    return make
