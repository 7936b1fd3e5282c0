import pytest
import torch

from partnerface.training.checkpoint_contents import check_contents, refuse_foreign_code
from partnerface.user_error import UserError

WHOLE = {
    **{"state_dict": {}, "loops": {}, "epoch": 0, "global_step": 3},
    **{"pytorch-lightning_version": "2.6.0", "hyper_parameters": {}},
}


def test_a_whole_checkpoint_passes() -> None:
    unvisited = {"avatar.sampler.occupancy.density": torch.full((3,), torch.inf), "n": torch.tensor([1])}
    check_contents({**WHOLE, "state_dict": {"w": torch.ones(2), **unvisited}}, "a.ckpt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_must_be_finite(value: float) -> None:
    with pytest.raises(UserError, match=r"a\.ckpt: state_dict\['w'\] holds values that are not finite"):
        check_contents({**WHOLE, "state_dict": {"w": torch.tensor([1.0, value])}}, "a.ckpt")


def test_unvisited_cells_may_be_endless_but_not_undefined() -> None:
    with pytest.raises(UserError, match="density"):
        check_contents({**WHOLE, "state_dict": {"occupancy.density": torch.tensor(float("nan"))}}, "a.ckpt")


@pytest.mark.parametrize(
    "values",
    [
        {"class_path": "partnerface.fields.hash_field.HashField", "init_args": {"levels": 3}},
        {"optimizer": {"class_path": "torch.optim.AdamW"}, "_instantiator": None},
        {"placement": "expression_motion", "precision": "32-true", "version": "2.6.0", "name": "0.5"},
        {"head_model": {"class_path": "partnerface.head_models.flame.FlameHead", "path": "flame.npz"}},
    ],
)
def test_plain_values_and_our_own_parts_pass(values: dict) -> None:
    refuse_foreign_code({"hyper_parameters": values}, "a.ckpt")


@pytest.mark.parametrize(
    "values",
    [
        {"class_path": "os.system"},
        {"field": "mine.Field"},
        {"losses": [{"a": ("x", {"class_path": "builtins.eval"})}]},
        {"optimizer": {"class_path": "torch.optim.adam.torch.os.system"}},
        {"class_path": "partnerface_evil.Avatar"},
    ],
)
def test_names_of_other_code_are_refused(values: dict) -> None:
    with pytest.raises(UserError, match=r"checkpoint a\.ckpt: hyper_parameters name .*never imported"):
        refuse_foreign_code({"hyper_parameters": values}, "a.ckpt")
