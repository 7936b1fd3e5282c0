"""Training steps replayed from a CUDA graph end where steps that were made one by one do."""

import pytest
import torch

from partnerface.benchmarks.method_under_test import OURS
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.training import recorded_step
from partnerface.training.recorded_step import RecordedStep
from tests.cuda.pretended.conftest import PRUNING
from tests.cuda.pretended_graphs import capturing

STEPS = 8
STAGES = ("--model.avatar.init_args.warm_up=0.5", "--data.patch_side=6", "--data.patches_from=0.75")
ANNEALED = "--model.avatar.deformation.init_args.temperature_schedule=annealed"
SCHEDULED = {
    # The stage of hard parts ends, temperature and frequencies change, and patches begin, while steps are
    # replayed.
    OURS: (*STAGES, ANNEALED),
    "lit_part_blendshapes": (*STAGES, ANNEALED),
    "part_networks": (*STAGES, ANNEALED, "--model.avatar.deformation.init_args.windowed_frequencies=true"),
    "nerface": (),
}
LONG = ("--trainer.limit_val_batches=0", f"--trainer.max_steps={STEPS}", "--model.refine_tracking=true")


def trained(words: list[str]) -> tuple[AvatarCLI, dict[str, torch.Tensor]]:
    cli = AvatarCLI(["fit", *words], execute=False)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return cli, {name: value.cpu() for name, value in cli.model.state_dict().items()}


@pytest.mark.parametrize("method", SCHEDULED)
def test_they_end_where_the_others_do(cuda, random_lpips, arguments, tmp_path, monkeypatch, capsys, method):
    """Pruned in every step, with corrections of the tracked parameters, through both stages and patches."""
    replayed, kept = [], []
    monkeypatch.setattr(recorded_step, "WARM_UP_STEPS", 1)
    record = RecordedStep._record
    monkeypatch.setattr(
        RecordedStep, "_record", lambda self, batch: kept.append(len(self._recordings)) or record(self, batch)
    )
    graph = torch.cuda.CUDAGraph
    monkeypatch.setattr(graph, "replay", lambda self, real=graph.replay: (replayed.append(self), real(self)))
    flags = [*LONG, PRUNING, *SCHEDULED[method]]
    _, expected = trained(arguments(method, tmp_path / "usual", *flags))
    assert not replayed
    cli, found = trained(arguments(method, tmp_path / "recorded", *flags, "--model.cuda_graphs=true"))
    assert cli.trainer.global_step == STEPS
    # Of each stage one step is made as usual.
    stages = 3 if SCHEDULED[method] else 1
    assert len({*map(id, replayed)}) == stages
    assert len(replayed) == STEPS - stages
    # The memory of a stage's recording is free when the next is recorded.
    assert kept == [0] * stages
    # Whatever another thread does meanwhile, as that of a loader that pins memory, breaks no capture.
    assert {graph.error_mode for graph in replayed} == {"thread_local"}
    assert "not recorded" not in capsys.readouterr().err
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("fault", ["waits", "differs"])
def test_a_step_that_cannot_be_recorded(cuda, arguments, tmp_path, monkeypatch, capsys, fault):
    """It is made as usual: one in which the host waits, and one with a number of the host's that changes."""
    monkeypatch.setattr(recorded_step, "WARM_UP_STEPS", 1)
    words = arguments(OURS, tmp_path / "run", *LONG[:1], "--trainer.max_steps=3", "--model.cuda_graphs=true")
    cli = AvatarCLI(["fit", *words], execute=False)
    objective = cli.model._objective

    def disturbed(batch):
        total, terms = objective(batch)
        if fault == "waits":
            float(total.detach())
        elif capturing():
            total = 2 * total
        return total, terms

    monkeypatch.setattr(cli.model, "_objective", disturbed)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    said = capsys.readouterr().err
    assert said.count("steps are not recorded as a CUDA graph") == 1
    assert {"waits": "not permitted when stream is capturing", "differs": "differ by 100"}[fault] in said
    assert cli.trainer.global_step == 3
    assert all(parameter.isfinite().all() for parameter in cli.model.parameters())
