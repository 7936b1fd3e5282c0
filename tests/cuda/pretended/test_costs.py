"""What a training step and a picture cost a device in waits and launches: it may only become less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from partnerface import load_avatar
from partnerface.benchmarks.method_under_test import OURS
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.training import recorded_step
from tests.cuda.pretended_report import REPORT, DeviceReport

RECORDED = {
    "a step of 2 frames": {"waits": 0, "operations": 421, "launches": 21},
    "a step of 4 frames": {"waits": 0, "operations": 425, "launches": 25},
    "a step of 2 frames with patches": {"waits": 0, "operations": 646, "launches": 21},
    "a recorded step of 2 frames": {"waits": 0, "operations": 50, "launches": 0},
    "a picture of 512x512": {"waits": 8, "operations": 551, "launches": 29},
}
"""How often the host waits, torch operations that need a kernel and Warp's launches, with `RECORDED_WITH`.

A change that makes a number smaller lowers it here, so that it stays small; the test prints what to write."""

RECORDED_WITH = "2.13"
"""Version of torch: another one may divide its work otherwise."""

A_FRAME = {"waits": 0, "operations": 2, "launches": 2}
"""What each frame more may add to a step, which is one pass over all rays: two meshes are posed."""

STEPS = 4

HARD_TO_THE_END = "--model.avatar.init_args.warm_up=1"
"""Another stage would be recorded anew."""


class CountLastStep(Callback):
    """Counts from the end of a step to the end of the last one: what its batch and the callbacks cost, too.

    Attributes:
        cost: of the last step.
    """

    cost: DeviceReport

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if trainer.global_step == STEPS - 1:
            REPORT.clear()
        elif trainer.global_step == STEPS:
            self.cost = REPORT.copy()


@pytest.fixture
def trained(
    cuda: DeviceReport, arguments: Callable[..., list[str]], tmp_path: Path
) -> Callable[..., tuple[DeviceReport, Path]]:
    """Trains the default method on some frames at once: the cost of a step, and the checkpoint."""

    def steps(frames: int, *more: str) -> tuple[DeviceReport, Path]:
        flags = (f"--trainer.max_steps={STEPS}", "--trainer.limit_val_batches=0", *more)
        run = tmp_path / str(len([*tmp_path.iterdir()]))
        words = arguments(OURS, run, *flags, f"--data.frames_per_batch={frames}")
        cli, counted = AvatarCLI(["fit", *words], execute=False), CountLastStep()
        cli.trainer.callbacks.insert(0, counted)
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        return counted.cost, run / "checkpoints" / "last.ckpt"

    return steps


def numbers(report: DeviceReport) -> dict[str, int]:
    return {name: getattr(report, name).total() for name in A_FRAME}


@pytest.mark.skipif(not torch.__version__.startswith(RECORDED_WITH), reason=f"not torch {RECORDED_WITH}")
def test_costs_only_become_less(cuda, random_lpips, trained, show, monkeypatch):
    costs = {}
    for frames in (2, 4):
        costs[f"a step of {frames} frames"], checkpoint = trained(frames)
    costs["a step of 2 frames with patches"], _ = trained(2, "--data.patch_side=6", "--data.patches_from=0")
    monkeypatch.setattr(recorded_step, "WARM_UP_STEPS", 1)
    costs["a recorded step of 2 frames"], _ = trained(2, "--model.cuda_graphs=true", HARD_TO_THE_END)
    avatar = load_avatar(checkpoint, device="cuda:0")
    view = avatar.default_view().resized(512, 512)
    avatar.render(view.resized(16, 16))  # makes meshes that later pictures only move
    cuda.clear()
    avatar.render(view)
    costs["a picture of 512x512"] = cuda.copy()
    for title, cost in costs.items():
        show(title, cost.text())

    found = {title: numbers(cost) for title, cost in costs.items()}
    two, four = (found[f"a step of {frames} frames"] for frames in (2, 4))
    assert all(four[name] - two[name] <= 2 * more for name, more in A_FRAME.items()), (two, four)
    lines = "\n".join(f'    "{title}": {cost},'.replace("'", '"') for title, cost in found.items())
    for title, recorded in RECORDED.items():
        for name, most in recorded.items():
            assert found[title][name] <= most, f"{title}: more {name} than {most}\n{costs[title].text()}"
    assert found == RECORDED, f"less than recorded, which is good: lower RECORDED in {__file__} to\n{lines}"
