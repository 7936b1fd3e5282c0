"""What a test measures must not depend on how many processes share it."""

from pathlib import Path

import pytest
import torch

from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.evaluation.scores import EvaluationScores
from partnerface.training import module
from partnerface.training.callbacks.evaluation_report import EvaluationReport

METRICS = ("_images", "_pairs", "_nearest_images", "_nearest_pairs", "surface")


def scores_of_process(run: Path, folder: Path, parameters: str, rank: int, world: int) -> EvaluationScores:
    """The sums that one of ``world`` processes hands in after a test."""
    flags = [f"--run_dir={folder}", "--trainer.limit_test_batches=1.0"]
    flags += [f"--model.test_parameters={parameters}"]
    cli = AvatarCLI(["test", "--config", str(run / "config.yaml"), *flags], execute=False)
    checkpoint = run / "checkpoints" / "last.ckpt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeadVideoDataModule, "_process", lambda self: (rank, world))
        # A few steps of the refinement of test parameters are enough to change every frame.
        patch.setattr(module, "REFINEMENT_STEPS", 3)
        cli.trainer.test(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True)
    return next(c._scores for c in cli.trainer.callbacks if isinstance(c, EvaluationReport))


@pytest.fixture(scope="module", params=["strict", "refined"])
def shards(
    request: pytest.FixtureRequest, trained_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, list[EvaluationScores]]:
    """By number of processes, what each of them counts."""
    folder = tmp_path_factory.mktemp("shards")
    return {
        world: [scores_of_process(trained_run, folder, request.param, rank, world) for rank in range(world)]
        for world in (1, 2)
    }


def test_two_processes_count_what_one_does(shards: dict[int, list[EvaluationScores]]) -> None:
    """Consecutive frames that lie in two processes are a pair, and no frame counts twice."""
    for name in METRICS:
        for state in ("count", "total"):
            sums = [sum(getattr(getattr(s, name), state) for s in shards[world]) for world in (1, 2)]
            torch.testing.assert_close(
                *sums, rtol=1e-5, atol=1e-5, msg=lambda text, where=(name, state): f"{where}: {text}"
            )
    pairs = [s._pairs.count[:, 0, 0].tolist() for s in shards[2]]
    assert all(sum(of_process) > 0 for of_process in pairs)


def test_a_temporal_split_of_n_frames_has_n_minus_one_pairs(
    shards: dict[int, list[EvaluationScores]],
) -> None:
    frames = shards[1][0]._images.count[:, 0, 0]
    pairs = shards[1][0]._pairs.count[:, 0, 0]
    # Both splits of the embedded subject are runs without gaps.
    assert torch.equal(pairs, frames - 1)
