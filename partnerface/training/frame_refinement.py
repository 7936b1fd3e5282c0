"""Refined test parameters: pose and expression of one frame, fitted to its picture with the avatar frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from partnerface.data.batches.datasets import RayBatch
from partnerface.errors import UserError
from partnerface.head_models.head_parameters import HeadParameters, ParameterRefinement
from partnerface.training.optimisation import cosine_factor

REFINEMENT_STEPS = 40
RAYS = 1024
"""Rays of a step, drawn as in training."""

LEARNING_RATES = {"rotation": 0.002, "translation": 0.0003, "expression": 0.02}
"""Learning rate of Adam, about the largest step, in radians, metres and coefficients."""

REFINEMENT_DEFINITION = (
    f"rotation, translation and expression of each test frame fitted to its own picture, apart from every "
    f"other frame, with the avatar frozen: {REFINEMENT_STEPS} steps of Adam on {RAYS} rays by the training "
    "objective and the prior --model.refinement_prior; torso motion, angular velocity, gaze and camera "
    "as tracked"
)


def refined_parameters(
    head: HeadParameters,
    batches: Iterable[RayBatch],
    objective: Callable[[RayBatch, HeadParameters], Tensor],
    prior: float,
    loss_scale: float = 1.0,
) -> HeadParameters:
    """Fit corrections of one frame's parameters.

    The technique is that of PointAvatar's evaluation (Zheng et al. 2023): it takes the tracker's error
    out of the score, at the price of having seen the test picture.

    Args:
        head: tracked parameters of one frame; the corrected ones are returned, without gradient.
        batches: rays of the frame, one batch a step.
        objective: loss of a batch under given parameters, a scalar.
        prior: weight of the corrections' squared size, see `ParameterRefinement.size`.
        loss_scale: factor on the loss, taken out of the gradients again, see `AvatarMethod.loss_scale`.

    Raises:
        UserError: the loss is not a finite number.
    """
    with torch.inference_mode(False), torch.enable_grad():
        corrections = ParameterRefinement(1, head.expression.shape[1]).to(head.rotation.device)
        frame = torch.zeros(1, dtype=torch.long, device=head.rotation.device)
        groups = [
            {"params": [getattr(corrections, name)], "lr": rate, "base_lr": rate}
            for name, rate in LEARNING_RATES.items()
        ]
        optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
        for step, batch in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * cosine_factor(step / REFINEMENT_STEPS, warm_up=0.0)
            optimizer.zero_grad()
            loss = objective(batch, corrections(head, frame)) + prior * corrections.size(frame)
            if not torch.isfinite(loss):
                raise UserError(
                    "refining a test frame diverged; train the avatar again with a lower learning rate, or "
                    "give --model.test_parameters strict"
                )
            (loss_scale * loss).backward()
            torch._foreach_div_([p.grad for p in corrections.parameters() if p.grad is not None], loss_scale)
            optimizer.step()
        with torch.no_grad():
            return corrections(head, frame)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No parameter of a module takes part in gradients."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
