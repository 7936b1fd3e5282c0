"""An avatar file shows what its checkpoint shows, to the bit, and imports no trainer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import partnerface
from partnerface.avatar_files.avatar_file import head_model_reference, read_avatar_file
from partnerface.avatar_files.loading import export_avatar_file
from partnerface.cli.main import main
from partnerface.configuration.config_files import config_arguments
from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead

GUEST = "guest_avatar_parts"


@pytest.fixture(scope="session")
def nerface_run(tmp_path_factory: pytest.TempPathFactory, synthetic_dataset: Path) -> Path:
    run = tmp_path_factory.mktemp("nerface") / "run"
    arguments = [
        *config_arguments("base", "method/nerface", "head_model/anny", "data/synthetic", "scale/smoke"),
        *(f"--data.reader.init_args.{k}" for k in (f"root={synthetic_dataset}", "frames=24", "size=32")),
        *("--model.avatar.init_args.hidden_width=16", "--model.avatar.init_args.importance=4"),
        *("--trainer.accelerator=cpu", "--trainer.max_steps=2", f"--run_dir={run}"),
    ]
    assert main(["fit", *arguments]) == 0
    return run


@pytest.fixture
def guest_run(tmp_path: Path, synthetic_dataset: Path) -> Iterator[Path]:
    """A run of somebody else's skinning, deformation, field and sampler."""
    shutil.copytree(Path(__file__).parents[1] / "contracts" / GUEST, tmp_path / GUEST)
    arguments = [
        *config_arguments("base"),
        f"--config={tmp_path / GUEST / 'guest.yaml'}",
        *config_arguments("head_model/anny", "scale/smoke"),
        f"--data.reader.init_args.folder={synthetic_dataset}",
        *("--trainer.accelerator=cpu", "--trainer.max_steps=2", f"--run_dir={tmp_path / 'run'}"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        assert main(["fit", *arguments]) == 0
        yield tmp_path / "run"
    for name in [name for name in sys.modules if name.partition(".")[0] == GUEST]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", ["trained_run", "nerface_run", "guest_run"])
def test_the_file_shows_what_the_checkpoint_shows(request, tmp_path: Path, kind: str) -> None:
    run, out = request.getfixturevalue(kind), tmp_path / "me.avatar"
    trust = [GUEST] if kind == "guest_run" else []
    export_avatar_file(run, out, trust)
    before, after = (partnerface.load_avatar(path, trust=trust) for path in (run, out))
    assert type(after) is type(before)
    shown, expected = (
        avatar.render(avatar.default_view().turned(yaw=10).resized(24, 20), with_parts=True)
        for avatar in (after, before)
    )
    for name in ("rgb", "alpha", "depth", "part_weights"):
        assert torch.equal(getattr(shown, name), getattr(expected, name)), name
    assert (expected.alpha > 0).any()
    export_avatar_file(out, tmp_path / "again.avatar", trust)
    first, copied = (read_avatar_file(path) for path in (out, tmp_path / "again.avatar"))
    assert (copied.avatar, copied.head_model, copied.scores) == (first.avatar, first.head_model, first.scores)
    assert copied.tensors.keys() == first.tensors.keys()
    assert all(torch.equal(copied.tensors[name], value) for name, value in first.tensors.items())
    if kind == "guest_run":
        with pytest.raises(UserError, match=f"--trust {GUEST}"):
            partnerface.load_avatar(out)


def test_what_the_file_says(trained_run: Path, tmp_path: Path) -> None:
    """Read with the library alone: any program can."""
    from safetensors import safe_open

    out = tmp_path / "me.avatar"
    assert main(["export", "avatar", str(trained_run), "--out", str(out)]) == 0
    with safe_open(out, framework="numpy") as file:
        metadata, names = file.metadata(), set(file.keys())
        identity = file.get_tensor("identity")
    assert (metadata["format"], metadata["format_version"]) == ("partnerface avatar", "1")
    assert metadata["partnerface_version"] == partnerface.__version__
    head = json.loads(metadata["head_model"])
    assert head == head_model_reference(AnnyHead())
    assert len(head["expression_names"]) == 52
    assert json.loads(metadata["scores"]) == json.loads((trained_run / "metrics.json").read_text())
    state = torch.load(trained_run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert names == {k.removeprefix("avatar.") for k in state if k.startswith("avatar.")}
    assert torch.equal(torch.from_numpy(identity), state["avatar.identity"])
    assert str(trained_run) not in out.read_bytes().decode("latin-1")


def test_the_file_has_the_name_of_its_run(trained_run: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "anna"
    shutil.copytree(trained_run, run)
    assert main(["export", "avatar", str(run / "checkpoints" / "last.ckpt")]) == 0
    assert read_avatar_file(tmp_path / "anna.avatar").scores is not None
    assert str(tmp_path / "anna.avatar") in capsys.readouterr().out
    # Scores of an earlier training are not those of these weights.
    scores = json.loads((run / "metrics.json").read_text())
    scores["protocol"]["trained_steps"] += 1
    (run / "metrics.json").write_text(json.dumps(scores))
    assert main(["export", "avatar", str(run)]) == 0
    assert read_avatar_file(tmp_path / "anna.avatar").scores is None
    # A run that was not tested has no scores, and is exported.
    (run / "metrics.json").unlink()
    assert main(["export", "avatar", str(run)]) == 0
    assert read_avatar_file(tmp_path / "anna.avatar").scores is None


def test_a_folder_without_a_checkpoint_and_a_wrong_name_are_refused(
    trained_run: Path, tmp_path: Path, capsys
) -> None:
    assert main(["export", "avatar"]) == 2
    assert main(["export", "avatar", str(tmp_path)]) == 2
    assert main(["export", "avatar", str(trained_run), "--out", str(tmp_path / "me.bin")]) == 2
    (tmp_path / "file").touch()
    assert main(["export", "avatar", str(trained_run), "--out", str(tmp_path / "file" / "me.avatar")]) == 2
    errors = capsys.readouterr().err
    assert "avatar" in errors.splitlines()[0]
    assert "holds no checkpoints/last.ckpt" in errors
    assert "ends in .avatar" in errors
    assert "cannot be written" in errors
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_loading_and_rendering_import_no_trainer(trained_run: Path, tmp_path: Path) -> None:
    """In a fresh process; torch's compiler alone takes more than a second."""
    export_avatar_file(trained_run, tmp_path / "me.avatar")
    code = (
        "import sys, partnerface; avatar = partnerface.load_avatar(sys.argv[1]); avatar.render("
        "avatar.neutral_view(), size=(8, 8)); print([m for m in ('lightning', 'wandb', 'torchmetrics', "
        "'tensorboard', 'matplotlib', 'torch._dynamo', 'partnerface.training') if m in sys.modules])"
    )
    for path in (tmp_path / "me.avatar", trained_run):
        ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
        assert ended.stdout.strip() == "[]", ended.stderr[-2000:]
