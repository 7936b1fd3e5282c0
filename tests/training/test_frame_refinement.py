import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from partnerface.cli.main import main
from partnerface.errors import UserError
from partnerface.head_models.head_parameters import ParameterRefinement
from partnerface.training.frame_refinement import REFINEMENT_STEPS, frozen, refined_parameters


def displaced(head, rotation, translation, expression):
    """Tracked parameters with a known error."""
    error = ParameterRefinement(1, head.expression.shape[1])
    with torch.no_grad():
        error.rotation.copy_(torch.tensor([rotation]))
        error.translation.copy_(torch.tensor([translation]))
        error.expression[0, 3] = expression
        return error(head, torch.zeros(1, dtype=torch.long))


def test_a_known_error_is_taken_back(anny, random_head_parameters) -> None:
    """The objective is the distance of vertices; what it cannot tell apart is left as tracked."""
    head = random_head_parameters(1)
    wanted = anny(head).vertices
    tracked = displaced(head, (0.01, -0.015, 0.0), (0.002, 0.0, -0.001), 0.15)

    def objective(batch, corrected):
        return 1e3 * (anny(corrected).vertices - wanted).square().sum(-1).mean()

    before = (anny(tracked).vertices - wanted).norm(dim=-1)
    with torch.inference_mode():
        found = refined_parameters(tracked, range(REFINEMENT_STEPS), objective, 1e-6)
    after = (anny(found).vertices - wanted).norm(dim=-1)
    assert after.mean() < 0.1 * before.mean()
    assert not found.expression.requires_grad
    assert torch.equal(found.identity, tracked.identity)
    assert torch.equal(found.joint_rotations, tracked.joint_rotations)


def test_the_prior_holds_parameters_where_they_were_tracked(random_head_parameters) -> None:
    tracked = random_head_parameters(1)

    def objective(batch, corrected):
        return (corrected.translation - 1.0).square().sum()

    free = refined_parameters(tracked, range(REFINEMENT_STEPS), objective, 0.0)
    held = refined_parameters(tracked, range(REFINEMENT_STEPS), objective, 1e3)
    moved = [(h.translation - tracked.translation).abs().max() for h in (free, held)]
    assert moved[0] > 20 * moved[1]


def test_divergence_is_one_line(random_head_parameters) -> None:
    with pytest.raises(UserError, match="refining a test frame diverged"):
        refined_parameters(
            random_head_parameters(1), range(2), lambda batch, head: head.translation.sum() / 0, 0.0
        )


def test_frozen_modules_take_no_gradient_and_learn_again_after() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    module[0].bias.requires_grad_(False)
    seen = []

    def fail() -> None:
        with frozen(module):
            seen.append(module(torch.ones(1, 2)).requires_grad)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [False]
    assert [p.requires_grad for p in module.parameters()] == [True, False, True, True]


@pytest.fixture(scope="module")
def refined_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a run that is tested with refined parameters after it was tested with strict ones."""
    run = tmp_path_factory.mktemp("refined") / "run"
    shutil.copytree(trained_run, run)
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    flags = ["--run_dir", str(run), "--model.test_parameters=refined"]
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", checkpoint, *flags]) == 0
    return run


def test_refined_scores_lie_beside_the_strict_ones(trained_run: Path, refined_run: Path) -> None:
    reports = {}
    for parameters, name in (("strict", "metrics.json"), ("refined", "metrics_refined.json")):
        reports[parameters] = json.loads((refined_run / name).read_text())
        protocol = reports[parameters]["protocol"]
        assert protocol["test_parameters"] == parameters
        assert (protocol["refinement"] is None) == (parameters == "strict")
    for name in ("metrics.json", "comparison.mp4", "strip.png"):
        assert (refined_run / name).read_bytes() == (trained_run / name).read_bytes(), name
    for name in ("comparison_refined.mp4", "strip_refined.png"):
        assert (refined_run / name).is_file()
    strict, refined = (r["splits"]["temporal"] for r in reports.values())
    # An avatar of six steps need not gain; `test_a_known_error_is_taken_back` has a head that does.
    assert refined["head_mask"]["psnr"] != strict["head_mask"]["psnr"]
    assert refined["nearest_frame"] == strict["nearest_frame"]


def test_refinement_leaves_the_avatar_and_strict_renders_alone(trained_run: Path, tmp_path: Path) -> None:
    from partnerface.configuration.avatar_cli import AvatarCLI

    config = ["--config", str(trained_run / "config.yaml"), "--model.test_parameters=refined"]
    cli = AvatarCLI(["test", *config, f"--run_dir={tmp_path}"], execute=False)
    state = torch.load(trained_run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    cli.trainer.test(
        cli.model,
        datamodule=cli.datamodule,
        ckpt_path=trained_run / "checkpoints" / "last.ckpt",
        weights_only=True,
    )
    found = cli.model.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    frozen = {name for name, p in cli.model.avatar.named_parameters() if not p.requires_grad}
    # The parts stay where they were placed.
    assert all(name.startswith("deformation.assigner.") for name in frozen)
    frame = cli.datamodule.evaluation_frame(cli.datamodule.test_frames[0])
    after = cli.model.render(frame).image
    cli.model._refined[frame.frame_index] = cli.model._refine(frame)
    assert not torch.equal(cli.model.render(frame).image, after)
    cli.model.on_test_end()
    assert torch.equal(cli.model.render(frame).image, after)
