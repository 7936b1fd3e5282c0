"""ComputeBudget: what every method may spend on training."""

from __future__ import annotations

from dataclasses import dataclass

from partnerface.training.callbacks.cpu_budget import CpuBudget
from partnerface.user_error import UserError

CPU_BUDGET = f"{CpuBudget.__module__}.{CpuBudget.__qualname__}"


@dataclass(frozen=True)
class ComputeBudget:
    """CPU seconds or steps, one of the two.

    Attributes:
        cpu_seconds: CPU seconds of training.
        steps: steps of training.
    """

    cpu_seconds: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.cpu_seconds is None) == (self.steps is None):
            raise ValueError("give either CPU seconds or steps")
        for flag, value in (("cpu_seconds", self.cpu_seconds), ("steps", self.steps)):
            if value is not None and value <= 0:
                raise UserError(f"--{flag} {value:g}: must be more than 0")

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.cpu_seconds is None else f"{self.cpu_seconds:g} CPU seconds"

    def as_json(self) -> dict[str, float]:
        """The one that is set, by name."""
        found = {"cpu_seconds": self.cpu_seconds, "steps": self.steps}
        return {name: value for name, value in found.items() if value is not None}

    def fit_flags(self) -> list[str]:
        """Flags of ``partnerface fit``; steps are counted in CPU seconds too."""
        return [
            "--trainer.max_time=null",
            f"--trainer.max_steps={-1 if self.steps is None else self.steps}",
            f"--trainer.callbacks+={CPU_BUDGET}",
            *([] if self.cpu_seconds is None else [f"--trainer.callbacks.seconds={self.cpu_seconds:g}"]),
        ]
