"""Frames on the device: a run has the batches of a run without, also once it is resumed, and never waits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface.benchmarks.method_under_test import OURS
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.data.batches.datasets import RayBatch
from tests.cuda.pretended_report import REPORT

STEPS, STOPPED = 4, 2


class KeepBatches(Callback):
    """Attributes:
    batches: what each step was made of.
    waits: of the host in making them.
    """

    def __init__(self) -> None:
        self.batches: list[list[torch.Tensor]] = []
        self.waits = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: RayBatch, *_) -> None:
        # The first one waits while the clip is copied.
        self.waits += REPORT.waits.total() if self.batches else 0
        assert batch.alpha.is_cuda
        self.batches.append([tensor.cpu() for tensor in batch.tensors()])

    def on_train_batch_end(self, *_: object) -> None:
        REPORT.clear()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resident")


def batches(words: list[str], steps: int) -> KeepBatches:
    cli, kept = AvatarCLI(["fit", *words, f"--trainer.max_steps={steps}"], execute=False), KeepBatches()
    cli.trainer.callbacks.insert(0, kept)
    checkpoint = cli.config["fit"]["ckpt_path"]
    cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True)
    return kept


@pytest.mark.parametrize(("sampler", "workers"), [("RegionWeightedPixels", 0), ("UniformPixels", 1)])
def test_batches_are_those_of_the_host(cuda, arguments, run, capsys, sampler, workers):
    chosen = f"--data.pixel_sampler=partnerface.data.batches.pixel_samplers.{sampler}"
    words = [chosen, "--trainer.limit_val_batches=0", "--data.rays_per_frame=16"]
    words.append(f"--data.num_workers={workers}")
    host = batches(arguments(OURS, run / f"host{sampler}", *words, "--data.resident=false"), STEPS)
    assert "kept on the GPU" not in capsys.readouterr().err
    first = batches(arguments(OURS, run / sampler, *words), STOPPED)
    assert "the training frames are kept on the GPU: 0.00 GB" in capsys.readouterr().err
    resumed = batches(arguments(OURS, run / sampler, *words, "--ckpt_path=last"), STEPS)
    found = [*first.batches, *resumed.batches]
    assert len(found) == len(host.batches) == STEPS
    for one, other in zip(found, host.batches, strict=True):
        for tensor, expected in zip(one, other, strict=True):
            torch.testing.assert_close(tensor, expected, rtol=0, atol=0)
    assert first.waits == resumed.waits == 0
