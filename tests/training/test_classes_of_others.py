"""Classes of a package that is not ours train, save, resume, load, test and render."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import partnerface
from partnerface.cli.main import main
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.configuration.config_files import config_arguments
from partnerface.errors import UserError

PACKAGE = "strangers_package"
SOURCE = '''
import torch
from lightning.pytorch import Callback

from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.sequence import SequenceReader
from partnerface.deformation.part_networks import PartNetworks
from partnerface.evaluation.image_metric import ImageMetric
from partnerface.fields.hash_field import HashField
from partnerface.losses.loss import Loss
from partnerface.sampling.head_sampler import HeadRaySampler
from partnerface.skinning.nearest_surface import NearestSurface


class Shift(PartNetworks):
    """Parts, and one learned offset for all points."""

    def __init__(self, driving_width: int, start: float = 0.001, title: str = "torch.nn.ReLU") -> None:
        super().__init__(driving_width, parts=2, top_k=2)
        self.title, self.shift = title, torch.nn.Parameter(torch.full((3,), start))

    def forward(self, *arguments, **named):
        deformed = super().forward(*arguments, **named)
        deformed.offsets = deformed.offsets + self.shift
        return deformed


class Field(HashField):
    pass


class Sampler(HeadRaySampler):
    pass


class Skinning(NearestSurface):
    pass


class Squared(Loss):
    def forward(self, rendered, batch):
        return (rendered.rays.rgb - rendered.rays.rgb.detach() + 0.1).square().mean()


class Brightest(ImageMetric):
    higher_is_better, ideal, definition = True, 1.0, "the brightest value of the picture"

    def per_image(self, rendered, target, mask):
        return (rendered if mask is None else rendered[:, mask]).max()


class Adam(torch.optim.AdamW):
    pass


class Reader(SequenceReader):
    def __init__(self, folder: str) -> None:
        self.inner = PartnerfaceReader(folder)
        self.root = self.inner.root

    def read(self):
        return self.inner.read()


class Counter(Callback):
    """Counts the steps of a run, also across its restarts."""

    def __init__(self, path: str) -> None:
        self.path, self.steps = path, 0

    def on_train_batch_end(self, *_):
        self.steps += 1

    def on_train_end(self, *_):
        with open(self.path, "a") as file:
            file.write(f"{self.steps}\\n")

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]
'''


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, synthetic_dataset: Path, smoke_arguments) -> Iterator[Path]:
    """Folder of a run of four steps whose every exchangeable part is somebody else's."""
    folder = tmp_path_factory.mktemp("strangers")
    (folder / PACKAGE).mkdir()
    (folder / PACKAGE / "__init__.py").write_text("")
    (folder / PACKAGE / "parts.py").write_text(SOURCE)
    overlay = folder / "overlay.yaml"
    place = f"{PACKAGE}.parts"
    overlay.write_text(
        f"""
trainer:
  max_steps: 4
  callbacks+: [{{class_path: {place}.Counter, init_args: {{path: {folder / "steps"}}}}}]
model:
  optimizer: {{class_path: {place}.Adam, init_args: {{lr: 0.002}}}}
  avatar:
    init_args:
      deformation: {{class_path: {place}.Shift, init_args: {{start: 0.002}}}}
      field: {{class_path: {place}.Field}}
      sampler: {{class_path: {place}.Sampler}}
      skinning: {{class_path: {place}.Skinning}}
  metrics: {{brightest: {{class_path: {place}.Brightest}}}}
  losses:
    photometric: {{class_path: partnerface.losses.photometric.Photometric, init_args: {{weight: 1.0}}}}
    squared: {{class_path: {place}.Squared, init_args: {{weight: 0.5}}}}
"""
    )
    # The reader of the shipped files has other arguments, which would stay beside the new class.
    flags = [f for f in smoke_arguments if not f.startswith("--data.reader.")]
    data = flags.index(next(f for f in flags if f.endswith("synthetic.yaml")))
    del flags[data - 1 : data + 1]
    reader = [f"--data.reader={place}.Reader", f"--data.reader.folder={synthetic_dataset}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        out = folder / "run"
        assert main(["fit", *flags, "--config", str(overlay), *reader, f"--run_dir={out}"]) == 0
        yield out
    for name in [n for n in sys.modules if n.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def _checkpoint(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def _classes(avatar) -> set[str]:
    parts = importlib.import_module(f"{PACKAGE}.parts")
    return {type(module).__name__ for module in avatar.modules() if type(module).__module__ == parts.__name__}


def test_a_run_goes_on_from_its_checkpoint(run: Path) -> None:
    before = torch.load(_checkpoint(run), weights_only=True)
    arguments = ["--config", str(run / "config.yaml"), "--ckpt_path", "last", "--trainer.max_steps=6"]
    assert main(["fit", *arguments]) == 0
    after = torch.load(_checkpoint(run), weights_only=True)
    assert (before["global_step"], after["global_step"]) == (4, 6)
    shifts = [c["state_dict"]["avatar.deformation.shift"] for c in (before, after)]
    assert not torch.equal(*shifts)
    # The stranger's own state was restored: six steps, not two.
    assert (run.parent / "steps").read_text().split() == ["4", "6"]


@pytest.mark.parametrize("trust", [[PACKAGE], PACKAGE, f"other, {PACKAGE}", [f"{PACKAGE}.parts"]])
def test_the_avatar_loads_with_its_package_trusted(run: Path, trust) -> None:
    avatar = partnerface.load_avatar(_checkpoint(run), trust=trust)
    assert _classes(avatar) == {"Shift", "Field", "Sampler", "Skinning"}
    state = torch.load(_checkpoint(run), weights_only=True)["state_dict"]
    assert torch.equal(avatar.deformation.shift, state["avatar.deformation.shift"])
    # A text that reads like the name of code is a text.
    assert avatar.deformation.title == "torch.nn.ReLU"
    assert not avatar.training


@pytest.mark.parametrize("trust", [(), ["strangers"], [f"{PACKAGE}_of_others"], [f"{PACKAGE}.part"]])
def test_it_does_not_load_otherwise(run: Path, trust) -> None:
    with pytest.raises(UserError, match=rf"names {PACKAGE}\.parts\.\w+, .* --trust {PACKAGE} ") as refused:
        partnerface.load_avatar(_checkpoint(run), trust=trust)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_the_commands_take_it_by_the_configuration_of_its_run(
    run: Path, tmp_path: Path, command: str
) -> None:
    arguments = ["--config", str(run / "config.yaml"), "--ckpt_path", str(_checkpoint(run))]
    assert main([command, *arguments, f"--run_dir={tmp_path}", "--data.sample_frames=2"]) == 0
    if command == "test":
        scores = json.loads((tmp_path / "metrics.json").read_text())["splits"]
        assert all(0 < regions["full_frame"]["brightest"] <= 1 for regions in scores.values())


def test_the_commands_take_it_from_the_file_alone(
    run: Path, tmp_path: Path, smoke_arguments: list[str], capsys
) -> None:
    """Without a method's file the checkpoint says what the avatar is made of, if that is trusted."""
    flags = [f for f in smoke_arguments if f.startswith(("--data.", "--trainer."))]
    arguments = [*config_arguments("base", "data/synthetic", "scale/smoke"), *flags]
    arguments += ["--ckpt_path", str(_checkpoint(run)), f"--run_dir={tmp_path}"]
    assert main(["validate", *arguments]) == 2
    assert f"--trust {PACKAGE} " in capsys.readouterr().err
    flags = ["--trust", "something_else", "--trust", PACKAGE, "--model.refinement_prior=0.5"]
    cli = AvatarCLI(["validate", *arguments, *flags], execute=False)
    assert _classes(cli.model.avatar) == {"Shift", "Field", "Sampler", "Skinning"}
    # Flags count more than the file.
    assert cli.model.refinement_prior == 0.5
    assert cli.model.losses["squared"].weight == 0.5
    assert main(["validate", *arguments, *flags]) == 0
