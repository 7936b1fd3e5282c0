"""Values of a configuration that cannot be: refused before training begins, naming the flag."""

from __future__ import annotations

import pytest

DEFORMATION = "model.avatar.deformation.init_args"
FLAGS = [
    *[f"{DEFORMATION}.{name}={n}" for name in ("parts", "top_k") for n in (0, -1, 10**9)],
    f"{DEFORMATION}.hidden_width=-1",
    *[f"{DEFORMATION}.num_frequencies={value}" for value in (-1, 60)],
    *[f"{DEFORMATION}.temperature={value}" for value in (0, -1, "nan", "inf")],
    *[f"model.avatar.field.init_args.{name}=-1" for name in ("levels", "log2_table_size", "finest")],
    *["model.avatar.field.init_args.levels=0", "model.avatar.field.init_args.log2_table_size=60"],
    *[f"model.avatar.sampler.init_args.{name}=0" for name in ("samples", "cells", "step_m")],
    *["model.avatar.torso.init_args.channels=-1", "model.avatar.torso.init_args.resolutions=[32,0]"],
    "model.avatar.torso.init_args.margin=0",
    *["model.losses.matte.init_args.weight=-1", "model.avatar.warm_up=7", "model.cpu_threads=0"],
    *["model.learning_rates.grids=-0.1", "model.gradient_clip=-1", "data.image_size=100000"],
    *["model.optimizer.init_args.lr=-1", "model.optimizer.init_args.betas=[0.9,2]"],
    *["seed_everything=-1", "seed_everything=99999999999", "data.image_size=1"],
    *["trainer.val_check_interval=0", "trainer.check_val_every_n_epoch=0"],
    *["data.rays_per_frame=0", "data.num_workers=100000", "data.frames_per_batch=-2"],
]


@pytest.mark.parametrize("flag", FLAGS)
def test_flags(bench, smoke_arguments, flag: str) -> None:
    name = flag.partition("=")[0].rpartition(".")[2]
    bench.refuses(["fit", *smoke_arguments, f"--{flag}", f"--run_dir={bench.out}"], name)


BUILT = {
    "model.losses.color.init_args.weight=0": "model.losses.color",
    "model.losses.photometric.class_path=partnerface.losses.loss.Loss": "abstract",
    "model.avatar.deformation.class_path=partnerface.deformation.deformation.Deformation": "abstract",
    **dict.fromkeys(("trainer.max_steps=-5", "trainer.devices=0", "trainer.strategy=nonsense"), "trainer"),
    **dict.fromkeys(("trainer.accelerator=tpu", "trainer.plugins=nonsense"), "trainer"),
    "trainer.gradient_clip_val=1": "trainer",
    "model.optimizer.class_path=torch.optim.LBFGS": "model.optimizer",
}
"""Values that no range tells apart: refused by what is built from them."""


@pytest.mark.parametrize("flag", BUILT)
def test_what_cannot_be_built(bench, smoke_arguments, flag: str) -> None:
    arguments = [a for a in smoke_arguments if a != "--trainer.accelerator=cpu" or "accelerator" not in flag]
    bench.refuses(["fit", *arguments, f"--{flag}", f"--run_dir={bench.out}"], BUILT[flag])


@pytest.mark.parametrize("more", [[], ["--trainer.max_epochs=50"]])
def test_a_training_without_a_budget(bench, smoke_arguments, more: list[str]) -> None:
    """Its schedules would stand still: it would never leave its first stage."""
    endless = ["--trainer.max_steps=-1", "--trainer.max_time=null"]
    words = ["fit", *smoke_arguments, *endless, *more, f"--run_dir={bench.out}"]
    bench.refuses(words, "no budget", "--trainer.max_steps")


@pytest.mark.parametrize("flag", ["--ckpt_path", "--trust", "--run_dir"])
def test_a_flag_without_its_value(bench, smoke_arguments, flag: str) -> None:
    bench.refuses(["test", *smoke_arguments, flag], flag.removeprefix("--"))


def test_an_objective_in_which_nothing_counts(bench, smoke_arguments) -> None:
    terms = ("photometric", "matte", "perceptual", "offset_size", "part_balance")
    flags = [f"--model.losses.{name}.init_args.weight=0" for name in terms]
    for more in ([], ["--model.losses.driving_sparsity.init_args.weight=0"]):
        words = ["fit", *smoke_arguments, *flags, *more, f"--run_dir={bench.out}"]
        bench.refuses(words, "model.losses", "weight")
