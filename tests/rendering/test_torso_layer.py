"""The torso layer: where it may show, and how it moves."""

import torch

from partnerface.rendering.torso_layer import POSE_WIDTH, YIELDING_SCALE, TorsoLayer

STILL = torch.zeros(POSE_WIDTH)


def make_layer() -> TorsoLayer:
    torch.manual_seed(0)
    layer = TorsoLayer(resolutions=(4, 16), channels=4)
    for plane in layer.planes:
        torch.nn.init.normal_(plane)
    layer.neck_line.fill_(0.6)
    return layer


def random_pixels(count: int = 500) -> torch.Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(1))


def test_nothing_shows_above_the_neck_line_and_its_margin():
    layer = make_layer()
    pixels = random_pixels()
    rgb, opacity = layer(pixels, torch.eye(2, 3), STILL)
    above, below = pixels[:, 1] < 0.57, pixels[:, 1] > 0.6
    assert above.any()
    assert not opacity[above].any()
    assert ((opacity[below] > 0) & (opacity[below] < 1)).all()
    assert ((rgb[below] > 0) & (rgb[below] < 1)).all()


def test_a_pose_beyond_training_pulls_nothing_above_the_neck_line():
    layer = make_layer()
    torch.nn.init.constant_(layer.yielding, 0.5 / YIELDING_SCALE)
    pixels = random_pixels()
    _, opacity = layer(pixels, torch.eye(2, 3), torch.full((POSE_WIDTH,), 0.3))
    assert not opacity[pixels[:, 1] < 0.57].any()


def test_layer_fades_in_linearly_above_the_neck_line():
    layer = make_layer()
    torch.nn.init.zeros_(layer.decoder[2].weight)
    torch.nn.init.zeros_(layer.decoder[2].bias)
    pixels = torch.tensor([[0.3, 0.569], [0.3, 0.5775], [0.3, 0.585], [0.3, 0.6], [0.3, 1.0]])
    _, opacity = layer(pixels, torch.eye(2, 3), STILL)
    torch.testing.assert_close(opacity, torch.tensor([0.0, 0.125, 0.25, 0.5, 0.5]), atol=1e-4, rtol=0)


def test_every_hidden_unit_learns_from_the_first_step():
    for seed in range(5):
        torch.manual_seed(seed)
        layer = TorsoLayer()
        layer.neck_line.fill_(0.0)
        rgb, opacity = layer(random_pixels(), torch.eye(2, 3), STILL)
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
    rgb, _ = layer(pixels, torch.eye(2, 3), STILL)
    read = torch.tensor([0.0, 1.0, 2.0, 1.5, 3.0, 1.0])
    torch.testing.assert_close(rgb[:, 0].logit(), read / (1 + torch.exp(-read)))


def test_motion_carries_the_picture_along():
    """The reference picture seen through an affine map, against looking up the mapped places."""
    layer = make_layer()
    pixels = random_pixels()
    motion = torch.tensor([[0.9, 0.1, 0.07], [-0.05, 1.1, -0.03]])
    x, y = pixels.unbind(1)
    place = torch.stack([0.9 * x + 0.1 * y + 0.07, -0.05 * x + 1.1 * y - 0.03], 1)
    moved, reference = layer(pixels, motion, STILL), layer(place, torch.eye(2, 3), STILL)
    still = layer(pixels, torch.eye(2, 3), STILL)
    for a, b in zip(moved, reference, strict=True):
        torch.testing.assert_close(a, b)
    assert (moved[0] - still[0]).abs().mean() > 0.01


def test_places_outside_of_the_reference_image_are_its_border():
    layer = make_layer()
    far = layer(torch.tensor([[3.0, 0.9], [0.5, 7.0]]), torch.eye(2, 3), STILL)
    rim = layer(torch.tensor([[1.0, 0.9], [0.5, 1.0]]), torch.eye(2, 3), STILL)
    torch.testing.assert_close(far, rim)


def test_gradient_is_finite_above_and_below():
    layer = make_layer()
    rgb, opacity = layer(random_pixels(), torch.eye(2, 3), torch.full_like(STILL, 0.1))
    (rgb.sum() + opacity.sum()).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in layer.parameters())


def test_no_pixels():
    rgb, opacity = make_layer()(torch.zeros(0, 2), torch.eye(2, 3), STILL)
    assert rgb.shape == (0, 3)
    assert opacity.shape == (0,)


def test_torso_gives_way_linearly_in_the_pose_of_the_head():
    """A displacement that is the same at all control points, against shifting the pixels by hand."""
    layer = make_layer()
    pixels = random_pixels()
    with torch.no_grad():
        layer.yielding[1, 0] = 0.3 / YIELDING_SCALE
        layer.yielding[4, 1] = -0.2 / YIELDING_SCALE
    pose = torch.tensor([0.0, 0.1, 0.0, 0.0, 0.05, 0.0])
    shifted = pixels + torch.tensor([0.1 * 0.3, -0.05 * 0.2])
    yielding, still = layer(pixels, torch.eye(2, 3), pose), layer(shifted, torch.eye(2, 3), STILL)
    torch.testing.assert_close(yielding[1], still[1])
    # Where there is no opacity no colour is decoded.
    shown = yielding[1] > 0
    assert shown.any()
    torch.testing.assert_close(yielding[0][shown], still[0][shown])


def test_a_displacement_that_is_no_number_is_seen_and_ends_nothing():
    """Weights after a step that went wrong: the process survives, and the gradient tells."""
    layer = make_layer()
    with torch.no_grad():
        layer.yielding.fill_(torch.nan)
    rgb, opacity = layer(random_pixels(), torch.eye(2, 3), torch.ones(POSE_WIDTH))
    assert opacity.isnan().any()
    (rgb.sum() + opacity.sum()).backward()
    assert layer.yielding.grad.isnan().any()
