"""An avatar on the device that follows a performer, and how well: faces are found on the CPU."""

import numpy as np
import pytest
import torch

from partnerface import load_avatar
from partnerface.animation.open_driver import DrivingOptions, open_driver
from partnerface.animation.play_live import play_live
from partnerface.animation.transfer_scores import jitter_at_rest
from partnerface.evaluation.part_effects import part_summaries
from partnerface.files.live_video import LivePicture
from partnerface.tracking.live import LivePerformer
from tests.tracking.test_live import IMAGE, face


def test_a_live_performer_is_shown_as_on_the_cpu(cuda, fitted):
    images = []
    for device in ("cpu", "cuda:0"):
        avatar = load_avatar(fitted(), device=device)
        faces = iter([face(), face((0.1, 0.2, 0.0), jaw=0.3), None])
        pictures = [LivePicture(IMAGE, 0.1 * number, 0.0) for number in range(3)]
        with LivePerformer(avatar, detect=lambda *_, faces=faces: next(faces)) as performer:
            shown = [frame.image for frame in play_live(avatar, performer, pictures, (24, 24))]
        images.append(np.stack(shown).astype(int))
    assert cuda.operations
    # Of two places of the surface that are equally near, a GPU may find the other one.
    assert (np.abs(images[0] - images[1]) > 1).mean() < 1e-3
    assert np.abs(images[0][0] - images[0][1]).max() > 5


def test_the_noise_of_a_performance(cuda, fitted):
    found = []
    for device in ("cpu", "cuda:0"):
        avatar = load_avatar(fitted(), device=device)
        driver = open_driver("talk", avatar, DrivingOptions(seconds=1), say=lambda line: None)
        jitter = jitter_at_rest(driver.views, driver.fps, avatar.head_model)
        found.append(torch.tensor([jitter.degrees, jitter.pixels]))
    assert found[1].tolist() == pytest.approx(found[0].tolist(), rel=1e-3, abs=1e-4)


def test_what_each_part_does(cuda, fitted):
    found = [part_summaries(load_avatar(fitted(), device=device)) for device in ("cpu", "cuda:0")]
    one, other = ({part.number: part for part in parts} for parts in found)
    assert {number: part.place for number, part in one.items()} == {
        k: part.place for k, part in other.items()
    }
    effects = [[part.effect for _, part in sorted(parts.items())] for parts in (one, other)]
    assert effects[1] == pytest.approx(effects[0], rel=1e-2, abs=1e-2)
