"""Methods as they stand on the command line."""

import pytest

from partnerface.benchmarks.methods.variant import MethodVariant, parse_variants
from partnerface.errors import UserError

KNOWN = ["part_deformation", "skinning_only", "nerface"]


def test_a_grid_of_variants_without_repetitions() -> None:
    found = parse_variants(
        "skinning_only,part_deformation:parts=1/8:temperature=0.1/0.2,skinning_only", KNOWN
    )
    assert [str(variant) for variant in found] == [
        "skinning_only",
        "part_deformation:parts=1:temperature=0.1",
        "part_deformation:parts=1:temperature=0.2",
        "part_deformation:parts=8:temperature=0.1",
        "part_deformation:parts=8:temperature=0.2",
    ]


def test_a_name_without_a_dot_is_the_deformations() -> None:
    variant = MethodVariant("part_deformation", (("parts", "4"), ("model.gradient_clip", "0.5")))
    assert variant.fit_flags() == [
        "--model.avatar.deformation.init_args.parts=4",
        "--model.gradient_clip=0.5",
    ]
    assert variant.test_flags(5) == ["--data.sample_frames=5"]


def test_the_method_that_renders_slowly_is_tested_on_samples_alone() -> None:
    flags = MethodVariant("nerface").test_flags(3)
    assert flags == [
        "--data.sample_frames=3",
        "--data.test_splits=[temporal_sample,unseen_expression_sample]",
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("part_deformatoin", "did you mean 'part_deformation'?"),
        ("", "no method ''; choose from"),
        ("skinning_only,", "no method ''"),
        ("skinning_only:parts", "'parts' of skinning_only is not key=value"),
        ("skinning_only:parts=", "not key=value"),
        ("skinning_only:parts=1//2", "not key=value"),
        ("skinning_only:=4", "not key=value"),
    ],
)
def test_what_it_refuses(text: str, part: str) -> None:
    with pytest.raises(UserError, match="--methods") as refused:
        parse_variants(text, KNOWN)
    assert part in str(refused.value)
