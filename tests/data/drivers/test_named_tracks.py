"""Names of expressions, whatever their spelling and sides."""

import torch

from partnerface.data.drivers.named_tracks import by_name
from partnerface.head_models.ict_facekit import IctFaceKitHead


def test_sides_are_split_and_joined(anny):
    """ICT-FaceKit has two inner brows and two cheeks where ARKit has one of each."""
    ict = IctFaceKitHead()
    generator = torch.Generator().manual_seed(0)
    arkit = torch.rand(3, anny.num_expression, generator=generator)
    found, missing = by_name(arkit, anny.asset.expression_names, ict)
    assert sorted(missing) == ["PupilDilateLeft", "PupilDilateRight", "cheekRaiserLeft", "cheekRaiserRight"]
    for side in ("Left", "Right"):
        for action in ("browInnerUp", "cheekPuff"):
            ours = found[:, ict.expression_index(f"{action}{side}")]
            assert torch.equal(ours, arkit[:, anny.expression_index(action)])
    mouth = found[:, ict.expression_index("mouthLeft")]
    assert torch.equal(mouth, arkit[:, anny.expression_index("mouthLeft")])
    sided = torch.rand(3, ict.num_expression, generator=generator)
    back, missing = by_name(sided, ict.asset.expression_names, anny)
    assert missing == ["tongueOut"]
    both = [ict.expression_index(f"cheekPuff{side}") for side in ("Left", "Right")]
    torch.testing.assert_close(back[:, anny.expression_index("cheekPuff")], sided[:, both].mean(1))


def test_jaw_left_is_no_side_of_a_jaw(anny):
    _, missing = by_name(torch.ones(1, 2), ["jaw", "mouth"], anny)
    assert len(missing) == anny.num_expression
