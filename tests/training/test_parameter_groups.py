"""Every trainable parameter is in one group, and in the right one."""

import torch
from torch import nn

from partnerface.training.parameter_groups import LearningRates, parameter_groups


class _Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Module()
        self.field.grid = nn.Module()
        self.field.grid.tables = nn.Parameter(torch.zeros(2))
        self.field.head = nn.Linear(2, 2)
        self.torso = nn.Module()
        self.torso.planes = nn.ParameterList([nn.Parameter(torch.zeros(2))])
        self.torso.decoder = nn.Linear(2, 2)
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)


def test_groups_partition_the_trainable_parameters() -> None:
    toy, refinement = _Toy(), nn.Linear(3, 3)
    groups = parameter_groups(toy, refinement, LearningRates(1.0, 2.0, 3.0, 4.0))
    by_name = {g["name"]: g for g in groups}
    assert {name: g["lr"] for name, g in by_name.items()} == {
        "grids": 1.0,
        "networks": 2.0,
        "torso": 3.0,
        "refinement": 4.0,
    }
    assert [id(p) for p in by_name["grids"]["params"]] == [id(toy.field.grid.tables)]
    assert {id(p) for p in by_name["torso"]["params"]} == {id(p) for p in toy.torso.parameters()}
    grouped = [id(p) for g in groups for p in g["params"]]
    trainable = [p for p in (*toy.parameters(), *refinement.parameters()) if p.requires_grad]
    assert sorted(grouped) == sorted(id(p) for p in trainable)


def test_grids_and_corrections_do_not_decay() -> None:
    groups = parameter_groups(_Toy(), nn.Linear(1, 1), LearningRates())
    optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
    decay = {g["name"]: g["weight_decay"] for g in optimizer.param_groups}
    assert decay == {"grids": 0.0, "networks": 0.1, "torso": 0.1, "refinement": 0.0}


def test_a_rate_of_zero_freezes_a_kind() -> None:
    groups = parameter_groups(_Toy(), None, LearningRates(torso=0.0))
    assert {g["name"] for g in groups} == {"grids", "networks"}
