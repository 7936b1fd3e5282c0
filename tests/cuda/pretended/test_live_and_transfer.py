"""An avatar on the device that follows a performer, and how well: faces are found on the CPU."""

import numpy as np
import pytest
import torch

from partnerface import load_avatar
from partnerface.animation import open_driver as opening
from partnerface.animation.open_driver import DrivingOptions, open_driver
from partnerface.animation.play_live import play_live
from partnerface.animation.transfer_scores import jitter_at_rest
from partnerface.cli.main import main
from partnerface.errors import UserError
from partnerface.evaluation.part_effects import part_summaries
from partnerface.files.live_video import LivePicture
from partnerface.files.videos import write_video
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.landmark_geometry import landmark_geometry
from partnerface.tracking.live import LivePerformer
from tests.contracts.subjects import shared_head_model
from tests.head_models.flame_files import embedded, flame_head_arrays
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


def test_a_mesh_with_its_animation(cuda, fitted, tmp_path):
    words = ["--texture", "64", "--driver", "talk", "--seconds", "0.2"]
    assert main(["export", "mesh", str(fitted()), "--out", str(tmp_path / "me.glb"), *words]) == 0
    assert cuda.operations


def test_a_driving_video_is_tracked_on_the_cpu(cuda, fitted, tmp_path, monkeypatch):
    avatar = load_avatar(fitted(), device="cuda:0")
    write_video(tmp_path / "clip.mp4", [np.zeros((16, 16, 3), np.uint8)] * 3, 25)
    monkeypatch.setattr(opening, "cache_folder", lambda: tmp_path / "cache")

    def track(video, out, *, head_model, **settings):
        raise UserError(f"tracked on the {head_model.template_vertices.device}")

    monkeypatch.setattr(opening, "track_video", track)
    with pytest.raises(UserError, match="tracked on the cpu"):
        open_driver(str(tmp_path / "clip.mp4"), avatar, say=lambda line: None)
    assert avatar.head_model.template_vertices.device.type == "cuda"


def test_landmarks_are_placed_on_the_cpu(cuda, tmp_path):
    """Also those that the jaw of FLAME's form carries."""
    anny = shared_head_model()
    np.savez(tmp_path / "flame.npz", **flame_head_arrays(anny))
    flame = embedded(FlameHead(tmp_path / "flame.npz", 20, 49), anny)
    head = flame.neutral_parameters(1)
    expected = landmark_geometry(flame).points.positions(head.identity, head.expression)
    found = landmark_geometry(flame.to("cuda:0")).points.positions(head.identity, head.expression)
    torch.testing.assert_close(found, expected)


def test_what_each_part_does(cuda, fitted):
    found = [part_summaries(load_avatar(fitted(), device=device)) for device in ("cpu", "cuda:0")]
    one, other = ({part.number: part for part in parts} for parts in found)
    assert {number: part.place for number, part in one.items()} == {
        k: part.place for k, part in other.items()
    }
    effects = [[part.effect for _, part in sorted(parts.items())] for parts in (one, other)]
    assert effects[1] == pytest.approx(effects[0], rel=1e-2, abs=1e-2)
