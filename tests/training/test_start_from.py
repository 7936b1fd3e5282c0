"""A new deformation on the field and torso of a trained avatar: what is taken and what is refused."""

import shutil
from pathlib import Path

import pytest
import torch

from partnerface.avatar_files.checkpoint_file import read_checkpoint
from partnerface.avatar_files.loading import load_avatar
from partnerface.cli.main import main
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.configuration.config_files import config_arguments

TINY = "--model.avatar.field.init_args.log2_table_size=12"
FAST = "--trainer.max_steps=2"


def arguments(root: Path, method: str, run: Path, *flags: str) -> list[str]:
    names = ("base", f"method/{method}", "head_model/anny", "data/partnerface", "scale/smoke")
    cells = [] if method == "nerface" else ["--model.avatar.sampler.init_args.cells=32", TINY]
    flags = (f"--data.reader.init_args.root={root}", "--trainer.accelerator=cpu", *cells, *flags)
    return [*config_arguments(*names), *flags, "--result_page=false", f"--run_dir={run}"]


@pytest.fixture(scope="module")
def statics(synthetic_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of an avatar that moves by skinning alone."""
    run = tmp_path_factory.mktemp("runs") / "statics"
    assert main(["fit", *arguments(synthetic_dataset, "skinning_only", run, FAST)]) == 0
    return run


def set_up(words: list[str], continued: str | None = None) -> AvatarCLI:
    """Everything built, ready for the first step, or for the weights of a training that is ``continued``."""
    cli = AvatarCLI(["fit", *words], execute=False)
    cli.trainer.strategy.connect(cli.model)
    cli.model.trainer, cli.trainer.datamodule = cli.trainer, cli.datamodule
    cli.model.setup("fit")
    cli.trainer.ckpt_path = continued
    cli.model.on_fit_start()
    cli.model.on_fit_end()
    return cli


@pytest.mark.parametrize("method", ["part_deformation", "skinning_only"])
def test_the_first_picture_is_that_of_skinning_alone(statics, synthetic_dataset, tmp_path, method) -> None:
    """Also where the field takes a code that the old one did not."""
    cli = set_up(arguments(synthetic_dataset, method, tmp_path, f"--model.start_from={statics}"))
    view = cli.datamodule.views.select([3])
    with torch.no_grad():
        expected = load_avatar(statics).render(view)
        found = cli.model.eval().avatar.render(view)
    torch.testing.assert_close(found.on_white(), expected.on_white(), atol=2e-6, rtol=0)
    assert expected.alpha.max() > 0.1


def test_deformation_and_driving_signal_are_new(trained_run, smoke_arguments, tmp_path) -> None:
    before = read_checkpoint(trained_run / "checkpoints" / "last.ckpt")["state_dict"]
    cli = set_up([*smoke_arguments, f"--run_dir={tmp_path}", f"--model.start_from={trained_run}"])
    same = {name: torch.equal(value, before[name]) for name, value in cli.model.state_dict().items()}
    assert all(same[name] for name in same if name.startswith(("avatar.field.", "avatar.torso.planes")))
    moved = [name for name in same if name.startswith("avatar.deformation.") and not same[name]]
    assert any(".local." in name for name in moved), moved


def test_a_training_that_is_continued_keeps_its_own_weights(statics, synthetic_dataset, tmp_path) -> None:
    words = arguments(synthetic_dataset, "global_deformation", tmp_path)
    fresh, continued = (
        set_up([*words, *flags], last)
        for flags, last in (([], None), ([f"--model.start_from={statics}"], "last.ckpt"))
    )
    state = continued.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in fresh.model.state_dict().items())


def test_a_training_is_continued_without_what_it_started_from(synthetic_dataset, statics, tmp_path) -> None:
    other, run = tmp_path / "statics", tmp_path / "run"
    shutil.copytree(statics, other)
    words = arguments(synthetic_dataset, "global_deformation", run, f"--model.start_from={other}", FAST)
    assert main(["fit", *words]) == 0
    shutil.rmtree(other)
    more = ["--ckpt_path", "last", "--trainer.max_steps=4"]
    assert main(["fit", *words, *more]) == 0
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] == 4


def test_the_weights_do_not_name_where_they_come_from(statics, synthetic_dataset, tmp_path) -> None:
    """The configuration does, so that it repeats the run; a test needs the other run no more."""
    words = arguments(synthetic_dataset, "global_deformation", tmp_path, FAST)
    assert main(["fit", *words, f"--model.start_from={statics}"]) == 0
    assert "start_from" not in read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["hyper_parameters"]
    config = tmp_path / "config.yaml"
    assert f"start_from: {statics}" in config.read_text()
    config.write_text(config.read_text().replace(str(statics), "gone"))
    assert main(["validate", "--config", str(config)]) == 0


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--model.start_from=nowhere.ckpt"], "--model.start_from: checkpoint nowhere.ckpt: no such file"),
        (["--model.start_from=."], "--model.start_from: .: holds no checkpoints/last.ckpt"),
        (["--model.start_from={statics}", TINY.replace("12", "11")], "train both with the same field"),
        (["--model.start_from={config}"], "--model.start_from: checkpoint {config}: not readable"),
    ],
)
def test_what_does_not_fit_is_one_line(statics, synthetic_dataset, tmp_path, capsys, flags, part) -> None:
    places = {"statics": str(statics), "config": str(statics / "config.yaml")}
    words = arguments(synthetic_dataset, "global_deformation", tmp_path / "run", FAST)
    assert main(["fit", *words, *(flag.format(**places) for flag in flags)]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if "start_from" in line]
    assert part.format(**places) in line
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_another_person_or_no_deformation(statics, synthetic_dataset, tmp_path, capsys) -> None:
    content = read_checkpoint(statics / "checkpoints" / "last.ckpt")
    content["state_dict"]["avatar.identity"][0] += 0.1
    other = tmp_path / "other.ckpt"
    torch.save(content, other)
    for start, method, part in (
        (other, "skinning_only", "was trained on another person"),
        (statics, "nerface", "NeRFace has no deformation"),
    ):
        words = arguments(synthetic_dataset, method, tmp_path / method, FAST, f"--model.start_from={start}")
        assert main(["fit", *words]) == 2
        assert part in capsys.readouterr().err
