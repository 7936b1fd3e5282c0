"""An avatar that was trained knows what a picture of it needs, without its dataset."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from partnerface.avatar.default_view import DefaultView
from partnerface.data.synthetic.reader import SyntheticReader
from tests.avatar.test_avatar import assert_same_picture, make_avatar, wake
from tests.views import tensors_of, views_of


@pytest.fixture(scope="module")
def sequence(synthetic_dataset):
    return SyntheticReader(synthetic_dataset, frames=24, size=32).read()


def calm_and_frontal(sequence, head_model) -> int:
    """The training frame that faces the camera, in the origin, among the 10 % that move their vertices least.

    A frame moves them by the largest displacement of each expression, all added up.
    """
    moved, turned = {}, {}
    for frame in sequence.splits["train"]:
        moved[frame] = 0.0
        for value, basis in zip(sequence.head.expression[frame], head_model.expression_basis, strict=True):
            moved[frame] += abs(float(value)) * max(float(offset.norm()) for offset in basis[basis.any(1)])
        nose = sequence.head.rotation[frame].numpy() @ [0, 0, 1]
        place = sequence.head.translation[frame].numpy()
        turned[frame] = np.arccos(-(nose @ place) / np.linalg.norm(place))
    calmest = sorted(moved, key=moved.get)[: -(-len(moved) // 10)]
    assert len(calmest) > 1
    return min(calmest, key=turned.get)


def test_a_fresh_avatar_shows_its_person_from_weights_alone(sequence):
    """Equal to a calm training frame that faces the camera, of a head that does not turn."""
    turning = replace(sequence.head, angular_velocity=torch.ones(24, 3))
    trained = make_avatar()
    trained.adapt_to(replace(sequence, head=turning, camera=sequence.camera.resized(20, 24)))
    wake(trained)
    fresh = make_avatar(seed=9).eval()
    fresh.load_state_dict(trained.state_dict())
    frame = calm_and_frontal(sequence, trained.head_model)
    expected = views_of(replace(sequence, camera=sequence.camera.resized(20, 24)), [frame])
    found = fresh.default_view()
    assert (found.camera.width, found.camera.height) == (20, 24)
    assert found.head.angular_velocity is None
    for name, value in tensors_of(expected).items():
        if value is not None and name != "identity":
            torch.testing.assert_close(tensors_of(found)[name], value, msg=name)
    shown = fresh.render(found, with_parts=True)
    assert_same_picture(shown, trained.eval().render(expected, with_parts=True))
    assert (shown.depth > 0).any()


def test_the_range_of_the_training_expressions(sequence):
    avatar = make_avatar()
    expression = sequence.head.expression.clone()
    held_out = next(f for f in range(24) if f not in sequence.splits["train"])
    expression[held_out] = 9.0
    avatar.adapt_to(replace(sequence, head=replace(sequence.head, expression=expression)))
    train = sequence.head.expression[sequence.splits["train"]].numpy()
    assert avatar.view_defaults.expression_low.tolist() == train.min(0).tolist()
    assert avatar.view_defaults.expression_high.tolist() == train.max(0).tolist()


def test_a_torso_without_a_pose_of_its_own_stays_without(sequence, anny):
    """Through a checkpoint, too; and the next person may have one."""
    views = views_of(sequence, sequence.splits["train"])
    without = replace(views, head=replace(views.head, torso_rotation=None, torso_translation=None))
    defaults = DefaultView(anny)
    defaults.remember(without, anny)
    loaded = DefaultView(anny)
    loaded.load_state_dict(defaults.state_dict())
    for one in (defaults, loaded):
        head = one.view(sequence.head.identity).head
        assert head.torso_rotation is None
        assert head.torso_translation is None
        assert anny(head).vertices.isfinite().all()
    loaded.remember(views, anny)
    assert loaded.view(sequence.head.identity).head.torso_rotation.isfinite().all()


def test_a_default_view_is_the_callers_own(sequence):
    """Changing one, as a slider does, changes no other and no weight."""
    avatar = make_avatar()
    avatar.adapt_to(sequence)
    before = {name: value.clone() for name, value in avatar.state_dict().items()}
    with torch.no_grad():
        for value in tensors_of(avatar.default_view()).values():
            if value is not None:
                value.add_(1)
    assert all(torch.equal(avatar.state_dict()[name], value) for name, value in before.items())
