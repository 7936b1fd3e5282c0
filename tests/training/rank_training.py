"""One process of a short training and test; run as a script in every process, or called in one.

usage: rank_training.py JSON, with
    arguments: words of `partnerface fit`
    out: folder for what each process saw
    spoiled: a frame whose loss is NaN
"""

import json
import sys
import urllib.error
from pathlib import Path

import torch
from lightning.pytorch import Callback

from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.losses.photometric import Photometric


class Probe(Callback):
    """Notes what a process trains on, and its first gradient."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.pixels: list[torch.Tensor] = []
        self.seeds: list[int] = []
        self.gradient: dict[str, torch.Tensor] = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.frames += batch.frame_index.tolist()
        self.pixels += list(batch.pixels)
        self.seeds.append(torch.initial_seed())

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        if not self.gradient:
            gradients = ((name, p.grad) for name, p in pl_module.named_parameters())
            self.gradient = {name: g.clone() for name, g in gradients if g is not None}


def spoil(frame: int) -> None:
    photometric = Photometric.forward

    def spoiled(loss, rendered, batch):
        value = photometric(loss, rendered, batch)
        return value * torch.nan if frame in batch.frame_index.tolist() else value

    Photometric.forward = spoiled


def no_downloads(*args, **options) -> None:
    raise urllib.error.URLError("tests do not download")


def train(arguments: list[str]) -> tuple[AvatarCLI, Probe]:
    """Fit without jitter, so that processes can be compared."""
    cli, probe = AvatarCLI(["fit", *arguments], execute=False), Probe()
    cli.trainer.callbacks.append(probe)
    cli.model.avatar.sampler.eval()
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return cli, probe


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    torch.hub.urlopen = no_downloads
    spoil(asked["spoiled"])
    cli, probe = train(asked["arguments"])
    seen = {
        "frames": probe.frames,
        "pixels": probe.pixels,
        "seeds": probe.seeds,
        "gradient": probe.gradient,
        "weights": cli.model.state_dict(),
        "skipped": cli.model.finite_steps.skipped.total,
    }
    torch.save(seen, Path(asked["out"]) / f"rank{cli.trainer.global_rank}.pt")
    cli.trainer.test(cli.model, datamodule=cli.datamodule)
