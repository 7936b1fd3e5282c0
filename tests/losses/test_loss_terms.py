"""What every term has in common: zero at the ideal, finite gradients that reach the rendering."""

import pytest
import torch

from partnerface.errors import UserError
from partnerface.losses.loss import Loss
from partnerface.losses.photometric import Matte, Photometric
from partnerface.losses.regularisers import OffsetSize, OffsetSmoothness, PartBalance, PartEntropy

TERMS = {
    Photometric: ("rgb", "opacity"),
    Matte: ("opacity",),
    OffsetSize: ("offset_size",),
    PartBalance: ("part_usage",),
    PartEntropy: ("part_entropy",),
    OffsetSmoothness: ("offset_roughness",),
}


@pytest.mark.parametrize("term", TERMS)
def test_zero_where_the_rendering_is_ideal(term, make_pair):
    assert term()(*make_pair()).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("error", [0.0, 1e-4, 0.3])
def test_gradient_is_finite_and_reaches_what_the_term_measures(term, error, make_pair):
    rendered, batch = make_pair()
    with torch.no_grad():
        rendered.rays.rgb += error
        rendered.rays.opacity += error
        rendered.deformation.offset_size += error
        rendered.deformation.part_entropy += error
        rendered.deformation.offset_roughness += error
        rendered.deformation.part_usage += torch.tensor([error, -error, 0.0, 0.0])
    term()(rendered, batch).backward()
    for name in TERMS[term]:
        gradient = {**vars(rendered.rays), **vars(rendered.deformation)}[name].grad
        assert gradient.isfinite().all()
        if error:
            assert gradient.any(), name


@pytest.mark.parametrize("term", TERMS)
def test_terms_carry_their_weight_without_applying_it(term, make_pair):
    rendered, batch = make_pair()
    with torch.no_grad():
        rendered.rays.opacity += 0.1
        rendered.rays.rgb += 0.2
    light, heavy = term(weight=0.5), term(weight=7.0)
    assert (light.weight, heavy.weight) == (0.5, 7.0)
    assert torch.equal(light(rendered, batch), heavy(rendered, batch))


def test_the_interface_itself_is_no_term(make_pair):
    with pytest.raises(TypeError, match="abstract class Loss"):
        Loss()(*make_pair())


@pytest.mark.parametrize(
    ("term", "name"),
    [
        (OffsetSize, "offset_size"),
        (OffsetSmoothness, "offset_smoothness"),
        (PartBalance, "part_balance"),
        (PartEntropy, "part_entropy"),
    ],
)
def test_a_method_without_deformation_is_refused_by_name(term, name, make_pair):
    rendered, batch = make_pair()
    rendered.deformation = None
    with pytest.raises(UserError, match=f"--model.losses.{name}: .* take the loss out"):
        term()(rendered, batch)


@pytest.mark.parametrize(
    ("term", "statistic"),
    [(OffsetSize, "offset_size"), (OffsetSmoothness, "offset_roughness"), (PartEntropy, "part_entropy")],
)
def test_regularisers_are_means_over_the_frames(term, statistic, make_pair):
    rendered, batch = make_pair()
    setattr(rendered.deformation, statistic, torch.tensor([3.0, 5.0]))
    assert float(term()(rendered, batch)) == 4
