"""BenchmarkRun: the training and test of one method on one subject with one seed under a ComputeBudget.

Methods start from scratch, or from statics that have converged: an avatar trained with skinning alone, once
for each subject and seed.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from partnerface.benchmarks.methods.compared import TESTED_ON_SAMPLES, BenchmarkSubject, MethodVariant
from partnerface.configuration.config_files import CONFIGS
from partnerface.errors import UserError
from partnerface.files.plain_values import read_yaml
from partnerface.runs.run import CPU_SECONDS, LAST_CHECKPOINT, Run

# Its name only: the class would bring Lightning, for which a command that merely starts runs would wait.
CPU_BUDGET = "partnerface.training.callbacks.budgets.CpuBudget"


@dataclass(frozen=True)
class ComputeBudget:
    """How long a method is trained: CPU seconds or steps, one of the two.

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
        """The budget as ``{"cpu_seconds": ...}`` or ``{"steps": ...}``."""
        found = {"cpu_seconds": self.cpu_seconds, "steps": self.steps}
        return {name: value for name, value in found.items() if value is not None}

    def times(self, factor: float) -> ComputeBudget:
        """So many times the budget."""
        if self.cpu_seconds is not None:
            return ComputeBudget(cpu_seconds=factor * self.cpu_seconds)
        return ComputeBudget(steps=round(factor * (self.steps or 0)))

    def fit_flags(self) -> list[str]:
        """Flags of ``partnerface fit``; the CPU seconds of a training by steps are logged too."""
        return [
            "--trainer.max_time=null",
            f"--trainer.max_steps={-1 if self.steps is None else self.steps}",
            f"--trainer.callbacks+={CPU_BUDGET}",
            *([] if self.cpu_seconds is None else [f"--trainer.callbacks.seconds={self.cpu_seconds:g}"]),
        ]


SCRATCH, CONVERGED = "scratch", "converged"
"""Where training starts: from nothing, or from the field and torso of an avatar with skinning alone."""
STATICS = "skinning_only"
NO_DEFORMATION = (
    "model.avatar.init_args.deformation",
    "partnerface.deformation.global_deformation.NoDeformation",
)
"""The setting that leaves a method with skinning alone."""
MOVING = ("deformation", "warm_up", "driving_noise", "clamp_driving", "damp_driving")
"""Arguments of an avatar that make no difference without a deformation."""
STATIC_SETTING = re.compile(r"\.(field|torso|sampler|skinning)\b")

SAMPLE_FRAMES = 3
"""Test frames of a split for methods that take seconds to render one."""
ONE_THREAD = "OMP_NUM_THREADS=1"
"""With one thread a CPU second is worth the same on any machine, and runs do not wait for each other."""
RUNS_FOLDER = "runs"
METRICS_FILES = ("metrics.json", "metrics_refined.json")
"""Results of the tests with strict and with refined test parameters."""
CONFIG_DIGEST_LENGTH = 6

DEMO_SIZE = 128
"""Pixels up to which ``configs/scale/demo.yaml`` sizes the field."""

START_SECONDS = 16.0
"""Imports, decoding and files of a training and a test."""
STEP_SECONDS = 0.12
REFINEMENT_SECONDS = 2.5
"""Fitting the parameters of one test frame."""
PIXEL_SECONDS = {False: 2e-5, True: 4.5e-4}
"""CPU seconds of rendering and scoring a pixel, by whether a method is one of `TESTED_ON_SAMPLES`."""
TYPICAL_TEST_FRAMES = 100


@dataclass(frozen=True)
class BenchmarkRun(Run):
    """One training and its test.

    Attributes:
        variant: the method.
        subject: the person.
        seed: seeds the weights, the frame order and the rays.
        budget: training budget.
        out: folder of the benchmark.
        refined: test a second time with head parameters fitted to the test frames.
        sample: test on so many frames of each split alone, evenly spread; None for all.
        configs: folder of the shipped configuration files.
        after: the training with skinning alone from which this one starts; None: it starts from scratch.
        tested: false for a training from which others start.
    """

    variant: MethodVariant
    subject: BenchmarkSubject
    seed: int
    budget: ComputeBudget
    out: Path
    refined: bool = False
    sample: int | None = None
    configs: Path = CONFIGS
    after: BenchmarkRun | None = field(default=None, kw_only=True)
    tested: bool = field(default=True, kw_only=True)
    metric = CPU_SECONDS

    @property
    def title(self) -> str:
        return f"{self.variant} · {self.subject.name} · seed {self.seed} · {self.start}"

    @property
    def start(self) -> str:
        """`SCRATCH` or `CONVERGED`; ``statics`` for the training that others start from."""
        if not self.tested:
            return "statics"
        return SCRATCH if self.after is None else CONVERGED

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "method": str(self.variant),
            "subject": self.subject.name,
            "seed": self.seed,
            "start": self.start,
        }

    @property
    def is_sampled(self) -> bool:
        """Whether it is tested on samples alone, for instance because the method renders too slowly."""
        return self.sample is not None or self.variant.method in TESTED_ON_SAMPLES

    @cached_property
    def folder(self) -> Path:
        """Folder of this run; another budget or a changed configuration file leads to another one."""
        texts = [(self.configs / f"{name}.yaml").read_text() for name in self._configs()]
        samples = [] if self.sample is None else [str(self.sample)]
        content = "\n".join([*self._settings(), str(self.refined), *samples, *texts])
        digest = hashlib.sha256(content.encode()).hexdigest()[:CONFIG_DIGEST_LENGTH]
        name = f"{self.subject.name}-{self.variant}-seed{self.seed}"
        name = re.sub(r"[^\w.=-]+", "-", name if self.start == SCRATCH else f"{name}-{self.start}")
        return self.out / RUNS_FOLDER / f"{name}-{digest}"

    @property
    def expected_seconds(self) -> float:
        """CPU seconds that the run should take, from typical costs of steps, pixels and frames."""
        training = STEP_SECONDS * (self.budget.steps or 0) + (self.budget.cpu_seconds or 0.0)
        frames = TYPICAL_TEST_FRAMES
        if self.is_sampled:
            frames = len(self.subject.sampled_splits) * (self.sample or SAMPLE_FRAMES)
        seconds_of_pixel = PIXEL_SECONDS[self.variant.method in TESTED_ON_SAMPLES]
        testing = seconds_of_pixel * self.subject.size**2 * frames
        if self.refined and not self.is_sampled:
            testing += START_SECONDS / 2 + testing + REFINEMENT_SECONDS * frames
        return START_SECONDS + training + (testing if self.tested else 0.0)

    @property
    def command(self) -> str:
        """Shell command that repeats the run on any machine."""
        track = self.subject.track_words()
        first = [] if self.after is None else [self.after._fit_words()]
        return _chain([*([track] if track else []), *first, self._fit_words(), *self._test_words()])

    @property
    def remaining_command(self) -> list[str]:
        """A shell with the part of the command that is not done; subject and statics have been prepared."""
        if self.after is not None and self.after.state != "finished":
            line = f"{self.after.title}, from which this training starts, has not finished"
            return ["sh", "-c", f"echo {shlex.quote(line)}; exit 1"]
        if not self.resumes:
            left = [self._fit_words(), *self._test_words()]
        elif self.metric not in self.logged():
            left = [[*self._fit_words(), "--ckpt_path", "last"], *self._test_words()]
        else:
            tests = zip(self._test_words(), METRICS_FILES, strict=False)
            left = [words for words, name in tests if not (self.folder / name).is_file()]
        return ["sh", "-c", _chain(left) or "true"]

    def _configs(self) -> list[str]:
        method = f"method/{self.variant.method}"
        # The larger scale sizes the hash field, which not every method has.
        larger = self.subject.size > DEMO_SIZE and "field" in method_arguments(self.variant, self.configs)
        scale = "quick" if larger else "demo"
        head_model = [] if self.subject.automatic else ["head_model/anny"]
        return ["base", method, *head_model, self.subject.data_config, f"scale/{scale}"]

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
            *([] if self.after is None else [f"--model.start_from={self.after.folder / LAST_CHECKPOINT}"]),
        ]

    def _fit_words(self) -> list[str]:
        return [ONE_THREAD, "partnerface", "fit", *self._settings(), "--run_dir", str(self.folder)]

    def _test_words(self) -> list[list[str]]:
        if not self.tested:
            return []
        test = [ONE_THREAD, "partnerface", "test", "--config", str(self.folder / "config.yaml")]
        test += ["--ckpt_path", str(self.folder / LAST_CHECKPOINT)]
        splits = self.subject.sampled_splits
        sample = SAMPLE_FRAMES if self.sample is None else self.sample
        test += [*self.variant.test_flags(sample, splits, self.sample is not None), "--result_page=false"]
        refined = [*test, "--model.test_parameters=refined"]
        return [test, refined] if self.refined and not self.is_sampled else [test]


def _chain(commands: list[list[str]]) -> str:
    return " && ".join(shlex.join(words) for words in commands)


def method_arguments(variant: MethodVariant, configs: Path = CONFIGS) -> dict[str, Any]:
    """Arguments of the avatar's class in the file of a method."""
    tree = read_yaml(configs / "method" / f"{variant.method}.yaml")
    return tree["model"]["avatar"]["init_args"]


def statics_of(variant: MethodVariant, configs: Path = CONFIGS) -> MethodVariant:
    """The method with skinning alone whose field, torso and sampler a variant has.

    `STATICS` where they are the same there, otherwise the first method by name that has them, without its
    deformation: methods with one field share their statics.
    """

    def static_arguments(method: str) -> dict[str, Any]:
        arguments = method_arguments(MethodVariant(method), configs)
        return {name: value for name, value in arguments.items() if name not in MOVING}

    own = static_arguments(variant.method)
    names = [STATICS, *sorted(path.stem for path in (configs / "method").glob("*.yaml"))]
    name = next(name for name in names if static_arguments(name) == own)
    kept = tuple(setting for setting in variant.overrides if STATIC_SETTING.search(setting[0]))
    return MethodVariant(name, kept if name == STATICS else (NO_DEFORMATION, *kept))
