"""BenchmarkRun: one method on one subject with one seed under a ComputeBudget."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import yaml

from partnerface.benchmarks.methods.subject import BenchmarkSubject
from partnerface.benchmarks.methods.variant import TESTED_ON_SAMPLES, MethodVariant
from partnerface.errors import UserError
from partnerface.runs.run_folder import CHECKPOINT, SweepRun
from partnerface.training.callbacks.budgets import LOGGED, CpuBudget

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


SAMPLE_FRAMES = 3
"""Test frames of a split on which NeRFace is compared, which takes seconds for each."""

ONE_THREAD = "OMP_NUM_THREADS=1"
"""A CPU second is then worth the same with many cores, and runs at once do not wait for each other."""

RUNS = "runs"
REPORTS = ("metrics.json", "metrics_refined.json")
"""What the tests leave, in their order."""

DIGEST_LENGTH = 6


@dataclass(frozen=True)
class BenchmarkRun:
    """One training and its test.

    Attributes:
        variant: the method.
        subject: the person.
        seed: of the weights, the frame order and the rays.
        budget: of training.
        out: folder of the benchmark.
        configs: folder of the shipped configuration files.
        refined: test with test parameters fitted to the test frames too.
    """

    variant: MethodVariant
    subject: BenchmarkSubject
    seed: int
    budget: ComputeBudget
    out: Path
    configs: Path
    refined: bool = False

    @property
    def title(self) -> str:
        return f"{self.variant} · {self.subject.name} · seed {self.seed}"

    @property
    def is_sampled(self) -> bool:
        """Whether it is tested on samples alone."""
        return self.variant.method in TESTED_ON_SAMPLES

    @property
    def folder(self) -> Path:
        """Of this run alone: another budget or a changed configuration file is another run."""
        name = re.sub(r"[^\w.=-]+", "-", f"{self.subject.name}-{self.variant}-seed{self.seed}")
        return self.out / RUNS / f"{name}-{self._digest()}"

    @property
    def sweep_run(self) -> SweepRun:
        """The same as the machinery of sweeps sees it."""
        parameters = {"method": str(self.variant), "subject": self.subject.name, "seed": self.seed}
        return SweepRun(self.folder, parameters, LOGGED)

    @property
    def command(self) -> str:
        """What repeats it on any machine, in a shell."""
        track = self.subject.track_words()
        return _chain([*([track] if track else []), self._fit_words(), *self._test_words()])

    @property
    def remaining_command(self) -> str:
        """The command without what an interrupted attempt has done; the subject is prepared."""
        run = self.sweep_run
        if not run.resumes:
            return _chain([self._fit_words(), *self._test_words()])
        if LOGGED in run.logged():
            done = [(self.folder / name).is_file() for name in REPORTS]
            left = [words for words, ended in zip(self._test_words(), done, strict=False) if not ended]
            return _chain(left) or "true"
        return _chain([[*self._fit_words(), "--ckpt_path", "last"], *self._test_words()])

    def _configs(self) -> list[str]:
        return [
            "base",
            f"method/{self.variant.method}",
            "head_model/anny",
            self.subject.data_config,
            f"scale/{self._scale()}",
        ]

    def _scale(self) -> str:
        method = yaml.safe_load((self.configs / "method" / f"{self.variant.method}.yaml").read_text())
        avatar = method["model"]["avatar"]
        # The larger scale sizes the hash field, which not every method has.
        return "demo" if self.subject.is_synthetic or "field" not in avatar["init_args"] else "quick"

    def _settings(self) -> list[str]:
        return [
            *(word for name in self._configs() for word in ("--config", f"configs/{name}.yaml")),
            *self.subject.fit_flags(),
            f"--seed_everything={self.seed}",
            f"--data.seed={self.seed}",
            "--trainer.accelerator=cpu",
            "--model.cpu_threads=1",
            "--trainer.limit_val_batches=0",
            *self.budget.fit_flags(),
            *self.variant.fit_flags(),
        ]

    def _fit_words(self) -> list[str]:
        return [ONE_THREAD, "partnerface", "fit", *self._settings(), "--run_dir", str(self.folder)]

    def _test_words(self) -> list[list[str]]:
        test = [ONE_THREAD, "partnerface", "test", "--config", str(self.folder / "config.yaml")]
        test += ["--ckpt_path", str(self.folder / CHECKPOINT)]
        test += self.variant.test_flags(SAMPLE_FRAMES)
        refined = [*test, "--model.test_parameters=refined"]
        return [test, refined] if self.refined and not self.is_sampled else [test]

    def _digest(self) -> str:
        texts = [(self.configs / f"{name}.yaml").read_text() for name in self._configs()]
        content = "\n".join([*self._settings(), str(self.refined), *texts])
        return hashlib.sha256(content.encode()).hexdigest()[:DIGEST_LENGTH]


def _chain(commands: list[list[str]]) -> str:
    return " && ".join(shlex.join(words) for words in commands)
