"""Steps that are not finite are skipped, counted and explained, and end training when they do not stop."""

import csv
from pathlib import Path

import pytest
import torch

from partnerface.cli.main import main
from partnerface.losses.photometric import Photometric
from partnerface.training.finite_steps import (
    Diverged,
    FiniteSteps,
    SkippedSteps,
    clipped_norm,
    poison_gradient,
    what_is_not_finite,
)
from partnerface.training.module import AvatarModule
from partnerface.training.resume.run_checkpoint import last_checkpoint


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_loss_that_is_not_finite_shows_in_the_gradient(value: float) -> None:
    weight = torch.ones(3, requires_grad=True)
    # The gradient of the sum alone is finite.
    poison_gradient(weight.sum() + value).backward()
    assert not torch.isfinite(clipped_norm([weight], 1.0))


@pytest.mark.parametrize("limit", [0.0, 0.5])
def test_a_finite_loss_keeps_its_gradient_to_the_bit(limit: float) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(50, generator=generator)
    expected = values.clone().requires_grad_()
    expected.pow(3).sum().backward()
    norm = expected.grad.norm()
    found = values.clone().requires_grad_()
    poison_gradient(found.pow(3).sum()).backward()
    assert torch.equal(found.grad, expected.grad)
    torch.testing.assert_close(clipped_norm([found, torch.ones(2)], limit), norm)
    assert torch.equal(found.grad, expected.grad) == (limit == 0)


def test_the_frames_and_terms_at_fault_are_named() -> None:
    weight = torch.ones((), requires_grad=True)

    def objective(k: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        term = [weight, weight * torch.nan, weight, (weight - 1).sqrt(), weight + torch.inf][k]
        return term, {"matte": torch.ones(()), "photometric": term.detach() if k == 1 else torch.ones(())}

    found = what_is_not_finite([7, 8, 9, 10, 11], objective, [weight, torch.ones(2, requires_grad=True)])
    assert found == (
        "photometric of frame 8 and the gradient of frame 10 and the loss of frame 11 is not a finite number"
    )
    assert what_is_not_finite([7], objective, [weight]) == ""


def test_it_gives_up_after_so_many_in_a_row() -> None:
    skipped = SkippedSteps(limit=3)
    for _ in range(2):
        skipped.skip(5, "x")
    skipped.in_a_row = 0
    for _ in range(2):
        skipped.skip(6, "x")
        skipped.check()
    assert skipped.skip(6, "matte of frame 4") == "step 6 skipped: matte of frame 4 (5 skipped so far)"
    with pytest.raises(Diverged, match="3 steps in a row were skipped, the last because matte of frame 4"):
        skipped.check()


def test_many_skipped_steps_are_not_all_told() -> None:
    skipped = SkippedSteps(limit=10**6)
    told = [k for k in range(1, 301) if skipped.skip(k, "x")]
    assert told == [*range(1, 21), 100, 200, 300]


def _fit(arguments: list[str], run: Path, *flags: str) -> int:
    flags = [
        "--trainer.max_steps=12",
        "--trainer.limit_val_batches=0",
        "--trainer.log_every_n_steps=1",
        *flags,
    ]
    return main(["fit", *arguments, *flags, f"--run_dir={run}"])


@pytest.fixture
def spoiled_frames(monkeypatch) -> set[int]:
    """Frames whose photometric loss is NaN."""
    spoiled: set[int] = set()
    photometric = Photometric.forward

    def spoil(loss: Photometric, rendered, batch):
        value = photometric(loss, rendered, batch)
        return value * torch.nan if spoiled & set(batch.frame_index.tolist()) else value

    monkeypatch.setattr(Photometric, "forward", spoil)
    return spoiled


@pytest.mark.parametrize("flags", [[], ["--model.learning_rates.torso=0"]])
def test_a_spoiled_frame_is_left_out(
    smoke_arguments: list[str], tmp_path: Path, spoiled_frames: set[int], capsys, flags: list[str]
) -> None:
    """Also where the optimizer has nothing to do with some of the parameters."""
    spoiled_frames.add(5)
    assert _fit(smoke_arguments, tmp_path, *flags) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "skipped:" in line]
    checkpoint = torch.load(last_checkpoint(tmp_path), weights_only=True)
    assert len(lines) == checkpoint["skipped_steps"] >= 1
    assert all("photometric of frame 5 is not a finite number" in line for line in lines)
    assert checkpoint["global_step"] == 12
    values = checkpoint["state_dict"]
    assert all(torch.isfinite(v).all() for k, v in values.items() if "occupancy" not in k)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    counts = [float(row["value"]) for row in rows if row["name"] == "train/skipped_steps"]
    assert counts[0] <= 1
    assert counts[-1] == len(lines)
    assert all(row["value"] not in ("nan", "inf") for row in rows)


def test_training_that_diverges_stops_with_the_reason_and_a_good_checkpoint(
    smoke_arguments: list[str], tmp_path: Path, spoiled_frames: set[int], capsys, monkeypatch
) -> None:
    weights: list[torch.Tensor] = []
    step = AvatarModule.training_step

    def watched(module: AvatarModule, batch, batch_idx: int) -> None:
        if batch_idx == 3:
            spoiled_frames.update(range(100))
            weights.append(module.avatar.field.grid.tables.detach().clone())
        step(module, batch, batch_idx)

    monkeypatch.setattr(AvatarModule, "training_step", watched)
    assert _fit(smoke_arguments, tmp_path, "--model.skipped_in_a_row=4") == 2
    line = next(x for x in capsys.readouterr().err.splitlines() if "diverged" in x)
    assert "4 steps in a row were skipped, the last because photometric of frame" in line
    checkpoint = torch.load(last_checkpoint(tmp_path), weights_only=True)
    assert (checkpoint["global_step"], checkpoint["skipped_steps"]) == (3, 4)
    assert torch.equal(checkpoint["state_dict"]["avatar.field.grid.tables"], weights[0])
    spoiled_frames.clear()
    monkeypatch.setattr(AvatarModule, "training_step", step)
    assert _fit(smoke_arguments, tmp_path, "--ckpt_path=last") == 0


def test_an_infinite_gradient_alone_is_found_too(
    smoke_arguments: list[str], tmp_path: Path, capsys, monkeypatch
) -> None:
    objective = AvatarModule._objective

    def steep(module: AvatarModule, batch):
        total, terms = objective(module, batch)
        if 5 in batch.frame_index.tolist():
            weight = module.avatar.deformation.features[0].weight
            # Zero, with an infinite slope.
            total = total + (weight - weight.detach()).abs().sum().sqrt()
        return total, terms

    monkeypatch.setattr(AvatarModule, "_objective", steep)
    assert _fit(smoke_arguments, tmp_path) == 0
    assert "the gradient of frame 5 is not a finite number" in capsys.readouterr().err


def _as_on_a_gpu(monkeypatch) -> None:
    """The host looks at the steps that are logged; the fused optimizer has the same check on a CPU."""
    monkeypatch.setattr(FiniteSteps, "checks_itself", lambda steps, optimizer: True)
    logged = lambda module: module.trainer._logger_connector.should_update_logs  # noqa: E731
    monkeypatch.setattr(AvatarModule, "looks_at_step", logged)


def test_an_optimizer_that_checks_itself_leaves_the_weights_alone(
    smoke_arguments: list[str], tmp_path: Path, spoiled_frames: set[int], monkeypatch, capsys
) -> None:
    spoiled_frames.add(5)
    _as_on_a_gpu(monkeypatch)
    before: list[list[torch.Tensor]] = []
    made = FiniteSteps.make

    def watched(steps, optimizer, norm, step, look, reason):
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        weights = [p.detach().clone() for p in trained]
        result = made(steps, optimizer, norm, step, look, reason)
        same = all(torch.equal(p, w) for p, w in zip(trained, weights, strict=True))
        (batch,) = reason.args
        assert same == (5 in batch.frame_index.tolist()) == (not torch.isfinite(norm))
        before.append(weights)
        return result

    monkeypatch.setattr(FiniteSteps, "make", watched)
    assert _fit(smoke_arguments, tmp_path, "--trainer.log_every_n_steps=4", "--trainer.max_steps=14") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "skipped:" in line]
    checkpoint = torch.load(last_checkpoint(tmp_path), weights_only=True)
    assert len(before) == checkpoint["global_step"] == 14
    assert checkpoint["skipped_steps"] >= 1
    assert lines
    assert all("the gradient was not a finite number in" in line for line in lines)
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())


def test_an_optimizer_that_checks_itself_gives_up_too(
    smoke_arguments: list[str], tmp_path: Path, spoiled_frames: set[int], monkeypatch, capsys
) -> None:
    spoiled_frames.update(range(24))
    _as_on_a_gpu(monkeypatch)
    flags = ["--trainer.log_every_n_steps=4", "--trainer.max_steps=40", "--model.skipped_in_a_row=10"]
    assert _fit(smoke_arguments, tmp_path, *flags) == 2
    error = capsys.readouterr().err
    assert "training diverged: 12 steps in a row were skipped, the last because the gradient was not" in error
    # The host looks at the last of four steps alone.
    assert "in 4 of the last 4 steps, in the last because photometric of frame" in error
