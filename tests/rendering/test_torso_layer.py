"""The torso layer: where it may show, and how it moves."""

import pytest
import torch

from partnerface.rendering.torso_layer import POSE_WIDTH, YIELDING_SCALE, TorsoLayer

STILL, UPRIGHT = torch.zeros(POSE_WIDTH), torch.eye(2, 3)


def make_layer() -> TorsoLayer:
    torch.manual_seed(0)
    layer = TorsoLayer(resolutions=(4, 16), channels=4)
    for plane in layer.planes:
        torch.nn.init.normal_(plane)
    layer.neck_line.fill_(0.6)
    return layer


def one_frame(
    layer: TorsoLayer, pixels: torch.Tensor, motion: torch.Tensor = UPRIGHT, pose: torch.Tensor = STILL
) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour and opacity at pixels ``[R, 2]`` of a single frame."""
    rgb, opacity = layer(pixels[None], motion[None], pose[None])
    return rgb[0], opacity[0]


def random_pixels(count: int = 500) -> torch.Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(1))


def test_nothing_shows_above_the_neck_line_and_its_margin():
    layer = make_layer()
    pixels = random_pixels()
    rgb, opacity = one_frame(layer, pixels)
    above, below = pixels[:, 1] < 0.57, pixels[:, 1] > 0.6
    assert above.any()
    assert not opacity[above].any()
    assert ((opacity[below] > 0) & (opacity[below] < 1)).all()
    assert ((rgb[below] > 0) & (rgb[below] < 1)).all()


def test_a_pose_beyond_training_pulls_nothing_above_the_neck_line():
    layer = make_layer()
    torch.nn.init.constant_(layer.yielding, 0.5 / YIELDING_SCALE)
    pixels = random_pixels()
    _, opacity = one_frame(layer, pixels, pose=torch.full((POSE_WIDTH,), 0.3))
    assert not opacity[pixels[:, 1] < 0.57].any()


def test_layer_fades_in_linearly_above_the_neck_line():
    layer = make_layer()
    torch.nn.init.zeros_(layer.decoder[2].weight)
    torch.nn.init.zeros_(layer.decoder[2].bias)
    pixels = torch.tensor([[0.3, 0.569], [0.3, 0.5775], [0.3, 0.585], [0.3, 0.6], [0.3, 1.0]])
    _, opacity = one_frame(layer, pixels)
    torch.testing.assert_close(opacity, torch.tensor([0.0, 0.125, 0.25, 0.5, 0.5]), atol=1e-4, rtol=0)


def test_every_hidden_unit_learns_from_the_first_step():
    for seed in range(5):
        torch.manual_seed(seed)
        layer = TorsoLayer()
        layer.neck_line.fill_(0.0)
        rgb, opacity = one_frame(layer, random_pixels())
        (rgb.sum() + opacity.sum()).backward()
        assert layer.decoder[0].weight.grad.abs().amax(1).gt(0).all()


def test_planes_are_read_bilinearly_with_centres_at_half():
    layer = TorsoLayer(resolutions=(2,), channels=1)
    layer.neck_line.zero_()
    with torch.no_grad():
        layer.planes[0].copy_(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]))
        layer.decoder[0].weight.fill_(1.0)
        layer.decoder[0].bias.zero_()
        layer.decoder[2].weight.zero_()
        layer.decoder[2].weight[0, 0] = 1.0
        layer.decoder[2].bias.zero_()
    pixels = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [1.0, 1.0], [0.0, 0.5]])
    rgb, _ = one_frame(layer, pixels)
    read = torch.tensor([0.0, 1.0, 2.0, 1.5, 3.0, 1.0])
    torch.testing.assert_close(rgb[:, 0].logit(), read / (1 + torch.exp(-read)))


def test_motion_carries_the_picture_along():
    """The reference picture seen through the affine maps of two frames, against looking up mapped places."""
    layer = make_layer()
    pixels = torch.stack([random_pixels(), random_pixels().flip(0)])
    motion = torch.tensor([[[0.9, 0.1, 0.07], [-0.05, 1.1, -0.03]], [[1.1, 0.0, -0.1], [0.2, 0.8, 0.1]]])
    moved = layer(pixels, motion, STILL.expand(2, -1))
    for frame, (of_x, of_y) in enumerate(motion.tolist()):
        x, y = pixels[frame].unbind(1)
        place = torch.stack([a * x + b * y + shift for a, b, shift in (of_x, of_y)], 1)
        for found, expected in zip(moved, one_frame(layer, place), strict=True):
            torch.testing.assert_close(found[frame], expected)
        still, _ = one_frame(layer, pixels[frame])
        assert (moved[0][frame] - still).abs().mean() > 0.01


def test_places_outside_of_the_reference_image_are_its_border():
    layer = make_layer()
    far = one_frame(layer, torch.tensor([[3.0, 0.9], [0.5, 7.0]]))
    rim = one_frame(layer, torch.tensor([[1.0, 0.9], [0.5, 1.0]]))
    torch.testing.assert_close(far, rim)


def test_what_a_moved_torso_shows_beyond_the_reference_image_is_learned():
    """A layer fitted to frames of a torso that rises shows them; the row at the rim alone cannot."""
    rows = torch.linspace(0, 1, 40)
    pixels = torch.stack([torch.full_like(rows, 0.5), rows], 1).expand(2, -1, -1)
    motion = torch.eye(2, 3).repeat(2, 1, 1)
    motion[1, 1, 2] = 0.4
    colours = 0.5 + 0.4 * torch.sin(9 * (pixels[..., 1] + motion[:, 1, 2:]))
    errors = []
    for around in (motion[:1], motion):
        torch.manual_seed(0)
        layer = TorsoLayer(resolutions=(16,), channels=4)
        layer.cover(around, 0.0)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
        for _ in range(300):
            rgb, _ = layer(pixels, motion, STILL.expand(2, -1))
            loss = (rgb[..., 0] - colours).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        errors.append(float(loss.detach()))
    assert errors[0] > 0.01
    assert errors[1] < 1e-3


def test_the_cover_is_the_reference_image_and_what_the_frames_show_around_it():
    """Corners of two frames by hand; a motion that is out of hand is cut at half a picture."""
    layer = make_layer()
    motion = torch.tensor([[[1.0, 0.0, -0.1], [0.0, 1.0, 0.2]], [[0.9, 0.1, 0.05], [0.0, 9.0, 0.0]]])
    layer.cover(motion, 0.3)
    corners = torch.tensor([[-0.1, 0.0], [1.05, 1.5]])
    torch.testing.assert_close(
        corners * layer.grid_scale + layer.grid_shift, torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    )
    assert float(layer.neck_line) == pytest.approx(0.3)


def test_a_checkpoint_without_a_cover_shows_the_reference_image():
    """As the layer did when it was made, whatever this one covered before."""
    old = make_layer()
    state = old.state_dict()
    del state["grid_scale"], state["grid_shift"]
    loaded = make_layer()
    loaded.cover(torch.tensor([[[1.0, 0.0, 0.3], [0.0, 1.0, 0.3]]]), 0.1)
    loaded.load_state_dict(state)
    pixels = random_pixels()
    torch.testing.assert_close(one_frame(loaded, pixels), one_frame(old, pixels), rtol=0, atol=0)


def test_a_checkpoint_with_the_corner_and_the_extent_of_its_cover_keeps_it():
    state = make_layer().state_dict()
    del state["grid_scale"], state["grid_shift"]
    state |= {"low": torch.tensor([-0.1, 0.0]), "extent": torch.tensor([1.15, 1.5])}
    loaded = make_layer()
    loaded.load_state_dict(state)
    corners = torch.tensor([[-0.1, 0.0], [1.05, 1.5]])
    torch.testing.assert_close(
        corners * loaded.grid_scale + loaded.grid_shift, torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    )


def test_gradient_is_finite_above_and_below():
    layer = make_layer()
    rgb, opacity = one_frame(layer, random_pixels(), pose=torch.full_like(STILL, 0.1))
    (rgb.sum() + opacity.sum()).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in layer.parameters())


def test_no_pixels():
    rgb, opacity = make_layer()(torch.zeros(2, 0, 2), UPRIGHT.expand(2, -1, -1), STILL.expand(2, -1))
    assert rgb.shape == (2, 0, 3)
    assert opacity.shape == (2, 0)


def test_torso_gives_way_linearly_in_the_pose_of_the_head():
    """A displacement that is the same at all control points, against shifting the pixels by hand.

    Two heads in one pass, the second of which holds still.
    """
    layer = make_layer()
    pixels = random_pixels()
    with torch.no_grad():
        layer.yielding[1, 0] = 0.3 / YIELDING_SCALE
        layer.yielding[4, 1] = -0.2 / YIELDING_SCALE
    pose = torch.tensor([0.0, 0.1, 0.0, 0.0, 0.05, 0.0])
    shifted = pixels + torch.tensor([0.1 * 0.3, -0.05 * 0.2])
    rgb, opacity = layer(pixels.expand(2, -1, -1), UPRIGHT.expand(2, -1, -1), torch.stack([pose, STILL]))
    for frame, place in enumerate((shifted, pixels)):
        still_rgb, still_opacity = one_frame(layer, place)
        torch.testing.assert_close(opacity[frame], still_opacity)
        # Where there is no opacity no colour is decoded.
        shown = opacity[frame] > 0
        assert shown.any()
        torch.testing.assert_close(rgb[frame, shown], still_rgb[shown])
    assert (opacity[0] - opacity[1]).abs().mean() > 0.01


def test_a_displacement_that_is_no_number_is_seen_and_ends_nothing():
    """Weights after a step that went wrong: the process survives, and the gradient tells."""
    layer = make_layer()
    with torch.no_grad():
        layer.yielding.fill_(torch.nan)
    rgb, opacity = one_frame(layer, random_pixels(), pose=torch.ones(POSE_WIDTH))
    assert opacity.isnan().any()
    (rgb.sum() + opacity.sum()).backward()
    assert layer.yielding.grad.isnan().any()
