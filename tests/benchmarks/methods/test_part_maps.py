"""Colours of the views against parts that are known."""

import numpy as np
import pytest
import torch

from partnerface.avatar.avatar import Avatar
from partnerface.avatar_files.loading import load_avatar
from partnerface.benchmarks.methods.report import canonical_part_maps, write_part_maps
from partnerface.evaluation.pictures import part_colours

SIZE = 96


@pytest.fixture(scope="module")
def avatar(trained_run) -> Avatar:
    return load_avatar(trained_run / "checkpoints" / "last.ckpt")


def _chromaticity(pixels: np.ndarray) -> np.ndarray:
    """Colours without their brightness, which is shading."""
    return pixels / np.linalg.norm(pixels, axis=-1, keepdims=True)


def test_hard_parts_left_and_right_of_the_face(avatar: Avatar) -> None:
    """Two hard parts, split at the middle of the face: the front shows both colours, a side one alone."""
    assigner = avatar.deformation.assigner
    parts = avatar.deformation.parts
    neutral = avatar.head_model.neutral_parameters()
    skin = avatar.head_model(neutral).canonical_vertices[avatar.skinning.faces.unique()]
    middle = avatar.cube((skin.amin(0) + skin.amax(0)) / 2)
    sides = middle + torch.tensor([[-0.2, 0.0, 0.0], [0.2, 0.0, 0.0]])
    avatar.deformation.place_parts(torch.cat([sides, torch.full((parts - 2, 3), 50.0)]))
    assigner.biases.data.zero_()
    assigner.log_sizes.data.zero_()
    avatar.deformation.set_hard(True)
    image = canonical_part_maps(avatar, SIZE).astype(float)
    avatar.deformation.set_hard(False)
    assert image.shape == (SIZE, 2 * SIZE, 3)
    colours = _chromaticity(part_colours(parts).numpy().astype(float))
    front, side = image[:, :SIZE], image[:, SIZE:]
    half = SIZE // 2
    for place, part in ((half - 12, 0), (half + 12, 1)):
        assert np.allclose(_chromaticity(front[half, place]), colours[part], atol=0.05), (place, part)
    covered = (side < 250).any(-1)
    shown = _chromaticity(side[covered])
    nearest = np.linalg.norm(shown[:, None] - colours[None, :2], axis=-1).argmin(1)
    # A pixel at the rim may be of neither.
    assert np.bincount(nearest).max() > 0.95 * len(nearest)
    # White around the head.
    assert (front[0, 0] == 255).all()


def test_a_line_for_each_avatar(avatar: Avatar, tmp_path) -> None:
    write_part_maps(tmp_path / "parts.png", [("one", avatar), ("two", avatar)])
    assert (tmp_path / "parts.png").read_bytes().startswith(b"\x89PNG")
