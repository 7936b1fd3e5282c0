"""Cosine schedule against its closed form."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.configuration.config_files import config_arguments
from partnerface.training.optimisation import LearningRates, cosine_factor, parameter_groups


def test_closed_form_at_known_places() -> None:
    assert cosine_factor(0.0, warm_up=0.1, final=0.2) == pytest.approx(0.1)
    assert cosine_factor(0.05, warm_up=0.1, final=0.2) == pytest.approx(0.55)
    assert cosine_factor(0.1, warm_up=0.1, final=0.2) == pytest.approx(1.0)
    assert cosine_factor(0.55, warm_up=0.1, final=0.2) == pytest.approx(0.6)
    assert cosine_factor(1.0, warm_up=0.1, final=0.2) == pytest.approx(0.2)
    quarter = 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi / 4))
    assert cosine_factor(0.325, warm_up=0.1, final=0.2) == pytest.approx(quarter)


@pytest.mark.parametrize("progress", [-1.0, 0.0, 1.0, 1.5])
@pytest.mark.parametrize("warm_up", [0.0, 0.02, 1.0])
def test_stays_in_range_at_the_ends(progress: float, warm_up: float) -> None:
    assert 0.0 <= cosine_factor(progress, warm_up) <= 1.0


def test_falls_after_the_warm_up() -> None:
    values = [cosine_factor(k / 100) for k in range(2, 101)]
    assert values == sorted(values, reverse=True)


class _Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.Parameter(torch.zeros(2))
        # A name is no kind: the part says what its parameters are.
        self.grid_bias = nn.Parameter(torch.zeros(2))
        self.head = nn.Linear(2, 2)
        self.torso = nn.Linear(2, 2)
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)

    def kinds(self) -> dict[str, list[nn.Parameter]]:
        networks = [self.grid_bias, *self.head.parameters(), self.frozen]
        return {"grids": [self.tables], "networks": networks, "torso": list(self.torso.parameters())}


def test_groups_partition_the_trainable_parameters() -> None:
    toy, refinement = _Toy(), nn.Linear(3, 3)
    groups = parameter_groups(toy.kinds(), refinement, LearningRates(1.0, 2.0, 3.0, 4.0))
    by_name = {g["name"]: g for g in groups}
    assert {name: g["lr"] for name, g in by_name.items()} == {
        "grids": 1.0,
        "networks": 2.0,
        "torso": 3.0,
        "refinement": 4.0,
    }
    assert all(g["base_lr"] == g["lr"] for g in groups)
    assert [id(p) for p in by_name["grids"]["params"]] == [id(toy.tables)]
    assert {id(p) for p in by_name["torso"]["params"]} == {id(p) for p in toy.torso.parameters()}
    grouped = [id(p) for g in groups for p in g["params"]]
    trainable = [p for p in (*toy.parameters(), *refinement.parameters()) if p.requires_grad]
    assert sorted(grouped) == sorted(id(p) for p in trainable)


def test_grids_and_corrections_do_not_decay() -> None:
    groups = parameter_groups(_Toy().kinds(), nn.Linear(1, 1), LearningRates())
    optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
    decay = {g["name"]: g["weight_decay"] for g in optimizer.param_groups}
    assert decay == {"grids": 0.0, "networks": 0.1, "torso": 0.1, "refinement": 0.0}


def test_a_rate_of_zero_freezes_a_kind() -> None:
    groups = parameter_groups(_Toy().kinds(), None, LearningRates(torso=0.0))
    assert {g["name"] for g in groups} == {"grids", "networks"}


@pytest.mark.parametrize("method", ["part_deformation", "nerface", "insta_like"])
def test_a_method_names_the_kind_of_each_of_its_parameters_once(
    method: str, synthetic_dataset: Path, tmp_path: Path
) -> None:
    """Grids are the hash tables of a field, torso all of the torso layer, networks the rest."""
    arguments = config_arguments(
        "base", f"method/{method}", "head_model/anny", "data/synthetic", "scale/smoke"
    )
    reader = {"root": synthetic_dataset, "frames": 24, "size": 32}
    arguments += [f"--data.reader.init_args.{name}={value}" for name, value in reader.items()]
    avatar = AvatarCLI(["fit", *arguments, f"--run_dir={tmp_path}"], execute=False).model.avatar
    kinds = avatar.parameter_kinds()
    listed = [id(parameter) for members in kinds.values() for parameter in members]
    assert sorted(listed) == sorted(id(parameter) for parameter in avatar.parameters())
    names = {id(parameter): name for name, parameter in avatar.named_parameters()}
    grids = [names[id(parameter)] for parameter in kinds["grids"]]
    assert grids == ([] if method == "nerface" else ["field.grid.tables"])
    assert all(names[id(parameter)].startswith("torso.") for parameter in kinds["torso"])
    assert not any(names[id(parameter)].startswith("torso.") for parameter in kinds["networks"])
