"""The shipped configuration files parse in stacks; every method is built and runs."""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import get_origin, get_type_hints

import pytest
import torch
import yaml

from partnerface.cli.main import main
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.configuration.config_files import CONFIGS, config_arguments
from partnerface.deformation.deformation import Deformation
from partnerface.deformation.driving_signal import DrivingSignal
from partnerface.deformation.global_deformation import GlobalDeformation
from partnerface.deformation.lip_expression import LipExpression
from partnerface.deformation.part_blendshapes import PartBlendshapes
from partnerface.deformation.part_networks import PartNetworks
from partnerface.head_models.head_model import HeadModel
from partnerface.training.module import AvatarModule
from partnerface.training.optimisation import adamw


def _names(folder: str) -> list[str]:
    return sorted(f"{folder}/{path.stem}" for path in (CONFIGS / folder).glob("*.yaml"))


METHODS, HEAD_MODELS, DATA, SCALES, LOGGERS = (
    _names(folder) for folder in ("method", "head_model", "data", "scale", "logger")
)
# Scales that size the hash field are for methods that have one.
SCALES_OF_OTHERS = {"method/nerface": {"scale/quick", "scale/full", "scale/gpu", "scale/gpu_full"}}
# What a user must add to a file, because only the user knows it.
USERS_PART = {
    "head_model/flame": ["--model.avatar.head_model.init_args.path=flame2023.pkl"],
    "data/partnerface": ["--data.reader.init_args.root=datasets/me"],
}


def _printed(arguments: list[str], capsys) -> dict:
    with pytest.raises(SystemExit) as ended:
        main(["fit", *arguments, "--print_config"])
    assert ended.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def _check_stack(names: list[str], capsys) -> None:
    flags = [flag for name in names for flag in USERS_PART.get(name, [])]
    config = _printed([*config_arguments(*names), *flags], capsys)
    assert config["model"]["losses"]["photometric"]["init_args"]["weight"] == 1.0
    chosen = config["model"]["avatar"]["init_args"]["head_model"]["class_path"]
    assert chosen.startswith("partnerface.head_models.")
    assert len(config["trainer"]["callbacks"]) >= 7


@pytest.mark.parametrize("scale", ["demo", "quick", "full"])
def test_training_on_two_cores_ends_by_steps_long_before_the_clock(scale: str) -> None:
    """With steps and minutes as the documentation has them: half as fast a machine makes the same avatar."""
    page = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    steps, minutes = re.search(rf"`{scale}` \(([\d,]+)[^()`]*?(\d+) minutes", page).groups()
    trainer = yaml.safe_load((CONFIGS / "scale" / f"{scale}.yaml").read_text())["trainer"]
    assert trainer["max_steps"] == int(steps.replace(",", "")) > 0
    days, *clock = map(int, trainer["max_time"].split(":"))
    budget = timedelta(days, **dict(zip(("hours", "minutes", "seconds"), clock, strict=True)))
    assert budget >= 2 * timedelta(minutes=int(minutes))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_parses_at_every_scale(method: str, capsys) -> None:
    for scale in sorted({*SCALES} - SCALES_OF_OTHERS.get(method, set())):
        _check_stack(["base", method, "head_model/anny", "data/synthetic", scale], capsys)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("head_model", HEAD_MODELS)
def test_every_head_model_parses_with_all_data(head_model: str, data: str, capsys) -> None:
    _check_stack(["base", "method/part_deformation", head_model, data, "scale/quick"], capsys)


@pytest.mark.parametrize("logger", LOGGERS)
def test_every_logger_parses(logger: str, capsys) -> None:
    names = ["base", METHODS[0], "head_model/anny", "data/synthetic", "scale/smoke", logger]
    assert (
        "lightning.pytorch.loggers"
        in _printed(config_arguments(*names), capsys)["trainer"]["logger"]["class_path"]
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_a_step(method: str, synthetic_dataset: Path, tmp_path: Path) -> None:
    arguments = [
        *config_arguments("base", method, "head_model/anny", "data/synthetic", "scale/smoke"),
        f"--data.reader.init_args.root={synthetic_dataset}",
        "--data.reader.init_args.frames=24",
        "--data.reader.init_args.size=32",
        "--trainer.max_steps=2",
        "--trainer.val_check_interval=1",
        "--trainer.accelerator=cpu",
        f"--run_dir={tmp_path}",
    ]
    assert main(["fit", *arguments]) == 0
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()


def _method(name: str) -> dict:
    return yaml.safe_load((CONFIGS / f"method/{name}.yaml").read_text())["model"]["avatar"]["init_args"]


@pytest.fixture
def made(anny: HeadModel) -> Callable[[type[Deformation], str], Deformation]:
    """Makes the deformation of a method's file for the driving signal of the default head model."""

    def make(kind: type[Deformation], method: str) -> Deformation:
        stated = _method(method)["deformation"]
        assert stated["class_path"] == f"{kind.__module__}.{kind.__name__}"
        return kind(DrivingSignal(anny.num_expression).width, **stated["init_args"])

    return make


def test_one_network_has_the_parameters_of_all_parts_together(made) -> None:
    ours = made(PartNetworks, "part_networks")
    whole = made(GlobalDeformation, "global_deformation").whole_head
    count, of_whole = (sum(p.numel() for p in d.networks.parameters()) for d in (ours, whole))
    assert of_whole == pytest.approx(count, rel=0.01)


OF_A_POINT = ("weight1", "weight2", "weight3", "code_weight")


def test_one_network_costs_a_point_what_the_parts_that_act_on_it_do(made) -> None:
    """Multiplications per point; what the driving signal adds is paid once a frame."""
    ours = made(PartNetworks, "part_networks")
    whole = made(GlobalDeformation, "global_deformation_equal_compute").whole_head
    cost, of_whole = (
        d.assigner.top_k
        * sum(p[0].numel() for name, p in d.networks.named_parameters() if name in OF_A_POINT)
        for d in (ours, whole)
    )
    assert of_whole == pytest.approx(cost, rel=0.02)


def test_one_network_sees_as_fine_as_the_method(made) -> None:
    """What is compared is the partition, not the octaves of the position."""
    ours = _method("part_deformation")["deformation"]["init_args"]["num_frequencies"]
    for name in ("global_deformation", "global_deformation_equal_compute", "lit_global_deformation"):
        assert _method(name)["deformation"]["init_args"]["num_frequencies"] == ours


def test_fixed_parts_stay_where_landmarks_put_them(made) -> None:
    fixed = made(PartNetworks, "fixed_parts")
    assert fixed.placement == "landmarks"
    assert not any(p.requires_grad for p in fixed.assigner.parameters())
    assert all(p.requires_grad for p in fixed.networks.parameters())


def test_methods_differ_in_what_they_are_about_and_share_the_rest() -> None:
    """Sampling, torso, photometric and matte terms are the same, and the field."""
    ours = _method("part_deformation")
    for name in (
        "part_networks",
        "fixed_parts",
        "global_deformation",
        "global_deformation_equal_compute",
        "skinning_only",
    ):
        for part in ("skinning", "field", "sampler", "torso"):
            assert _method(name)[part] == ours[part], (name, part)
    insta = _method("insta_like")
    assert insta["skinning"]["class_path"].endswith("NearestTriangle")
    assert insta["deformation"]["class_path"].endswith(LipExpression.__name__)
    for part in ("sampler", "torso"):
        assert insta[part] == ours[part]
    assert insta["field"]["init_args"] == {**ours["field"]["init_args"], "condition_density": True}


def test_the_lit_method_is_part_blendshapes_with_a_light_in_place_of_the_code() -> None:
    ours, lit = _method("part_deformation"), _method("lit_part_blendshapes")
    deformation = {**ours["deformation"]["init_args"], "appearance_width": 0}
    assert lit["deformation"] == {**ours["deformation"], "init_args": deformation}
    assert lit["field"]["init_args"] == ours["field"]["init_args"]
    assert lit["shading"] is True
    for part in ("skinning", "sampler", "torso", "warm_up", "driving_noise", "clamp_driving"):
        assert lit[part] == ours[part]
    whole, unlit = _method("lit_global_deformation"), _method("global_deformation_equal_compute")
    assert whole["deformation"]["init_args"] == {**unlit["deformation"]["init_args"], "appearance_width": 0}
    for part in ("skinning", "field", "sampler", "torso", "shading"):
        assert whole[part] == lit[part]


@pytest.mark.parametrize(
    ("method", "kind"), [("part_networks", PartNetworks), ("part_deformation", PartBlendshapes)]
)
def test_the_method_file_states_every_choice_of_the_deformation(method, kind) -> None:
    """What is off by default is seen where it is switched on."""
    stated = _method(method)["deformation"]["init_args"]
    assert set(stated) == set(inspect.signature(kind).parameters) - {"driving_width"}


def test_a_point_costs_the_method_no_more_than_the_network_of_equal_compute(made) -> None:
    """Multiplications per point, blending the matrices of the parts that act on it included."""
    method, whole = (
        made(PartBlendshapes, "part_deformation"),
        made(GlobalDeformation, "global_deformation_equal_compute").whole_head,
    )
    matrix = (3 + method.appearance_width) * method.features[0].out_features
    blending = (method.assigner.top_k + 1) * matrix
    cost = sum(p.numel() for p in method.features.parameters() if p.ndim == 2) + blending
    assert cost <= sum(p[0].numel() for name, p in whole.networks.named_parameters() if name in OF_A_POINT)


def test_no_file_states_a_width_that_follows_from_another_part() -> None:
    """The avatar gives the deformation its driving width and the field its appearance width."""
    for name in METHODS:
        parts = _method(name.removeprefix("method/"))
        assert "driving_width" not in parts.get("deformation", {}).get("init_args", {}), name
        assert "appearance_width" not in parts.get("field", {}).get("init_args", {}), name


OWN_VALUES = {
    # An objective weighs its terms against the photometric one.
    *(f"losses.{name}.weight" for name in ("matte", "perceptual", "offset_size", "part_balance")),
    *(f"losses.{name}.weight" for name in ("part_entropy", "offset_smoothness", "driving_sparsity")),
}
"""What the files say otherwise than the signature, with its reason."""


def test_python_trains_what_the_command_line_trains() -> None:
    """Every value of the shipped files is the default of the signature that it goes to, or listed above."""
    base = yaml.safe_load((CONFIGS / "base.yaml").read_text())
    method = yaml.safe_load((CONFIGS / "method/part_deformation.yaml").read_text())
    callbacks = {c["class_path"].rpartition(".")[2]: c for c in base["trainer"]["callbacks"]}
    optimizer = base["model"].pop("optimizer")
    found = [
        *_other_values(callbacks, dict, ""),
        *_other_values(base["model"], AvatarModule, ""),
        *_other_values(method["model"], AvatarModule, ""),
    ]
    assert set(found) <= OWN_VALUES
    ours = adamw([torch.nn.Parameter(torch.zeros(1))])
    assert optimizer["class_path"] == f"torch.optim.{type(ours).__name__}"
    for name, value in optimizer["init_args"].items():
        assert ours.defaults[name] == (tuple(value) if isinstance(value, list) else value), name


def _other_values(values: dict, kind: type, key: str) -> Iterator[str]:
    """Keys of values that are not the default of a class's argument of their name."""
    types = {} if kind is dict else get_type_hints(kind if is_dataclass(kind) else kind.__init__)
    for name, value in values.items():
        here = f"{key}.{name}".lstrip(".")
        if isinstance(value, dict):
            inner, inside = types.get(name, dict), value
            if "class_path" in value:
                module, _, class_name = value["class_path"].rpartition(".")
                inner, inside = (
                    getattr(importlib.import_module(module), class_name),
                    value.get("init_args", {}),
                )
            yield from _other_values(inside, get_origin(inner) or inner, here)
        elif value != inspect.signature(kind).parameters[name].default:
            yield here


def test_every_class_of_a_file_is_given_by_its_whole_path() -> None:
    """From YAML to code by grep."""
    for path in CONFIGS.rglob("*.yaml"):
        for class_path in _class_paths(yaml.safe_load(path.read_text())):
            assert class_path.split(".")[0] in ("partnerface", "torch", "lightning"), (path, class_path)


def _class_paths(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["class_path"]] if "class_path" in node else []
        return own + [path for value in node.values() for path in _class_paths(value)]
    if isinstance(node, list):
        return [path for value in node for path in _class_paths(value)]
    return []


def test_every_file_opens_with_what_it_is() -> None:
    for path in CONFIGS.rglob("*.yaml"):
        assert path.read_text().startswith("# "), path


def test_the_clock_ends_a_preset_only_on_a_slow_machine(smoke_arguments: list[str], tmp_path: Path) -> None:
    """Three times the minutes that the steps take on two idle cores, which the README names."""
    limits = {}
    for scale in ("demo", "quick", "full"):
        cli = AvatarCLI(
            ["fit", *smoke_arguments, *config_arguments(f"scale/{scale}"), f"--run_dir={tmp_path}"],
            execute=False,
        )
        from partnerface.training.callbacks.budgets import budget_timer

        limits[scale] = budget_timer(cli.trainer).time_remaining() / 60
    for scale, idle in (("demo", 3), ("quick", 11), ("full", 48)):
        assert limits[scale] == pytest.approx(3 * idle, abs=0.1)
