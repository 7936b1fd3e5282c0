"""The traps of configuration with LightningCLI, each closed."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

from partnerface.avatar_files.checkpoint_file import read_checkpoint
from partnerface.cli.main import main
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.configuration.config_files import config_arguments
from partnerface.data.formats.auto import AutoReader
from partnerface.deformation.global_deformation import GlobalDeformation
from partnerface.training.callbacks.evaluation_report import EvaluationReport
from partnerface.training.callbacks.write_video import WriteVideo
from partnerface.training.resume.atomic_checkpoint import AtomicCheckpointIO
from partnerface.training.resume.csv_appender import CsvAppender
from partnerface.training.resume.run_checkpoint import RunCheckpoint, last_checkpoint
from tests.sweeps.wandb_server import WandbServer


def _build(arguments: list[str], run_dir: Path, *flags: str, command: str = "fit") -> AvatarCLI:
    return AvatarCLI([command, *arguments, f"--run_dir={run_dir}", *flags], execute=False)


def test_one_loss_is_changed_by_flag_and_the_others_stay(smoke_arguments: list[str], tmp_path: Path) -> None:
    cli = _build(smoke_arguments, tmp_path, "--model.losses.matte.init_args.weight=0.7")
    of_parts = {"part_balance", "part_entropy", "offset_smoothness", "driving_sparsity"}
    assert set(cli.model.losses) == {"photometric", "matte", "perceptual", "offset_size", *of_parts}
    assert cli.model.losses["matte"].weight == 0.7


def test_flags_beat_files_wherever_they_stand(smoke_arguments: list[str], tmp_path: Path) -> None:
    """Also those of a class that a file names; files, and flags, keep their order."""
    files, flags = smoke_arguments[:10], smoke_arguments[10:]
    overlay = tmp_path / "small.yaml"
    overlay.write_text("data: {image_size: 20, rays_per_frame: 8}\n")
    first = ["--data.image_size", "48", "--data.reader.init_args.frames=20"]
    config = _build([*first, *files, *flags, f"--config={overlay}"], tmp_path).config["fit"]
    assert (config["data"]["image_size"], config["data"]["rays_per_frame"]) == (48, 8)
    assert config["data"]["reader"]["init_args"]["frames"] == 24


@pytest.mark.parametrize("words", [["--data.reader", "auto"], ["--data.reader=auto"]])
def test_a_short_name_of_the_reader_of_any_dataset(
    words: list[str], synthetic_dataset: Path, tmp_path: Path
) -> None:
    files = ("base", "method/part_deformation", "head_model/anny", "data/partnerface", "scale/smoke")
    flags = [*words, f"--data.reader.root={synthetic_dataset}", "--trainer.accelerator=cpu"]
    reader = _build(config_arguments(*files), tmp_path, *flags).datamodule.reader
    assert type(reader) is AutoReader
    assert reader.root == synthetic_dataset


def test_every_method_lists_all_its_losses() -> None:
    """An overlay that mentions one entry replaces the dict: no file but a method may mention losses."""
    configs = Path(__file__).parents[2] / "configs"
    for path in configs.rglob("*.yaml"):
        losses = (yaml.safe_load(path.read_text()).get("model") or {}).get("losses")
        if path.parent.name == "method":
            assert {"photometric", "matte"} <= set(losses), path
        else:
            assert losses is None, path


def test_overlays_append_callbacks() -> None:
    configs = Path(__file__).parents[2] / "configs"
    for path in configs.rglob("*.yaml"):
        trainer = yaml.safe_load(path.read_text()).get("trainer") or {}
        assert "callbacks" not in trainer or path.name == "base.yaml", path


def test_an_appended_callback_leaves_those_of_base(smoke_arguments: list[str], tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(
        "trainer: {callbacks+: [{class_path: lightning.pytorch.callbacks.LearningRateMonitor}]}\n"
    )
    cli = _build(smoke_arguments, tmp_path, "--config", str(overlay), "--trainer.logger=false")
    kinds = [type(c).__name__ for c in cli.trainer.callbacks]
    assert "LearningRateMonitor" in kinds
    assert {"RunCheckpoint", "StepSeeds", "EvaluationReport", "WriteVideo", "TimeBudget"} <= set(kinds)


def test_a_list_of_the_users_own_keeps_what_a_run_needs(
    smoke_arguments: list[str], tmp_path: Path, capsys
) -> None:
    """A list replaces that of base.yaml: training ran to its end and left no checkpoint."""
    overlay = tmp_path / "own.yaml"
    overlay.write_text(
        "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.LearningRateMonitor}]}\n"
    )
    run = tmp_path / "run"
    flags = ["--config", str(overlay), "--config=configs/logger/tensorboard.yaml"]
    flags += [f"--trainer.logger.init_args.save_dir={tmp_path}"]
    short = ["--trainer.max_steps=1", "--trainer.limit_val_batches=0", f"--run_dir={run}"]
    assert main(["fit", *smoke_arguments, *flags, *short]) == 0
    assert last_checkpoint(run).is_file()
    lines = [line for line in capsys.readouterr().err.splitlines() if "trainer.callbacks" in line]
    assert len(lines) == 1
    for name in ("RunCheckpoint", "StepSeeds", "TimeBudget", "RefreshOccupancy", "EvaluationReport"):
        assert name in lines[0]


def test_lists_of_the_users_own_keep_whole_checkpoints_and_the_video(
    smoke_arguments: list[str], tmp_path: Path, capsys
) -> None:
    """Checkpoints went through the system's temporary folder; a prediction was rendered and not written."""
    overlay = tmp_path / "own.yaml"
    overlay.write_text("trainer: {callbacks: [], plugins: []}\n")
    trainer = _build(smoke_arguments, tmp_path, "--config", str(overlay), command="predict").trainer
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)
    assert any(isinstance(one, WriteVideo) for one in trainer.callbacks)
    said = capsys.readouterr().err
    assert "trainer.plugins lacks AtomicCheckpointIO: added; write plugins+: to add to a list" in said
    assert "WriteVideo" in said
    own = "lightning.pytorch.plugins.io.TorchCheckpointIO"
    overlay.write_text(f"trainer: {{plugins: [{{class_path: {own}}}]}}\n")
    trainer = _build(smoke_arguments, tmp_path, "--config", str(overlay)).trainer
    assert type(trainer.strategy.checkpoint_io).__name__ == "TorchCheckpointIO"
    assert "lacks" not in capsys.readouterr().err


def test_losses_that_a_table_of_the_users_own_drops_are_named(
    smoke_arguments: list[str], tmp_path: Path, capsys
) -> None:
    """Training went on without colours, and the avatar was grey."""
    overlay = tmp_path / "own.yaml"
    matte = "{class_path: partnerface.losses.photometric.Matte, init_args: {weight: 0.3}}"
    overlay.write_text(f"model: {{losses: {{matte: {matte}}}}}\n")
    cli = _build(smoke_arguments, tmp_path, "--config", str(overlay))
    assert set(cli.model.losses) == {"matte"}
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "lacks" in line)
    assert line.startswith("partnerface: model.losses lacks photometric, perceptual, offset_size, ")
    assert "--model.losses.matte.init_args.weight=0.3" in line
    _build(smoke_arguments, tmp_path, "--model.losses.matte.init_args.weight=0.3")
    assert "lacks" not in capsys.readouterr().err


def test_the_weights_are_those_of_the_run_unless_named(trained_run: Path, tmp_path: Path, capsys) -> None:
    """An untrained network was scored without a word."""
    config = str(trained_run / "config.yaml")
    cli = AvatarCLI(["test", "--config", config, f"--run_dir={trained_run}"], execute=False)
    assert cli.config["test"]["ckpt_path"] == str(last_checkpoint(trained_run))
    for command in ("validate", "test", "predict"):
        assert main([command, "--config", config, f"--run_dir={tmp_path / 'none'}"]) == 2
        assert "no checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_resumed_run_leaves_a_configuration_for_new_ones(trained_run: Path, tmp_path: Path) -> None:
    """It named the checkpoint: a new run of this file began with trained weights, at their step."""
    run, config = tmp_path / "run", str(trained_run / "config.yaml")
    checkpoint = str(last_checkpoint(trained_run))
    steps = read_checkpoint(checkpoint)["global_step"]
    arguments = ["fit", "--config", config, f"--run_dir={run}", f"--ckpt_path={checkpoint}"]
    arguments += [f"--trainer.max_steps={steps + 1}", "--trainer.limit_val_batches=0"]
    assert main(arguments) == 0
    assert read_checkpoint(last_checkpoint(run))["global_step"] == steps + 1
    assert yaml.safe_load((run / "config.yaml").read_text())["ckpt_path"] is None


def test_fewer_steps_than_are_done_are_refused(trained_run: Path, capsys) -> None:
    """The run ended at once, with exit code 0 and its configuration written anew."""
    config = trained_run / "config.yaml"
    before = config.read_bytes()
    arguments = ["fit", "--config", str(config), f"--run_dir={trained_run}", "--ckpt_path=last"]
    assert main([*arguments, "--trainer.max_steps=1"]) == 2
    assert "--trainer.max_steps 1" in capsys.readouterr().err
    assert config.read_bytes() == before


def test_a_training_whose_steps_are_done_says_so(trained_run: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    path = last_checkpoint(run)
    path.parent.mkdir(parents=True)
    path.write_bytes(last_checkpoint(trained_run).read_bytes())
    steps = read_checkpoint(path)["global_step"]
    arguments = ["fit", "--config", str(trained_run / "config.yaml"), f"--run_dir={run}", "--ckpt_path=last"]
    for more in (0, 1):
        AvatarCLI([*arguments, f"--trainer.max_steps={steps + more}"], execute=False)
        assert ("a larger --trainer.max_steps trains on" in capsys.readouterr().err) == (more == 0)


def test_a_training_whose_time_is_spent_says_so(trained_run: Path, tmp_path: Path, capsys) -> None:
    """It ended at once without a word. The same command may be sent again, one for less time is refused."""
    content = torch.load(last_checkpoint(trained_run), weights_only=True)
    content["callbacks"] |= {"Timer": {"time_elapsed": {"train": 61.0}}, "TimeBudget": {"seconds": 60.0}}
    path = last_checkpoint(tmp_path / "run")
    path.parent.mkdir(parents=True)
    torch.save(content, path)
    arguments = ["fit", "--config", str(trained_run / "config.yaml"), f"--run_dir={tmp_path / 'run'}"]
    arguments += ["--ckpt_path=last", "--trainer.max_steps=100", "--trainer.limit_val_batches=0"]
    assert main([*arguments, "--trainer.max_time=00:00:00:30"]) == 2
    assert "has trained for 61 of 30 s already; choose more" in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.yaml").exists()
    assert main([*arguments, "--trainer.max_time=00:00:01:00"]) == 0
    assert "of 60 s already, so that nothing is left to train" in capsys.readouterr().err
    assert read_checkpoint(path)["global_step"] == content["global_step"]


def test_the_command_that_continues_a_run_begins_it(
    smoke_arguments: list[str], tmp_path: Path, capsys
) -> None:
    """What a cluster's script repeats: its first start was refused."""
    arguments = ["fit", *smoke_arguments, "--ckpt_path=last", f"--run_dir={tmp_path / 'run'}"]
    assert main([*arguments, "--trainer.max_steps=1", "--trainer.limit_val_batches=0"]) == 0
    assert "training starts anew" in capsys.readouterr().err
    assert last_checkpoint(tmp_path / "run").is_file()


def test_a_run_killed_before_its_first_checkpoint_begins_anew(
    smoke_arguments: list[str], tmp_path: Path, capsys
) -> None:
    """With the same command; what the attempt has logged is gone, and the log is one curve from step 0 on."""
    run, log = tmp_path / "run", tmp_path / "run" / "metrics.csv"
    arguments = ["fit", *smoke_arguments, "--ckpt_path=last", f"--run_dir={run}"]
    arguments += ["--trainer.limit_val_batches=0", "--trainer.log_every_n_steps=1"]
    assert main([*arguments, "--trainer.max_steps=3"]) == 0
    shutil.rmtree(run / "checkpoints")
    with log.open("a") as file:
        file.write("7,0.1,train/ps")
    assert main([*arguments, "--trainer.max_steps=2"]) == 0
    assert "training starts anew" in capsys.readouterr().err
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == sorted(int(row["step"]) for row in rows)
    assert {row["step"] for row in rows} == {"0", "1"}
    assert len({(row["step"], row["name"]) for row in rows}) == len(rows)
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_steps"] == 2


def test_weights_and_biases_without_a_login_is_one_line(
    smoke_arguments: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    arguments = [
        "fit",
        *smoke_arguments,
        "--config=configs/logger/wandb.yaml",
        f"--run_dir={tmp_path / 'run'}",
    ]
    assert main([*arguments, "--trainer.max_steps=1", "--trainer.limit_val_batches=0"]) == 2
    line = "Weights & Biases: there is no login on this machine; log in with `wandb login`"
    assert line in capsys.readouterr().err.splitlines()[-1]
    import wandb

    # It keeps the environment of its first run.
    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", "too-short")
    arguments[-1] = f"--run_dir={tmp_path / 'other'}"
    assert main([*arguments, "--trainer.max_steps=1", "--trainer.limit_val_batches=0"]) == 2
    assert "Weights & Biases: " in capsys.readouterr().err.splitlines()[-1]
    wandb.teardown()


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ({"errors": [{"message": "no such user"}]}, "no such user"),
        ({}, "the server refuses without a reason"),
    ],
)
def test_a_key_that_weights_and_biases_does_not_know_is_one_line(
    smoke_arguments: list[str], tmp_path: Path, monkeypatch, capsys, refusal: dict, reason: str
) -> None:
    """It has the form of one."""
    import wandb

    for name, value in (("MODE", "online"), ("SILENT", "true"), ("API_KEY", "0123456789" * 4)):
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    arguments = ["fit", *smoke_arguments, "--config=configs/logger/wandb.yaml"]
    arguments += ["--trainer.max_steps=1", "--trainer.limit_val_batches=0", f"--run_dir={tmp_path / 'run'}"]
    with WandbServer([], refusal) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        try:
            assert main(arguments) == 2
        finally:
            wandb.teardown()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("partnerface: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"partnerface: Weights & Biases: {reason}; log in with `wandb login`")


def test_the_optimizer_is_the_one_of_the_yaml(smoke_arguments: list[str], tmp_path: Path) -> None:
    """A class default in the signature leaves its own values behind when the class changes."""
    cli = _build(smoke_arguments, tmp_path)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = cli.model.make_optimizer([{"params": [weight], "lr": 0.5, "base_lr": 0.5}])
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["weight_decay"] == 0.01
    assert optimizer.defaults["betas"] == (0.9, 0.99)
    other = _build(smoke_arguments, tmp_path, "--model.optimizer=torch.optim.NAdam")
    assert other.model.make_optimizer([weight]).defaults["momentum_decay"] == 0.004


def test_a_changed_class_takes_its_own_defaults(smoke_arguments: list[str], tmp_path: Path) -> None:
    cli = _build(
        smoke_arguments,
        tmp_path,
        "--model.avatar.deformation=partnerface.deformation.global_deformation.GlobalDeformation",
        "--model.avatar.deformation.hidden_width=128",
    )
    assert isinstance(cli.model.avatar.deformation, GlobalDeformation)
    assert cli.model.avatar.deformation.whole_head.networks.weight2.shape[-1] == 128
    assert cli.model.avatar.parts == 1


def test_flags_beat_the_checkpoint(trained_run: Path) -> None:
    """Lightning lets the checkpoint's hyperparameters override explicit flags in silence."""
    cli = AvatarCLI(
        [
            "test",
            "--config",
            str(trained_run / "config.yaml"),
            "--ckpt_path=last",
            "--model.avatar.deformation.init_args.temperature=0.5",
        ],
        execute=False,
    )
    assert cli.model.avatar.deformation.assigner.temperature == 0.5
    assert cli.config["test"]["ckpt_path"] == str(last_checkpoint(trained_run))


def test_the_saved_configuration_runs_alone(trained_run: Path, tmp_path: Path) -> None:
    config = str(trained_run / "config.yaml")
    for command in ("fit", "validate", "test", "predict"):
        cli = AvatarCLI([command, "--config", config, f"--run_dir={tmp_path}"], execute=False)
        assert cli.model.hparams["num_frames"] == 24


def test_runs_with_a_logger_that_shares_its_folder(
    smoke_arguments: list[str], tmp_path: Path, monkeypatch
) -> None:
    """Traps: the second run of a W&B sweep died, for the first one's config.yaml stood in its way; a training
    that was continued opened another W&B run.
    """
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    ids = []
    for name, steps in (("first", 1), ("second", 1), ("first", 2)):
        arguments = [
            *smoke_arguments,
            "--config=configs/logger/wandb.yaml",
            f"--trainer.max_steps={steps}",
            "--trainer.limit_val_batches=0",
            "--ckpt_path=last",
            f"--run_dir={tmp_path / name}",
        ]
        assert main(["fit", *arguments]) == 0
        assert (tmp_path / name / "config.yaml").is_file()
        assert last_checkpoint(tmp_path / name).is_file()
        import wandb

        settings = dict(wandb.run.config)
        assert settings["data"]["image_size"] == 32
        assert settings["seed_everything"] == 0
        assert "rays_per_frame" in settings["data"]
        ids.append(wandb.run.id)
        wandb.finish()
    assert ids[2] == ids[0] != ids[1]
    # A new run of this file is a run of its own.
    assert ids[0] not in (tmp_path / "first" / "config.yaml").read_text()


def test_tensorboard_gets_scalars_and_strips(smoke_arguments: list[str], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = [
        *smoke_arguments,
        "--config=configs/logger/tensorboard.yaml",
        f"--trainer.logger.init_args.save_dir={tmp_path}",
        "--trainer.max_steps=1",
        "--trainer.log_every_n_steps=1",
        "--trainer.limit_val_batches=1",
        f"--run_dir={tmp_path / 'run'}",
    ]
    assert main(["fit", *arguments]) == 0
    events = EventAccumulator(str(next((tmp_path / "tensorboard").iterdir())))
    events.Reload()
    assert "train/psnr" in events.Tags()["scalars"]
    assert "val/strip" in events.Tags()["images"]


def test_the_parts_of_a_run_that_must_always_be_there(smoke_arguments: list[str], tmp_path: Path) -> None:
    trainer = _build(smoke_arguments, tmp_path).trainer
    assert isinstance(trainer.loggers[0], CsvAppender)
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)
    assert [type(c) for c in trainer.checkpoint_callbacks] == [RunCheckpoint]
    assert any(isinstance(c, EvaluationReport) for c in trainer.callbacks)
    assert trainer.default_root_dir == str(tmp_path)
    assert trainer._accelerator_connector.use_distributed_sampler is False


@pytest.mark.parametrize(
    ("step", "environment"),
    [(None, LightningEnvironment), (0xFFFFFFFA, LightningEnvironment), (0, SLURMEnvironment)],
)
def test_a_shell_in_a_job_of_several_tasks_is_one_process(
    smoke_arguments: list[str], tmp_path: Path, monkeypatch, step: int | None, environment: type
) -> None:
    """Of a job named by its editor; in a step of `srun` Lightning's own plugin counts the tasks."""
    job = {"NTASKS": 4, "NTASKS_PER_NODE": 1, "JOB_NAME": "vscode", "JOB_ID": 1234, "STEP_ID": step}
    for name, value in (job | {"PROCID": 0, "LOCALID": 0, "NODEID": 0}).items():
        if value is None:
            monkeypatch.delenv(f"SLURM_{name}", raising=False)
        else:
            monkeypatch.setenv(f"SLURM_{name}", str(value))
    trainer = _build(smoke_arguments, tmp_path).trainer
    assert type(trainer._accelerator_connector.cluster_environment) is environment


@pytest.mark.parametrize("value", ["1e-05", "True", "null"])
def test_values_as_sweeps_write_them(smoke_arguments: list[str], tmp_path: Path, value: str) -> None:
    flag = {
        "1e-05": "--model.learning_rates.grids=1e-05",
        "True": "--model.refine_tracking=True",
        "null": "--data.batches_per_epoch=null",
    }[value]
    cli = _build(smoke_arguments, tmp_path, flag)
    found = {
        "1e-05": cli.model.learning_rates.grids == 1e-5,
        "True": cli.model.refinement is not None,
        "null": cli.datamodule.batches_per_epoch is None,
    }
    assert found[value]


def test_each_launch_has_a_folder_of_its_own(smoke_arguments: list[str], monkeypatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "abc123")
    cli = AvatarCLI(["fit", *smoke_arguments], execute=False)
    assert cli.trainer.default_root_dir == "runs/abc123"
