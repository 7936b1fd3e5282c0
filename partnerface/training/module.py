"""AvatarModule: how an avatar is trained and evaluated."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer

from partnerface import __version__
from partnerface.avatar.avatar import Avatar
from partnerface.avatar.method import AvatarMethod
from partnerface.avatar.picture import Picture
from partnerface.cameras.pinhole import pixel_rays
from partnerface.compute.cuda_support import use_exact_float32
from partnerface.compute.network_types import spare_emulation
from partnerface.compute.process_settings import keep_freed_memory
from partnerface.compute.ranges import Between
from partnerface.compute.threads import own_generator, sharded_backward, single_threaded_pool
from partnerface.data.batches.datasets import EvaluationFrame, RayBatch, rays_of_frame
from partnerface.data.batches.pixel_samplers import RegionWeightedPixels
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.data.sequence import TrackedSequence, check_head_model
from partnerface.data.view import View
from partnerface.deformation.oracle import OracleDeformation
from partnerface.errors import UserError
from partnerface.evaluation.image_metric import ImageMetric
from partnerface.evaluation.metrics import chosen_metrics
from partnerface.evaluation.pictures import Prediction
from partnerface.head_models.head_parameters import HeadParameters, ParameterRefinement
from partnerface.losses.loss import Loss, weighted_sum
from partnerface.training.distributed import of_every_process, with_all_parameters
from partnerface.training.finite_steps import (
    FiniteSteps,
    clipped_norm,
    poison_gradient,
    what_is_not_finite,
)
from partnerface.training.frame_refinement import RAYS, REFINEMENT_STEPS, frozen, refined_parameters
from partnerface.training.optimisation import LearningRates, adamw, cosine_factor, parameter_groups
from partnerface.training.recorded_step import RecordedStep
from partnerface.training.resume.trained_on import TRAINED_ON, require_same_division, trained_on
from partnerface.training.start_from import start_from

DEFAULT_RATES = LearningRates()


class AvatarModule(LightningModule):
    """Trains an avatar on the rays of one tracked video and evaluates it on full frames.

    Optimisation is manual: on a CPU slices of a batch run forward and backward in threads. Validation and
    test steps return a `Prediction`; the callback `EvaluationReport` scores and logs them.

    Args:
        avatar: what is trained.
        losses: the complete objective; a term is logged as ``train/loss/<name>``, also at weight 0.
        optimizer: made from the parameter groups; `adamw` with its tuned values if None.
        learning_rates: by kind of parameter; a cosine schedule with a short warm-up scales them all.
        num_frames: frames of the sequence, linked from the data.
        refine_tracking: learn small corrections of pose and expression for the training frames. They
            never reach validation or test.
        test_parameters: ``strict``: a test takes the tracked parameters as they are; ``refined``: it fits
            those of each test frame to its picture first, and says so in all that it writes.
        start_from: checkpoint, or folder of a run, of an avatar of the same dataset, of which a new training
            takes field and torso but not the deformation; without effect on a training that is continued.
        refinement_prior: weight of the corrections' squared size.
        gradient_clip: largest norm of the gradient; 0 turns it off.
        cpu_threads: slices of a batch that run at once on a CPU.
        skipped_in_a_row: number of consecutive steps skipped, because loss or gradient is not finite, after
            which training ends.
        metrics: image metrics to compute in tests and validation beside the default ones, or in their
            place, by the name under which they are reported; null leaves out the metric of that name.
        compile_networks: compile the radiance field with torch.compile before training. It takes half a
            minute and needs a C++ compiler on a CPU.
        cuda_graphs: on a single GPU, record the gradients of a step as a CUDA graph and replay it, see
            `RecordedStep`; without effect on a CPU.

    Raises:
        UserError: no loss has a weight, or networks are to be compiled without a compiler.
    """

    def __init__(
        self,
        avatar: AvatarMethod,
        losses: dict[str, Loss],
        optimizer: OptimizerCallable | None = None,
        learning_rates: LearningRates = DEFAULT_RATES,
        num_frames: int = 1,
        refine_tracking: bool = False,
        test_parameters: Literal["strict", "refined"] = "strict",
        start_from: Path | None = None,
        refinement_prior: Between[float, 0, 1e6] = 1e-3,
        gradient_clip: Between[float, 0, 1e6] = 1.0,
        cpu_threads: Between[int, 1, 1024] = 2,
        skipped_in_a_row: Between[int, 1, 10**9] = 10,
        metrics: dict[str, ImageMetric | None] | None = None,
        compile_networks: bool = False,
        cuda_graphs: bool = False,
    ) -> None:
        super().__init__()
        # A path of this machine, and what it names has become part of the weights.
        self.save_hyperparameters(ignore=["start_from"])
        self.automatic_optimization = False
        self.avatar = avatar
        if not any(loss.weight for loss in losses.values()):
            raise UserError("model.losses: no term has a weight above 0, so that nothing would be trained")
        self.losses = nn.ModuleDict(losses)
        # Not a ModuleDict: a metric's network is neither trained nor saved.
        self.metrics = chosen_metrics(metrics)
        self.refinement = (
            ParameterRefinement(num_frames, avatar.head_model.num_expression) if refine_tracking else None
        )
        self.make_optimizer = optimizer or adamw
        self.learning_rates = learning_rates
        self.test_parameters, self.start_from = test_parameters, start_from
        self.trained_steps = 0
        self.refinement_prior = refinement_prior
        self.gradient_clip = gradient_clip
        self.cpu_threads = cpu_threads
        if compile_networks and not any(shutil.which(name) for name in ("g++", "clang++", "cl")):
            raise UserError("--model.compile_networks: needs a C++ compiler; install g++, or leave it out")
        self.compiles_networks, self.cuda_graphs = compile_networks, cuda_graphs
        self.recorded_step: RecordedStep | None = None
        self._wants_all_terms = True
        self.elapsed_shares: dict[str, float] = {}
        self.finite_steps = FiniteSteps(skipped_in_a_row)
        self._pool: ThreadPoolExecutor | None = None
        self._sequence: TrackedSequence | None = None
        self._refined: dict[int, HeadParameters] = {}

    def setup(self, stage: str) -> None:
        """Check that data and head model belong together, and fit the avatar's buffers to the person.

        Raises:
            UserError: they do not, the trainer's precision is not float32, or a GPU has to be deterministic.
        """
        if self.trainer.precision != "32-true":
            # The commands have translated what they can, see `with_network_types`.
            raise UserError(
                f"--trainer.precision {self.trainer.precision}: points and rays need 32-true; for networks "
                "give --model.avatar.init_args.field.init_args.bfloat16=true or float16=true"
            )
        if self.device.type == "cuda":
            if torch.are_deterministic_algorithms_enabled():
                raise UserError(
                    "--trainer.deterministic: lookups and compositing have no repeatable kernels on a GPU; "
                    "choose --trainer.accelerator cpu, or leave it out"
                )
            use_exact_float32()
            spare_emulation(self.avatar, self.device, say=self.trainer.is_global_zero)
        data = self.trainer.datamodule
        if self._sequence is data.sequence:
            return
        check_head_model(data.sequence, self.avatar.head_model)
        self.avatar.adapt_to(replace(data.sequence, camera=data.camera))
        self._give_truth_to_oracle(data)
        self._sequence = data.sequence

    def _give_truth_to_oracle(self, data: HeadVideoDataModule) -> None:
        """The one way by which the true motion reaches an avatar: to the yardstick of the benchmarks.

        Raises:
            UserError: the motion of the dataset is not known.
        """
        if not isinstance(self.avatar, Avatar) or not isinstance(self.avatar.deformation, OracleDeformation):
            return
        truth = data.reader.true_motion()
        if truth is None:
            raise UserError(
                f"dataset {data.reader.root}: its true motion is not known, so that there is no oracle; "
                "choose an embedded subject or another method"
            )
        # Before training the avatar is not yet on the module's device.
        head = data.sequence.head.to(self.avatar.identity.device)
        with torch.no_grad():
            self.avatar.deformation.set_truth(truth, self.avatar.driving(head))

    def configure_optimizers(self) -> Optimizer:
        groups = parameter_groups(self.avatar.parameter_kinds(), self.refinement, self.learning_rates)
        try:
            return self.make_optimizer(groups)
        except (TypeError, ValueError) as error:
            raise UserError(f"model.optimizer: {error}") from error

    def on_fit_start(self) -> None:
        # A training that is continued has the weights of its checkpoint by now.
        if self.start_from is not None and self.trainer.ckpt_path is None:
            start_from(self.avatar, self.start_from)
        if self.trainer.is_global_zero and self.trainer.datamodule.patch_side:
            absent = {name: loss.missing() for name, loss in self.losses.items() if loss.weight}
            for name, missing in absent.items():
                if missing:
                    print(f"partnerface: training without model.losses.{name}: {missing}", file=sys.stderr)
        if self.compiles_networks:
            self.avatar.compile_networks()
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.trainer.world_size == 1 and self.device.type == "cpu" and self.cpu_threads > 1:
            self._pool = single_threaded_pool(self.cpu_threads)
        if self.trainer.world_size == 1 and self.device.type == "cuda" and self.cuda_graphs:
            self.recorded_step = RecordedStep(self._gradients, self._trained())

    def on_fit_end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self.recorded_step = None

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False):
        """Load weights.

        Raises:
            UserError: they belong to another architecture or to another video.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            detail = " ".join(str(error).split()[:30])
            raise UserError(
                "the checkpoint does not fit this avatar and dataset; use the config.yaml beside it "
                f"({detail})"
            ) from error

    @property
    def progress(self) -> float:
        """Share of training that is done: of its steps or of a budget, whichever is largest."""
        limit = self.trainer.max_steps
        return max([self.global_step / limit if limit > 0 else 0.0, *self.elapsed_shares.values()])

    def training_step(self, batch: RayBatch, batch_idx: int) -> None:
        optimizer = self.optimizers()
        stage = self.avatar.training_schedule(self.progress)
        factor = cosine_factor(self.progress)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        # Not those of the optimizer alone, which has no parameters of a kind with a rate of 0.
        self.zero_grad(set_to_none=True)
        # A recorded step is the same program every time.
        self._wants_all_terms = self.recorded_step is not None or self.looks_at_step()
        terms = (
            self._gradients(batch) if self.recorded_step is None else dict(self.recorded_step(batch, stage))
        )
        look = self.looks_at_step()
        if look:
            self.log("train/skipped_steps", float(self.finite_steps.skipped.total))
        reason = partial(self._what_is_not_finite, batch)
        if self.finite_steps.make(optimizer, terms.pop("norm"), self.global_step, look, reason) and look:
            mean_square = terms.pop("mean_square")
            self.log("train/psnr", -10 * torch.log10(mean_square.clamp_min(1e-10)))
            # A recorded step writes its numbers to the same place every time.
            self.log_dict({f"train/loss/{name}": value.clone() for name, value in terms.items()})
            self.log("train/learning_rate_factor", factor)

    def looks_at_step(self) -> bool:
        """True if this step is logged."""
        return self.trainer._logger_connector.should_update_logs

    def _gradients(self, batch: RayBatch) -> dict[str, Tensor]:
        """Clipped gradients of the batch's mean loss; returns its detached terms and the gradients' norm."""
        scale = self.avatar.loss_scale
        terms = self._backward(batch, scale)
        if scale != 1:
            torch._foreach_mul_([p.grad for p in self._trained() if p.grad is not None], 1 / scale)
        return {**terms, "norm": clipped_norm(self._trained(), self.gradient_clip)}

    def _backward(self, batch: RayBatch, scale: float = 1.0) -> dict[str, Tensor]:
        """Gradients of ``scale`` times the batch's mean loss; returns its detached terms."""
        shards = batch.split(self.cpu_threads if self._pool is not None else 1)
        count = len(shards)
        shares = [shard.alpha.numel() / batch.alpha.numel() for shard in shards]
        collected: list[dict[str, Tensor]] = [{} for _ in shards]

        def objective(k: int) -> Tensor:
            total, terms = self._objective(shards[k])
            collected[k] = terms
            total, factor = poison_gradient(total), scale * shares[k]
            return total if factor == 1 else factor * total

        def in_thread(k: int, seed: int) -> Tensor:
            with own_generator(seed):
                return objective(k)

        if count > 1:
            seeds = torch.randint(2**31, (count,)).tolist()
            work = [partial(in_thread, k, seed) for k, seed in enumerate(seeds)]
            sharded_backward(work, count, self._pool)
        else:
            total = objective(0)
            if self.trainer.world_size > 1:
                total = with_all_parameters(total, self._trained())
            self.manual_backward(total)
            return collected[0]
        values = [
            share * torch.stack([*terms.values()]) for share, terms in zip(shares, collected, strict=True)
        ]
        return dict(zip(collected[0], sum(values).unbind(), strict=True))

    def _objective(self, batch: RayBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of some frames, and its detached terms by name.

        For a step that the host looks at, those of weight 0 and the mean squared colour error are among them.
        """
        view = batch.view
        if self.refinement is not None:
            view = replace(view, head=self.refinement(view.head, batch.frame_index))
        rendered = self.avatar(pixel_rays(view.camera, batch.pixels), view, batch.frame_index)
        total, terms = weighted_sum(self.losses, rendered, batch, self._wants_all_terms)
        if torch.is_grad_enabled() and not total.requires_grad:
            raise UserError("model.losses: no term with a weight depends on what is trained; add photometric")
        detached = {name: value.detach() for name, value in terms.items()}
        if self.refinement is not None:
            size = self.refinement.size(batch.frame_index)
            total, detached["refinement"] = total + self.refinement_prior * size, size.detach()
        if self._wants_all_terms:
            error = (rendered.rays.over(batch.background) - batch.target()).detach()
            detached["mean_square"] = error.square().mean()
        return total, detached

    def _what_is_not_finite(self, batch: RayBatch) -> str:
        """Terms and frames of a batch, over all processes, that are not finite."""

        def objective(k: int) -> tuple[Tensor, dict[str, Tensor]]:
            total, terms = self._objective(batch.select(torch.tensor([k])))
            terms.pop("mean_square", None)
            return self.avatar.loss_scale * total, terms

        found = what_is_not_finite(batch.frame_index.tolist(), objective, self._trained())
        reason = "; ".join(filter(None, of_every_process(found)))
        return reason or "the gradient of all frames together is not a finite number"

    def _trained(self) -> list[Tensor]:
        return [p for p in self.parameters() if p.requires_grad]

    def on_train_batch_end(self, outputs: Any, batch: RayBatch, batch_idx: int) -> None:
        # Between two steps a checkpoint can be written.
        self.finite_steps.skipped.check()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["partnerface_version"] = __version__
        self.finite_steps.report(self.global_step)
        checkpoint["skipped_steps"] = self.finite_steps.skipped.total
        checkpoint[TRAINED_ON] = trained_on(self.trainer.datamodule)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        require_same_division(checkpoint, self.trainer.datamodule)
        self.finite_steps.skipped.total = checkpoint.get("skipped_steps", 0)
        self.trained_steps = checkpoint["global_step"]

    def render(self, frame: EvaluationFrame, with_parts: bool = False) -> Prediction:
        """Render a whole frame from its tracked parameters as they are, without refinement in training.

        While a test with refined parameters runs, its frames have those instead.
        """
        picture = self.avatar.render(self._evaluated(frame), with_parts=with_parts)
        return Prediction.of(frame, picture)

    def validation_step(self, batch: EvaluationFrame, batch_idx: int) -> Prediction:
        return self.render(batch)

    test_step = validation_step

    def on_test_end(self) -> None:
        self._refined.clear()

    def add_part_weights(self, rendered: Prediction) -> Prediction:
        """The same picture with its part weights, which cost another rendering."""
        if self.avatar.parts == 1:
            return rendered
        weights = self.render(rendered.frame, with_parts=True).part_weights
        return replace(rendered, part_weights=weights)

    def canonical_surface(self, frame: EvaluationFrame, depth: Tensor) -> Tensor | None:
        """``[H, W, 3]`` canonical points of a frame's pixels, see `AvatarMethod.canonical_surface`."""
        return self.avatar.canonical_surface(self._evaluated(frame), depth)

    def _evaluated(self, frame: EvaluationFrame) -> View:
        """The view that a frame is evaluated with.

        A test with refined parameters fits those of a frame when they are first needed.
        """
        number = frame.frame_index
        if self.test_parameters == "refined" and self.trainer.testing and number not in self._refined:
            self._refined[number] = self._refine(frame)
        return replace(frame.view, head=self._refined.get(number, frame.view.head))

    def _refine(self, frame: EvaluationFrame) -> HeadParameters:
        """Fit a test frame's parameters to its picture."""
        with torch.inference_mode(False), frozen(self.avatar):
            # A test's tensors take no part in gradients; their clones do.
            view = frame.view.clone()

            def objective(batch: RayBatch, head: HeadParameters) -> Tensor:
                rays = pixel_rays(view.camera, batch.pixels)
                rendered = self.avatar(rays, replace(view, head=head))
                return weighted_sum(self.losses, rendered, batch)[0]

            batches = rays_of_frame(frame, RegionWeightedPixels(), RAYS, REFINEMENT_STEPS)
            scale = self.avatar.loss_scale
            return refined_parameters(view.head, batches, objective, self.refinement_prior, scale)

    def predict_step(self, batch: View, batch_idx: int) -> Picture:
        return self.avatar.render(batch)
