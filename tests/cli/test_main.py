"""The console entry: what it lists, how fast it starts, and how bad input ends."""

import contextlib
import errno
import inspect
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from partnerface.cli.main import EXIT_BAD_INPUT, TOOLS, TRAINER_COMMANDS, _user_message, main
from partnerface.configuration.config_files import config_arguments
from partnerface.data.datamodule import HeadVideoDataModule
from partnerface.training.module import AvatarModule


def _one_line(capsys, arguments: list[str]) -> str:
    """The single line that a command with bad input prints."""
    assert main(arguments) == EXIT_BAD_INPUT
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("partnerface: ")]
    assert len(lines) == 1
    return lines[0]


def test_help_lists_every_command(capsys) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for command in (*TRAINER_COMMANDS, *TOOLS):
        assert f"  {command} " in printed


def test_help_imports_neither_torch_nor_lightning() -> None:
    """It is what keeps the start under a second."""
    code = (
        "import sys; from partnerface.cli.main import main; main(['--help']); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'lightning', 'warp', 'jsonargparse')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("command", ["track", "create"])
def test_a_missing_video_is_named_without_importing_torch(command: str, tmp_path: Path) -> None:
    code = (
        "import sys; from partnerface.cli.main import main; "
        f"code = main(['{command}', 'none.mp4', '--out', 'out']); "
        "sys.exit(code if not {'torch', 'lightning', 'warp', 'numpy'} & set(sys.modules) else 1)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (2, "partnerface: video none.mp4: no such file\n")


def test_every_tool_explains_itself(capsys) -> None:
    for command in TOOLS:
        with pytest.raises(SystemExit) as ended:
            main([*command.split(), "--help"])
        assert ended.value.code == 0
        assert f"partnerface {command}" in capsys.readouterr().out


@pytest.fixture(scope="module")
def help_of() -> Callable[..., str]:
    """What a trainer command prints for a help word."""

    def read(*words: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit) as ended:
            main([*words])
        assert ended.value.code == 0
        return printed.getvalue()

    return read


def test_the_help_of_a_trainer_command_fits_a_page_and_names_all_that_is_ours(help_of) -> None:
    page = help_of("predict", "--help")
    assert len(page.splitlines()) <= 70
    assert max(map(len, page.splitlines())) <= 120
    for parts, prefix in ((AvatarModule, "--model."), (HeadVideoDataModule, "--data.")):
        names = set(inspect.signature(parts).parameters) - {"num_frames", "learning_rates"}
        assert names <= {word.removeprefix(prefix) for word in page.split() if word.startswith(prefix)}
    for word in ("--run_dir", "--ckpt_path", "--trainer.max_steps", "--help=all", "--help=data"):
        assert f"  {word} " in page


def test_help_of_a_group_and_of_everything(help_of) -> None:
    group = help_of("fit", "--help=data")
    assert "--data.resident" in group
    assert "default: 256" in group
    assert "--trainer." not in group
    assert help_of("fit", "--help=model.learning_rates").count("--model.learning_rates.") == 4
    everything = help_of("fit", "--help=all")
    assert group.rstrip().splitlines()[-1] in everything
    assert "--trainer.sync_batchnorm" in everything


def test_help_of_nothing(capsys) -> None:
    assert "--help=nothing: no key begins so; choose run, data" in _one_line(
        capsys, ["fit", "--help=nothing"]
    )


@pytest.mark.parametrize(
    ("left_out", "line"),
    [
        ("method/part_deformation", "no method: add --config configs/method/part_deformation.yaml"),
        ("head_model/anny", "no head model: add --config configs/head_model/anny.yaml"),
        ("data/partnerface", "no dataset: add --config configs/data/partnerface.yaml"),
        (None, "no dataset: add --data.reader.root FOLDER"),
    ],
)
def test_a_forgotten_file_is_what_is_missing(capsys, left_out: str | None, line: str) -> None:
    """Not the fault of the file that comes after it."""
    names = ["base", "method/part_deformation", "head_model/anny", "data/partnerface", "scale/smoke"]
    printed = _one_line(capsys, ["fit", *config_arguments(*(name for name in names if name != left_out))])
    assert printed.startswith(f"partnerface: {line}")


def test_a_test_without_a_configuration_is_told_that_of_the_run(capsys) -> None:
    for flags in ([], ["--data.reader.root=ds"]):
        line = _one_line(capsys, ["test", "--run_dir", "runs/me", *flags])
        assert line == "partnerface: no configuration: add --config runs/me/config.yaml, that of the run"


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as caught:
        (tmp_path / ("a" * 300)).is_file()
    assert _user_message(caught.value).endswith("aaa: File name too long")


def test_a_name_in_another_encoding(capsys, tmp_path: Path) -> None:
    """As Python gives what is no UTF-8 in an argument."""
    assert "rename the file" in _one_line(capsys, ["track", os.fsdecode(b"caf\xe9.mp4"), "--out", "a"])


def test_the_console_script_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    """The one test through a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "partnerface", "create", str(tmp_path / "none.mp4")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == f"partnerface: video {tmp_path / 'none.mp4'}: no such file\n"


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help=all"]])
def test_a_reader_that_has_enough_is_no_error(words: list[str]) -> None:
    command = [sys.executable, "-m", "partnerface", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.parametrize(
    "words",
    [
        "create --out me none.mp4",
        "create --preset quick none.mp4 --size 64",
        "create --anyway none.mp4",
        "create --anyway true --head-model anny none.mp4",
        "create --anyway --out me none.mp4 --anyway no",
        "track --out=ds none.mp4",
        "track --fps 20 --out ds none.mp4",
    ],
)
def test_the_first_argument_of_a_tool_may_stand_anywhere(words: str, capsys) -> None:
    assert _one_line(capsys, words.split()) == "partnerface: video none.mp4: no such file"


def test_no_second_first_argument_is_taken(capsys) -> None:
    assert "'b.mp4'" in _one_line(capsys, ["create", "--video", "a.mp4", "b.mp4"])
    assert "'b.mp4'" in _one_line(capsys, ["create", "--size", "64", "a.mp4", "b.mp4"])
    assert "expected bool, got maybe" in _one_line(capsys, ["create", "a.mp4", "--anyway", "maybe"])


def test_the_help_of_a_tool_shows_its_first_argument(help_of) -> None:
    assert help_of("track", "--help").startswith("usage: partnerface track VIDEO --out OUT [options]\n")
    assert help_of("demo", "--help").startswith("usage: partnerface demo [OUT] [options]\n")


def test_an_unknown_command(capsys) -> None:
    assert "no command 'fti'" in _one_line(capsys, ["fti"])


def test_no_command_shows_the_overview(capsys) -> None:
    assert main([]) == EXIT_BAD_INPUT
    assert "usage: partnerface COMMAND" in capsys.readouterr().out


def test_a_wrong_flag_of_a_tool_names_the_nearest(capsys) -> None:
    line = _one_line(capsys, ["demo", "--minuts", "3"])
    assert "'minuts'" in line
    assert "did you mean 'minutes'?" in line


def test_a_wrong_value_of_a_tool(capsys) -> None:
    assert "minutes" in _one_line(capsys, ["demo", "--minutes", "soon"])
    assert "subject" in _one_line(capsys, ["demo", "--subject", "z"])
    assert "--minutes -1.0: must be more than 0" in _one_line(capsys, ["demo", "--minutes=-1"])
    for size in ("31", "100000"):
        assert f"--size {size}: choose 32 to 4096" in _one_line(capsys, ["demo", "--size", size])


@pytest.mark.parametrize(
    ("flag", "wrong", "right"),
    [
        ("--trainer.max_step=3", "max_step", "trainer.max_steps"),
        ("--model.refine_trackin=false", "refine_trackin", "refine_tracking"),
        ("--model.avatar.deformation.init_args.hiden_width=3", "hiden_width", "hidden_width"),
        ("--data.reader.init_args.sise=3", "sise", "size"),
    ],
)
def test_a_wrong_configuration_key_names_the_nearest(
    capsys, smoke_arguments: list[str], flag: str, wrong: str, right: str
) -> None:
    line = _one_line(capsys, ["fit", *smoke_arguments, flag])
    assert wrong in line
    assert right in line
    assert len(line) < 200


def test_a_wrong_key_in_a_file(capsys, smoke_arguments: list[str], tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("model: {avatar: {deformation: {init_args: {prts: 4}}}}\n")
    line = _one_line(capsys, ["fit", *smoke_arguments, "--config", str(overlay)])
    assert "'prts'" in line.replace("model.avatar.deformation.", "")
    assert "parts" in line


def test_a_missing_configuration_file(capsys) -> None:
    assert "configuration none.yaml: no such file" in _one_line(capsys, ["fit", "--config", "none.yaml"])


def test_a_wrong_value_in_the_configuration(capsys, smoke_arguments: list[str]) -> None:
    line = _one_line(capsys, ["fit", *smoke_arguments, "--data.image_size=large"])
    assert "image_size" in line
    assert "large" in line


def test_an_output_folder_that_cannot_be_written(capsys, smoke_arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "run"
    assert "cannot be written" in _one_line(capsys, ["fit", *smoke_arguments, f"--run_dir={folder}"])
    assert "cannot be written" in _one_line(capsys, ["demo", "--out", str(folder)])


def test_a_full_disk_while_training(capsys, smoke_arguments: list[str], tmp_path: Path, monkeypatch) -> None:
    def full_disk(checkpoint: dict, file) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    run = tmp_path / "run"
    arguments = ["fit", *smoke_arguments, "--trainer.max_steps=1", f"--run_dir={run}"]
    assert "No space left on device" in _one_line(capsys, arguments)
    assert list((run / "checkpoints").iterdir()) == []


def test_a_disk_that_is_full_for_a_while(
    capsys, smoke_arguments: list[str], tmp_path: Path, monkeypatch
) -> None:
    """Training goes on, tells of it, and saves when there is room again."""
    from partnerface.errors import UserError
    from partnerface.training.callbacks import log_renderings
    from partnerface.training.resume.run_checkpoint import last_checkpoint

    save, calls = torch.save, []

    def full_at_first(checkpoint: dict, file) -> None:
        calls.append(None)
        if len(calls) <= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(checkpoint, file)

    def no_picture(path: Path, image) -> None:
        raise UserError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr(torch, "save", full_at_first)
    monkeypatch.setattr(log_renderings, "write_image", no_picture)
    overlay = tmp_path / "overlay.yaml"
    name = "partnerface.training.resume.run_checkpoint.RunCheckpoint"
    pictures = "partnerface.training.callbacks.log_renderings.LogRenderings"
    overlay.write_text(
        f"trainer: {{callbacks: [{{class_path: {name}, init_args: {{every_seconds: 0}}}}, "
        f"{{class_path: {pictures}, init_args: {{every_steps: 2}}}}]}}\n"
    )
    flags = ["--config", str(overlay), "--trainer.max_steps=4", "--trainer.limit_val_batches=1"]
    assert main(["fit", *smoke_arguments, *flags, f"--run_dir={tmp_path / 'run'}"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "training continues" in line]
    assert len([line for line in lines if "last.ckpt: cannot be written" in line]) == 2
    assert len([line for line in lines if "step_000002.png: cannot be written" in line]) == 1
    assert torch.load(last_checkpoint(tmp_path / "run"), weights_only=True)["global_step"] == 4


def test_the_best_few_checkpoints_beside_the_last(smoke_arguments: list[str], tmp_path: Path) -> None:
    """Lightning's own callback keeps them, written as safely; no more files than asked for."""
    overlay, folder = tmp_path / "overlay.yaml", tmp_path / "run" / "checkpoints"
    options = f"{{dirpath: {folder}, monitor: val/psnr, mode: max, save_top_k: 2, filename: 'best-{{step}}'}}"
    overlay.write_text(
        "trainer: {callbacks+: [{class_path: lightning.pytorch.callbacks.ModelCheckpoint, "
        f"init_args: {options}}}]}}\n"
    )
    flags = ["--config", str(overlay), "--trainer.max_steps=6", "--trainer.val_check_interval=1"]
    assert main(["fit", *smoke_arguments, *flags, f"--run_dir={tmp_path / 'run'}"]) == 0
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 3
    assert "last.ckpt" in files
    assert all(torch.load(folder / name, weights_only=True)["state_dict"] for name in files)


def test_a_folder_with_a_trained_avatar_is_not_overwritten(
    capsys, smoke_arguments: list[str], trained_run: Path
) -> None:
    before = (trained_run / "checkpoints" / "last.ckpt").read_bytes()
    line = _one_line(capsys, ["fit", *smoke_arguments, f"--run_dir={trained_run}"])
    assert "--ckpt_path last" in line
    assert (trained_run / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_checkpoint_that_is_not_there(capsys, smoke_arguments: list[str], tmp_path: Path) -> None:
    """Only `fit` may begin where there is no `last` yet, and says so; a path is always meant."""
    for command, named in (("fit", str(tmp_path / "other.ckpt")), ("validate", "last")):
        arguments = [command, *smoke_arguments, f"--run_dir={tmp_path / 'new'}"]
        assert "no such checkpoint" in _one_line(capsys, [*arguments, f"--ckpt_path={named}"])


def test_a_checkpoint_of_another_architecture(capsys, trained_run: Path, tmp_path: Path) -> None:
    arguments = ["--config", str(trained_run / "config.yaml"), f"--run_dir={tmp_path}"]
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    wider = "--model.avatar.deformation.init_args.hidden_width=40"
    line = _one_line(capsys, ["test", *arguments, f"--ckpt_path={checkpoint}", wider])
    assert "does not fit this avatar" in line
    assert "size mismatch" in line


def test_validate_prints_scores(capsys, trained_run: Path, tmp_path: Path) -> None:
    arguments = ["--config", str(trained_run / "config.yaml"), f"--run_dir={tmp_path}"]
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    assert main(["validate", *arguments, f"--ckpt_path={checkpoint}"]) == 0
    assert "val/head_psnr" in capsys.readouterr().out


def test_a_dataset_that_is_not_there(capsys, smoke_arguments: list[str], tmp_path: Path) -> None:
    arguments = [
        "fit",
        *smoke_arguments,
        "--data.reader=partnerface.data.formats.partnerface.PartnerfaceReader",
        f"--data.reader.init_args.root={tmp_path / 'none'}",
        f"--run_dir={tmp_path / 'run'}",
    ]
    assert "none" in _one_line(capsys, arguments)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_dataset_of_another_head_model(
    capsys, smoke_arguments: list[str], synthetic_dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    from dataclasses import replace

    from partnerface.data.synthetic.reader import SyntheticReader

    read = SyntheticReader.read

    def read_other(reader: SyntheticReader):
        sequence = read(reader)
        return replace(
            sequence, head_model_record=replace(sequence.head_model_record, name="another", version="7")
        )

    monkeypatch.setattr(SyntheticReader, "read", read_other)
    line = _one_line(capsys, ["fit", *smoke_arguments, f"--run_dir={tmp_path / 'run'}"])
    assert "another 7" in line
    assert "anny" in line


def test_a_test_that_is_terminated_leaves_no_scores(
    capsys, trained_run: Path, tmp_path: Path, monkeypatch
) -> None:
    """Lightning would finish it first."""
    from partnerface.training.module import AvatarModule

    original, calls = AvatarModule.test_step, []

    def terminated(module: AvatarModule, batch, batch_idx: int):
        calls.append(batch_idx)
        os.kill(os.getpid(), signal.SIGTERM)
        return original(module, batch, batch_idx)

    monkeypatch.setattr(AvatarModule, "test_step", terminated)
    arguments = ["--config", str(trained_run / "config.yaml"), f"--run_dir={tmp_path}"]
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    assert main(["test", *arguments, f"--ckpt_path={checkpoint}"]) == 143
    assert calls == [0]
    assert "partnerface: terminated" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_termination_ends_quietly(capsys, monkeypatch) -> None:
    from partnerface.runs.stop_signals import Terminated

    def terminated(arguments: list[str]) -> int:
        raise Terminated

    monkeypatch.setattr("partnerface.cli.main._dispatch", terminated)
    assert main(["demo"]) == 143
    assert capsys.readouterr().err == "partnerface: terminated; what was done is kept\n"


def test_an_interrupt_ends_quietly(capsys, monkeypatch) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("partnerface.cli.main._dispatch", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "partnerface: interrupted; what was done is kept\n"


def test_a_gpu_without_memory_is_one_line(
    smoke_arguments: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    """As torch raises it in the middle of a step."""

    def full(*_) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("partnerface.training.module.AvatarModule.training_step", full)
    line = _one_line(capsys, ["fit", *smoke_arguments, f"--run_dir={tmp_path / 'run'}"])
    assert "--data.rays_per_frame" in line
