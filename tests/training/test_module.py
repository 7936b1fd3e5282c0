"""Training and evaluation of a real, small avatar on the embedded subject."""

import csv
from pathlib import Path

import pytest
import torch

from partnerface.avatar import method, voxel_map
from partnerface.cameras.pinhole import pixel_rays
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.training.module import AvatarModule


@pytest.fixture
def attached(smoke_arguments: list[str], tmp_path: Path) -> AvatarCLI:
    """Everything built with refinement, the trainer attached, nothing run."""
    flags = ["--model.refine_tracking=true", f"--run_dir={tmp_path}"]
    cli = AvatarCLI(["fit", *smoke_arguments, *flags], execute=False)
    cli.trainer.strategy.connect(cli.model)
    cli.model.trainer = cli.trainer
    cli.trainer.datamodule = cli.datamodule
    cli.model.setup("fit")
    return cli


def _gradients(module: AvatarModule, batch, in_threads: bool) -> dict[str, torch.Tensor]:
    module.zero_grad()
    if in_threads:
        module.on_fit_start()
        module._backward(batch)
        module.on_fit_end()
    else:
        for k in range(len(batch.frame_index)):
            (module._objective(batch.select(torch.tensor([k])))[0] / len(batch.frame_index)).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_threads_give_the_gradient_of_the_frames_one_by_one(attached: AvatarCLI, monkeypatch) -> None:
    module = attached.model
    batch = next(iter(attached.datamodule.train_dataloader()))
    # Every thread draws numbers of its own.
    monkeypatch.setattr(torch, "rand", lambda *size, **options: torch.full(_shape(size), 0.5))
    monkeypatch.setattr(torch, "randn", lambda *size, **options: torch.zeros(_shape(size)))
    alone, threads = _gradients(module, batch, False), _gradients(module, batch, True)
    assert alone.keys() == threads.keys()
    assert any(name.startswith("refinement") for name in alone)
    for name, gradient in alone.items():
        scale = gradient.abs().max().clamp_min(1e-6)
        torch.testing.assert_close(threads[name] / scale, gradient / scale, atol=1e-3, rtol=1e-3, msg=name)


def test_float16_networks_keep_small_gradients(attached: AvatarCLI, monkeypatch) -> None:
    """In a large batch each sample has a small share, which is zero in float16 unless it is scaled."""
    module, objective = attached.model, attached.model._objective
    batch, found = next(iter(attached.datamodule.train_dataloader())), {}

    def of_a_large_batch(batch):
        total, terms = objective(batch)
        return 2**-10 * total, terms

    monkeypatch.setattr(module, "_objective", of_a_large_batch)
    for kind, scale in ((torch.float32, 1), (torch.float16, method.LOSS_SCALE), (torch.float16, 1)):
        monkeypatch.setattr(module.avatar.field, "network_type", kind)
        monkeypatch.setattr(method, "LOSS_SCALE", scale)
        module.zero_grad()
        torch.manual_seed(0)
        norm = module._gradients(batch)["norm"]
        found[kind, scale] = norm, module.avatar.field.grid.tables.grad.flatten()
    (expected, exact), (scaled, half), (_, unscaled) = found.values()
    torch.testing.assert_close(scaled, expected, rtol=0.01, atol=0)
    assert torch.cosine_similarity(half, exact, 0) > 0.99
    assert torch.cosine_similarity(unscaled, exact, 0) < 0.5


def _shape(size: tuple) -> tuple:
    return tuple(size[0]) if size and not isinstance(size[0], int) else size


def test_evaluation_ignores_the_refinement(attached: AvatarCLI) -> None:
    """Strict test numbers use the tracked parameters as they are."""
    module, frame = attached.model.eval(), attached.datamodule.evaluation_frame(0)
    with torch.no_grad():
        before = module.render(frame)
        for parameter in module.refinement.parameters():
            parameter.fill_(0.1)
        after = module.render(frame)
    assert torch.equal(before.image, after.image)


def test_a_batch_and_a_frame_carry_all_that_is_rendered(attached: AvatarCLI) -> None:
    """Without the data they came from, objective and picture are the same."""
    module, data = attached.model, attached.datamodule
    batch, frame = next(iter(data.train_dataloader())), data.evaluation_frame(0)
    module.eval()
    expected, shown = module._objective(batch)[0], module.render(frame).image
    attached.trainer.datamodule = None
    assert torch.equal(module._objective(batch)[0], expected)
    assert torch.equal(module.render(frame).image, shown)


def test_the_default_view_of_a_trained_avatar_has_the_size_of_training(attached: AvatarCLI) -> None:
    data, view = attached.datamodule, attached.model.avatar.default_view()
    assert (view.camera.width, view.camera.height) == (data.camera.width, data.camera.height)
    expression = data.sequence.head.expression[data.sequence.splits["train"]]
    assert (expression == view.head.expression).all(1).any()


def test_a_rendered_frame_is_laid_out_like_its_image(attached: AvatarCLI) -> None:
    """A pixel of the image is the ray through that pixel, also where width and height are easily swapped."""
    module, frame = attached.model.eval(), attached.datamodule.evaluation_frame(0)
    with torch.no_grad():
        rendered = module.render(frame, with_parts=True)
        rays = pixel_rays(frame.view.camera, torch.tensor([[[9.5, 20.5]]]))
        alone = module.avatar(rays, frame.view).rays
    torch.testing.assert_close(
        rendered.image[:, 20, 9], alone.over(torch.ones(3))[0, 0], atol=1e-4, rtol=1e-3
    )
    torch.testing.assert_close(rendered.opacity[20, 9], alone.opacity[0, 0], atol=1e-4, rtol=1e-3)
    assert rendered.part_weights.shape == (32, 32, 64)
    seen = rendered.depth[rendered.depth > 0]
    # The head is closer to the camera than its joint's distance and not behind the back of the skull.
    distance = frame.view.head.translation[0].norm()
    assert ((seen - distance).abs() < 0.2).all()


def test_a_test_scores_the_picture_that_users_get(attached: AvatarCLI, monkeypatch) -> None:
    """Not one rendered sample by sample; the strip's part map comes beside it, and changes no bit of it."""
    module, frame = attached.model.eval(), attached.datamodule.evaluation_frame(0)
    monkeypatch.setattr(voxel_map, "LEAST_SAMPLES", 1)
    with torch.no_grad():
        scored, given = module.test_step(frame, 0), module.predict_step(frame.view, 0)
        again, shown = module.render(frame, with_parts=True), module.add_part_weights(scored)
        exact = module.avatar.render(frame.view, exact=True)
    assert torch.equal(scored.image, given.on_white())
    assert not torch.equal(scored.image, exact.on_white())
    assert torch.equal(shown.image, scored.image)
    assert torch.equal(again.image, scored.image)
    assert shown.part_weights.shape == (32, 32, 64)
    assert torch.equal(shown.part_weights, again.part_weights)


def test_a_single_part_costs_no_second_rendering(attached: AvatarCLI, monkeypatch) -> None:
    module, frame = attached.model.eval(), attached.datamodule.evaluation_frame(0)
    with torch.no_grad():
        rendered = module.render(frame)
    monkeypatch.setattr(module.avatar.deformation, "parts", 1)
    assert module.add_part_weights(rendered) is rendered


def test_the_objective_is_the_weighted_sum_of_its_terms(attached: AvatarCLI) -> None:
    module = attached.model
    batch = next(iter(attached.datamodule.train_dataloader()))
    total, terms = module._objective(batch)
    weights = {name: loss.weight for name, loss in module.losses.items() if name != "perceptual"}
    # The batch has no patches.
    assert set(terms) == {*weights, "refinement", "mean_square"}
    expected = sum(weights[name] * terms[name] for name in weights)
    torch.testing.assert_close(total.detach(), expected + module.refinement_prior * terms["refinement"])


def test_training_logs_every_term_and_learns(trained_run: Path) -> None:
    rows = list(csv.DictReader((trained_run / "metrics.csv").open()))
    names = {row["name"] for row in rows}
    assert {"train/psnr", "train/loss/photometric", "train/loss/matte", "train/loss/offset_size"} <= names
    assert {"val/psnr", "val/head_psnr", "val/mouth_psnr", "val/ssim"} <= names
    photometric = [float(row["value"]) for row in rows if row["name"] == "train/loss/photometric"]
    assert photometric[-1] < photometric[0]
