"""The player's pictures: sliders that begin at rest, a budget that is kept, tiles that share no block."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from partnerface.avatar.default_view import DefaultView
from partnerface.cameras.pinhole import Camera
from partnerface.data.view import View
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_rig import HeadRig
from partnerface.result_page.expression_sheet import BLOCK, expression_sheet
from partnerface.result_page.sliders import facing_view, slider_pairs
from tests.contracts.subjects import strong_parameters


class StandIn:
    """An avatar whose pictures are of one grey, that of its number of pictures so far."""

    def __init__(self, head_model: AnnyHead, width: int = 50, height: int = 30) -> None:
        self.head_model, self.pictures = head_model, 0
        self.view_defaults = DefaultView(head_model)
        intrinsics, pose = torch.tensor([[60.0, 60, 25, 15]]), torch.eye(3, 4)[None]
        head = strong_parameters(head_model)
        self.identity = head.identity
        self.mean_pose = torch.tensor([0.1, -0.2, 0.05, 0, 0, 0])
        camera = Camera(intrinsics, pose, width, height)
        self.view = View(camera, head, torch.eye(2, 3)[None], self.rig())
        self.view_defaults.remember(self.view, head_model)

    def rig(self) -> HeadRig:
        return HeadRig.of(self.head_model, self.identity)

    def default_view(self) -> View:
        return self.view.clone()

    def render(self, view: View, size: tuple[int, int]) -> SimpleNamespace:
        self.pictures += 1
        grey = np.full((size[1], size[0], 3), self.pictures, np.uint8)
        return SimpleNamespace(to_bytes=lambda: grey)


@pytest.fixture(autouse=True)
def _clock(monkeypatch) -> None:
    """Each picture takes a twentieth of a second."""
    monkeypatch.setattr(
        "partnerface.result_page.expression_sheet._seconds_of", lambda render: (render(), 0.05)[1]
    )


@pytest.mark.parametrize(("seconds", "most"), [(1e9, 83), (4.0, 52), (2.0, 34), (1.2, 18), (0.4, 6)])
def test_there_are_as_many_pictures_as_the_time_allows(anny: AnnyHead, seconds: float, most: int) -> None:
    avatar = StandIn(anny)
    sheet = expression_sheet(avatar, 64, seconds)
    assert len(sheet.tiles) == most
    assert avatar.pictures == most + 3


def test_an_avatar_that_is_too_slow_has_no_player(anny: AnnyHead) -> None:
    avatar = StandIn(anny)
    assert expression_sheet(avatar, 64, 0.1) is None
    assert avatar.pictures == 1


def test_tiles_begin_at_blocks_of_jpeg(anny: AnnyHead) -> None:
    sheet = expression_sheet(StandIn(anny), 40, 1e9)
    assert (sheet.width, sheet.height) == (40, 24)
    picture = sheet.picture()
    assert all(side % BLOCK == 0 for side in picture.shape[:2])
    for number in (0, 8, len(sheet.tiles) - 1):
        left, top = sheet.place(number)
        assert left % BLOCK == top % BLOCK == 0
        # The whole of the last block is filled with the tile, not with its neighbour.
        assert (picture[top : top + 32, left : left + 48] == number + 4).all()


def test_every_slider_begins_with_the_view_as_it_is(anny: AnnyHead) -> None:
    avatar = StandIn(anny)
    view = facing_view(avatar)
    for pair in expression_sheet(avatar, 16, 1e9).pairs:
        start = pair.rows.index(0.0) * len(pair.columns) + pair.columns.index(0.0)
        moved = pair.views(view)[start]
        torch.testing.assert_close(moved.head.expression, view.head.expression, rtol=0, atol=0)
        torch.testing.assert_close(moved.head.rotation, view.head.rotation)
        torch.testing.assert_close(moved.head.translation, view.head.translation)


def test_sliders_move_what_they_name_as_far_as_training_did(anny: AnnyHead) -> None:
    avatar = StandIn(anny)
    names, view = anny.asset.expression_names, avatar.default_view()
    view = replace(view, head=replace(view.head, expression=torch.zeros_like(view.head.expression)))
    avatar.view_defaults.expression_high.fill_(0.1)
    avatar.view_defaults.expression_high[names.index("jawOpen")] = 0.8
    (_, mouth, jaw), (_, brows, lids), _ = slider_pairs(avatar)

    def changed(moved: View) -> dict[str, float]:
        values = moved.head.expression[0].tolist()
        return {name: round(value, 5) for name, value in zip(names, values, strict=True) if value}

    assert changed(jaw.move(view, 1.0)) == {"jawOpen": 0.8}
    assert changed(jaw.move(view, 0.5)) == {"jawOpen": 0.4}
    # Hardly used in training: a little beyond it, or nothing would be seen.
    assert changed(mouth.move(view, 1.0)) == {"mouthSmileLeft": 0.3, "mouthSmileRight": 0.3}
    assert changed(mouth.move(view, -1.0)) == {"mouthPucker": 0.3}
    assert changed(brows.move(view, -0.5)) == {"browDownLeft": 0.15, "browDownRight": 0.15}
    assert changed(lids.move(view, 1.0)) == {"eyeBlinkLeft": 0.3, "eyeBlinkRight": 0.3}


def test_the_head_turns_about_its_neck_and_the_shoulders_stay(anny: AnnyHead) -> None:
    avatar = StandIn(anny)
    view = avatar.default_view()
    yaw, pitch = slider_pairs(avatar)[-1][1:]
    for slider in (yaw, pitch):
        moved = slider.move(view, 1.0)
        before, after = (anny(v.head) for v in (view, moved))
        # The middle of the neck stays: all that hangs on the head alone turns about it.
        rest = anny.neutral_parameters()
        rest.identity = avatar.identity
        ends = anny(rest).joints[0, [anny.joint("neck"), anny.joint("head")]]
        neck = view.head.rotation[0] @ ends.mean(0) + view.head.translation[0]
        turn = moved.head.rotation[0] @ view.head.rotation[0].T
        head = anny.skinning_weights[:, anny.joint("head")] > 0.999
        expected = (before.vertices[0, head] - neck) @ turn.T + neck
        torch.testing.assert_close(after.vertices[0, head], expected, rtol=0, atol=1e-4)
        torso = anny.skinning_weights[:, anny.joint("root")] > 0.999
        torch.testing.assert_close(after.vertices[:, torso], before.vertices[:, torso], rtol=0, atol=1e-5)
    # In the head's own axes (x to its left, y up) it looks left for yaw, and down for this end of pitch.
    look = [_looks(view, slider.move(view, 1.0)) for slider in (yaw, pitch)]
    assert look[0][0] == pytest.approx(np.sin(np.deg2rad(15)), abs=1e-5)
    assert look[1][1] == pytest.approx(-np.sin(np.deg2rad(10)), abs=1e-5)


def _looks(view: View, moved: View) -> Tensor:
    """``[3]`` where the moved face points, in the axes of the head before."""
    return view.head.rotation[0].T @ moved.head.rotation[0][:, 2]


def test_a_head_without_names_opens_its_jaw_joint(anny: AnnyHead) -> None:
    """As FLAME, whose expressions are numbered and whose jaw is a joint."""
    avatar = StandIn(anny)
    numbered = SimpleNamespace(
        expression_names=[f"expression_{k:03d}" for k in range(anny.num_expression)],
        joint_names=anny.asset.joint_names,
    )
    avatar.head_model = SimpleNamespace(asset=numbered, joint=anny.joint)
    pairs = slider_pairs(avatar)
    assert [title for title, *_ in pairs] == ["Mouth", "Head"]
    view = avatar.default_view()
    moved = pairs[0][2].move(view, 1.0).head.joint_rotations[0, anny.joint("jaw")]
    turn = view.head.joint_rotations[0, anny.joint("jaw")].T @ moved
    assert float((turn.trace() - 1) / 2) == pytest.approx(np.cos(0.25), abs=1e-5)
