"""`create` with a tracker that is stood in for: the path around it."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from partnerface.cli.check import check
from partnerface.cli.main import main
from partnerface.configuration import avatar_run
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.configuration.config_files import paths_as_text
from partnerface.configuration.head_model_arguments import head_model_arguments
from partnerface.errors import UserError
from partnerface.files.plain_values import read_yaml
from partnerface.files.video_reading.source import VideoSource
from partnerface.files.videos import write_video
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.open_head_model import open_head_model
from partnerface.runs.engine import locked
from tests.head_models.test_ict_facekit import small_file


@pytest.fixture
def commands(monkeypatch) -> list:
    """The trainer commands that would have run, and the folder that would have been animated.

    The dataset counts as fit.
    """
    ran: list = []

    def record(arguments: list[str]) -> None:
        ran.append(arguments)
        run = Path(arguments[arguments.index("--run_dir") + 1])
        if arguments[0] == "fit":
            (run / "checkpoints").mkdir(exist_ok=True)
            (run / "checkpoints" / "last.ckpt").touch()
        else:
            (run / "metrics.json").write_text('{"splits": {}}')

    monkeypatch.setattr(avatar_run, "run_trainer_command", record)
    monkeypatch.setattr("partnerface.cli.create.check", lambda dataset, out, flame: 0)
    monkeypatch.setattr(
        "partnerface.animation.run_animation.animate_run", lambda run_dir: ran.append(run_dir)
    )
    return ran


@pytest.fixture(scope="module")
def _square_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "me.mp4"
    write_video(path, [np.zeros((1024, 1100, 3), np.uint8)], 5)
    return path


@pytest.fixture
def video(_square_video: Path, tmp_path: Path) -> Path:
    """One frame of 1100x1024 pixels."""
    return shutil.copy(_square_video, tmp_path / "me.mp4")


def _track_copy(dataset: Path, sizes: list[int] | None = None):
    def track_video(video: VideoSource, out: Path, size: int, max_frames: int, head_model: HeadModel):
        assert head_model.asset.name == "anny"
        if not out.exists():
            shutil.copytree(dataset, out)
        if sizes is not None:
            sizes.append(size)

    return track_video


def test_tracks_fits_and_tests(
    video: Path, commands: list, synthetic_dataset: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    weights = "partnerface.losses.lpips_network.load_lpips"
    monkeypatch.setattr(weights, lambda: commands.append("weights of LPIPS"))
    out = tmp_path / "avatar"
    assert main(["create", str(video), "--out", str(out), "--preset", "full", "--size", "96"]) == 0
    # The page of the test shows the film.
    fetched, fit, animated, test = commands
    assert fetched == "weights of LPIPS"
    assert fit[0] == "fit"
    assert any(a.endswith("scale/full.yaml") for a in fit)
    assert f"--data.reader.init_args.root={out / 'dataset'}" in fit
    assert "--data.image_size=96" in fit
    assert test[:2] == ["test", "--config"]
    assert animated == out
    printed = capsys.readouterr().out
    assert "partnerface reenact" in printed
    assert "train longer" not in printed


def test_a_failed_tracking_leaves_no_dataset(video: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    def no_face(video: VideoSource, out: Path, size: int, max_frames: int, head_model: HeadModel) -> None:
        raise UserError(f"{video.path}: no face found")

    monkeypatch.setattr("partnerface.tracking.tracker.track_video", no_face)
    assert main(["create", str(video), "--out", str(tmp_path / "avatar")]) == 2
    assert "no face found" in capsys.readouterr().err
    assert not (tmp_path / "avatar" / "dataset").exists()


def test_a_failed_attempt_stands_in_no_ones_way(
    video: Path, commands: list, synthetic_dataset: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """With another size, preset and video, also where tracking has ended and training has not begun."""
    out = tmp_path / "avatar"

    def tracked_and_killed(video: VideoSource, out: Path, **settings) -> None:
        shutil.copytree(synthetic_dataset, out, dirs_exist_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("partnerface.tracking.tracker.track_video", tracked_and_killed)
    assert main(["create", str(video), "--out", str(out), "--size", "96"]) == 130
    other = shutil.copy(video, tmp_path / "other.mp4")
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    capsys.readouterr()
    assert main(["create", str(other), "--out", str(out), "--preset", "full"]) == 0
    assert (
        "only an attempt with video me.mp4, preset quick, size 96; starting anew" in capsys.readouterr().err
    )
    assert json.loads((out / "settings.json").read_text())["video"] == "other.mp4"
    assert commands[-2] == out
    # An avatar lies there now.
    assert main(["create", str(video), "--out", str(out)]) == 2
    assert "holds an avatar made with video other.mp4, preset full" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_continues_with_its_own_budget(
    video: Path, commands: list, synthetic_dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    """It ended by the clock, after more steps than are taken today, and was stopped before its test."""
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    out = tmp_path / "avatar"
    assert main(["create", str(video), "--out", str(out)]) == 0
    assert not any(word.startswith("--trainer.") for word in commands[0])
    (out / "metrics.json").unlink()
    (out / "config.yaml").write_text("trainer: {max_steps: 40000, max_time: '00:00:11:00'}\n")
    commands.clear()
    assert main(["create", str(video), "--out", str(out)]) == 0
    flags = ["--ckpt_path", "last", "--trainer.max_steps=40000", "--trainer.max_time=00:00:11:00"]
    assert commands[0][-4:] == flags


def _no_tracking(video: VideoSource, out: Path, **settings) -> None:
    raise AssertionError("tracked before all was tried")


def test_what_can_be_wrong_is_tried_before_tracking(video: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _no_tracking)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "settings.json").write_text('{"editor.fontSize": 12}')
    before = sorted(tmp_path.rglob("*"))
    for words, line in (
        (["me.mp4", "--out", "file"], "--out file: is a file; choose a folder"),
        (["me.mp4", "--out", "file/me"], "file/me: cannot be written"),
        (["me.mp4", "--out", "theirs"], "--out theirs: holds other files; choose another folder"),
        (["me.mp4", "--size", "100000"], "--size 100000: me.mp4 is 1100x1024; choose at most 1024"),
        (["me.mp4", "--max_frames", "5"], "--max_frames 5: at least 10 are needed"),
        (
            ["me.mp4", "--head_model", "flame"],
            "--head_model flame: no such file, nor one of anny",
        ),
        (
            ["me.mp4", "--head_model", "bad.mp4"],
            "--head_model bad.mp4: neither a .pkl nor a readable .npz",
        ),
        (["bad.mp4"], "bad.mp4"),
    ):
        assert main(["create", *words]) == 2
        [printed] = capsys.readouterr().err.splitlines()
        assert line in printed
    assert sorted(tmp_path.rglob("*")) == before


def test_wrong_values_do_not_wait_for_torch(video: Path, tmp_path: Path) -> None:
    wrong = [["--size", "100000"], ["--max_frames", "5"], ["--head_model", "flame"], ["--out", "me.mp4"]]
    code = (
        "import sys; from partnerface.cli.main import main; "
        f"codes = [main(['create', 'me.mp4', *words]) for words in {wrong}]; "
        "sys.exit(codes != [2, 2, 2, 2] or not {'torch', 'lightning', 'warp'}.isdisjoint(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, len(ended.stderr.splitlines())) == (0, 4)


def test_a_second_create_in_a_folder_is_refused(
    video: Path, commands: list, synthetic_dataset: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    out = tmp_path / "avatar"
    out.mkdir()
    with locked(out):
        assert main(["create", str(video), "--out", str(out)]) == 2
        assert f"--out {out}: in use by another command" in capsys.readouterr().err
        assert commands == []
    assert main(["create", str(video), "--out", str(out)]) == 0


def test_an_unfit_dataset_is_trained_on_anyway_alone(
    video: Path, commands: list, synthetic_dataset: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """A still photo: all pictures of the dataset are the first."""
    photo = tmp_path / "photo"
    shutil.copytree(synthetic_dataset, photo)
    first, *others = sorted((photo / "images").iterdir())
    for path in others:
        shutil.copy(first, path)
    monkeypatch.setattr("partnerface.cli.create.check", check)
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(photo))
    out = tmp_path / "avatar"
    assert main(["create", str(video), "--out", str(out)]) == 1
    printed = capsys.readouterr().out
    assert "a still picture" in printed
    assert f"unfit: {out / 'dataset'}: " in printed
    assert f"partnerface create {video} --out {out} --preset quick --anyway" in printed
    assert commands == []
    other = tmp_path / "other"
    settings = ["--preset=full", "--size=64", "--fps=20.0", "--max_frames=30"]
    assert main(["create", str(video), "--out", str(other), *settings]) == 1
    again = f"create {video} --out {other} --preset full --size=64 --fps=20.0 --max_frames=30 --anyway"
    assert again in capsys.readouterr().out
    assert json.loads((out / "check" / "check.json").read_text())["verdict"] == "unfit"
    assert main(["create", str(video), "--out", str(out), "--anyway"]) == 0
    fit, animated, test = commands
    assert (fit[0], animated, test[0]) == ("fit", out, "test")
    # What is trained is not checked again.
    assert main(["create", str(video), "--out", str(out)]) == 0


NAMES = ("me: take 2", "#1", "- a", "100%", "%s", "[a", "é 日本", "&it's")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_and_folders(
    name: str, video: Path, commands: list, synthetic_dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    """From the command line to the arguments of the trainer, which are read as text."""
    video.rename(tmp_path / f"{name}.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    for words, out in (([], Path("avatars", name)), (["--out", name], Path(name))):
        commands.clear()
        assert main(["create", f"{name}.mp4", *words]) == 0
        assert (out / "dataset" / "transforms.json").is_file()
        fit = paths_as_text(commands[0])
        given = {"root": str(out / "dataset")}
        as_table = json.dumps({"data": {"reader": {"init_args": given}}})
        assert f"--config={as_table}" in fit or f"--data.reader.init_args.root={given['root']}" in fit
        root = next((w.partition("=")[2] for w in fit if w.startswith("--data.reader.init_args.root=")), "a")
        assert isinstance(yaml.safe_load(root), str)


def test_an_unusual_name_through_training_and_test(
    video: Path, synthetic_dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    """The configuration that training leaves is read by the test; ``~`` is the home folder."""
    original = avatar_run.run_trainer_command
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(tmp_path))
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    monkeypatch.setattr("partnerface.animation.run_animation.animate_run", lambda run_dir: None)
    small = ["--trainer.max_steps=1", "--trainer.limit_val_batches=0", "--data.rays_per_frame=64"]
    last = ["--trainer.limit_test_batches=1", "--result_page=false"]
    monkeypatch.setattr(
        avatar_run, "run_trainer_command", lambda a: original([*a, *(small if a[0] == "fit" else last)])
    )
    assert main(["create", str(video), "--out=~/# é: 100%"]) == 0
    assert (tmp_path / "# é: 100%" / "metrics.json").is_file()


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize(("size", "tracked"), [(32, 512), (256, 512), (512, 512), (701, 702), (1024, 1024)])
def test_the_head_is_tracked_at_the_training_size_at_least(
    video: Path, synthetic_dataset: Path, tmp_path: Path, monkeypatch, size: int, tracked: int
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset, sizes))
    assert main(["create", str(video), "--out", str(tmp_path / "avatar"), "--size", str(size)]) == 0
    assert sizes == [tracked]


@pytest.mark.usefixtures("commands")
def test_another_preset_needs_another_folder(
    video: Path, synthetic_dataset: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    monkeypatch.chdir(tmp_path)
    assert main(["create", str(video)]) == 0
    assert (tmp_path / "avatars" / "me" / "metrics.json").is_file()
    assert main(["create", str(video), "--preset", "full"]) == 2
    assert "made with preset quick" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "made_with"),
    [
        (["--head_model", "ict_facekit"], "head_model ict_facekit"),
        (["--fps", "20", "--max_frames", "30"], "fps 20.0, max_frames 30"),
    ],
)
def test_a_setting_that_is_left_out_later_is_another_setting(
    words: list[str],
    made_with: str,
    video: Path,
    commands: list,
    synthetic_dataset: Path,
    tmp_path: Path,
    monkeypatch,
    capsys,
) -> None:
    """Tracking with the default would replace the dataset that the avatar was trained on."""
    out = tmp_path / "avatar"

    def track_video(video: VideoSource, out: Path, **settings) -> None:
        shutil.copytree(synthetic_dataset, out, dirs_exist_ok=True)

    monkeypatch.setattr("partnerface.tracking.tracker.track_video", track_video)
    assert main(["create", str(video), "--out", str(out), *words]) == 0
    assert main(["create", str(video), "--out", str(out), *words]) == 0
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _no_tracking)
    capsys.readouterr()
    assert main(["create", str(video), "--out", str(out)]) == 2
    line = f"--out {out}: holds an avatar made with {made_with}; choose another folder"
    assert capsys.readouterr().err == f"partnerface: {line}\n"


@pytest.mark.parametrize("name", ["me: take 2", "#1", "- a", "null", "100% Jürgen 你=好"])
def test_names_that_mean_something_else_in_yaml(
    name: str, video: Path, commands: list, synthetic_dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    """The fit finds the dataset, and so does what is read back from the run's configuration."""
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    monkeypatch.chdir(tmp_path)
    video.rename(f"{name}.mp4")
    assert main(["create", f"--video={name}.mp4", f"--out={name}"]) == 0
    shutil.rmtree(Path(name) / "checkpoints")
    parsed = AvatarCLI(commands[0], execute=False)
    root = parsed.config["fit"]["data"]["reader"]["init_args"]["root"]
    assert Path(root) == Path(name) / "dataset"
    written = parsed._parser("fit").dump(parsed.config["fit"], skip_none=False, skip_link_targets=True)
    (tmp_path / "config.yaml").write_text(written)
    again = AvatarCLI(["fit", "--config", "config.yaml", f"--run_dir={name}"], execute=False)
    assert Path(again.config["fit"]["data"]["reader"]["init_args"]["root"]) == Path(name) / "dataset"


def test_a_missing_video_and_a_wrong_preset(video: Path, tmp_path: Path, capsys) -> None:
    assert main(["create", str(tmp_path / "none.mp4")]) == 2
    assert "none.mp4: no such file" in capsys.readouterr().err
    assert main(["create", str(video), "--preset", "best"]) == 2
    assert "preset" in capsys.readouterr().err
    assert not (tmp_path / "avatars").exists()


@pytest.mark.parametrize(("preset", "size", "scale"), [("quick", "256", "gpu"), ("full", "512", "gpu_full")])
def test_a_gpu_has_settings_of_its_own(
    preset, size, scale, video: Path, commands: list, synthetic_dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    monkeypatch.setattr("partnerface.compute.cuda_support.chosen_accelerator", lambda asked: "cuda")
    assert main(["create", str(video), "--out", str(tmp_path / "avatar"), "--preset", preset]) == 0
    assert any(a.endswith(f"scale/{scale}.yaml") for a in commands[0])
    assert f"--data.image_size={size}" in commands[0]


@pytest.mark.parametrize("begun", ["cpu", "cuda"])
@pytest.mark.parametrize("command", ["create", "demo"])
def test_a_run_keeps_its_scale_on_another_machine(
    begun, command, video: Path, commands: list, synthetic_dataset: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Its checkpoint would not fit networks of another size."""
    out, machine = tmp_path / "avatar", [begun]
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    monkeypatch.setattr("partnerface.compute.cuda_support.chosen_accelerator", lambda asked: machine[0])
    scales = {"create": {"cpu": "full", "cuda": "gpu_full"}, "demo": {"cpu": "demo", "cuda": "gpu"}}[command]
    words = ["create", str(video), "--preset", "full"] if command == "create" else ["demo"]
    elsewhere = "cuda" if begun == "cpu" else "cpu"
    for machine[0] in (begun, elsewhere, begun):
        commands.clear()
        # The run was stopped before its first checkpoint.
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
        (out / "metrics.json").unlink(missing_ok=True)
        assert main([*words, "--out", str(out)]) == 0
        assert any(word.endswith(f"scale/{scales[begun]}.yaml") for word in commands[0])
        line = f"begun with configs/scale/{scales[begun]}.yaml on another machine and keeps it"
        assert (line in capsys.readouterr().err) == (machine[0] != begun)
    assert json.loads((out / "settings.json").read_text())["scale"] == scales[begun]


def test_a_folder_of_an_earlier_version_names_no_scale(
    video: Path, commands: list, synthetic_dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("partnerface.tracking.tracker.track_video", _track_copy(synthetic_dataset))
    settings = {"video": "me.mp4", "bytes": video.stat().st_size, "preset": "quick", "size": 256}
    (tmp_path / "avatar").mkdir()
    (tmp_path / "avatar" / "settings.json").write_text(json.dumps(settings))
    assert main(["create", str(video), "--out", str(tmp_path / "avatar")]) == 0
    assert any(word.endswith("scale/quick.yaml") for word in commands[0])


def test_flags_of_a_head_model_open_the_same_one(tmp_path: Path) -> None:
    """A packaged head by its configuration file, a file by its path too."""
    small_file(tmp_path / "head.npz")
    for text in ("anny", "ict_facekit", str(tmp_path / "head.npz")):
        head_model = open_head_model(text)
        flags = head_model_arguments(text, head_model)
        chosen = read_yaml(Path(flags[1]))["model"]["avatar"]["head_model"]
        module, _, name = chosen["class_path"].rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        paths = [flag.rpartition("=")[2] for flag in flags[2:]]
        again = kind(*(Path(path) for path in paths))
        assert again.asset.checksum() == head_model.asset.checksum()
