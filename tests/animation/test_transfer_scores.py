"""Scores of transfer against closed forms, and on an avatar of a few steps."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from partnerface.animation.open_driver import DrivingOptions, open_driver
from partnerface.animation.transfer_scores import head_psnr, jitter_at_rest
from partnerface.avatar_files.loading import load_avatar
from partnerface.data.formats.partnerface import PartnerfaceReader
from partnerface.data.splits import with_angular_velocity
from partnerface.data.view import View
from tests.contracts.subjects import shared_head_model, tracked_sequence


def still_views(frames: int) -> View:
    sequence = tracked_sequence(shared_head_model(), frames)
    head = sequence.head.select([0] * frames)
    return View(
        sequence.camera, replace(head, rotation=torch.eye(3).repeat(frames, 1, 1)), sequence.torso_motion
    )


def test_jitter_is_the_standard_deviation_of_white_noise_whatever_steady_motion_lies_under_it():
    views, frames = still_views(2000), 2000
    generator = torch.Generator().manual_seed(0)
    noise = math.radians(0.2) * torch.randn(frames, 3, generator=generator)
    steady = torch.linspace(0, 0.4, frames)[:, None] * torch.tensor([0.0, 1.0, 0.0])
    moving = replace(views, head=replace(views.head, rotation=axis_angle_to_matrix(steady + noise)))
    jitter = jitter_at_rest(moving, 1900.0, shared_head_model())
    assert jitter.degrees == pytest.approx(0.2, rel=0.05)
    still = jitter_at_rest(views, 1900.0, shared_head_model())
    assert still.degrees < 1e-4
    assert still.pixels < 1e-3


def test_jitter_in_pixels_is_that_of_a_picture_of_256():
    views, frames = still_views(1500), 1500
    generator = torch.Generator().manual_seed(1)
    shift = torch.zeros(frames, 3)
    shift[:, :2] = 0.001 * torch.randn(frames, 2, generator=generator)
    moving = replace(views, head=replace(views.head, translation=views.head.translation + shift))
    focal = 2.5 * 256
    # The face is about a decimetre in front of the head joint.
    distance = float(views.head.translation[0, 2].abs()) - 0.1
    pixels = jitter_at_rest(moving, 1400.0, shared_head_model()).pixels
    assert pixels == pytest.approx(0.001 * focal / distance, rel=0.06)


def test_the_quietest_second_is_what_counts():
    views, frames = still_views(120), 120
    noise = torch.zeros(frames, 3)
    noise[:60] = 0.1 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    moving = replace(views, head=replace(views.head, rotation=axis_angle_to_matrix(noise)))
    assert jitter_at_rest(moving, 25.0, shared_head_model()).degrees < 1e-4


def test_an_avatars_own_video_scores_as_the_test_does(trained_run: Path, synthetic_dataset: Path):
    avatar = load_avatar(trained_run)
    loose = DrivingOptions(pose="absolute", range=math.inf, torso="tracked", keep_distance=False)
    itself = open_driver("own", avatar, loose, run=trained_run, say=lambda _: None)
    own = with_angular_velocity(PartnerfaceReader(synthetic_dataset).read())
    report = json.loads((trained_run / "metrics.json").read_text())["splits"]["temporal"]
    as_tested, by_driver = head_psnr(avatar, own, [None, itself], own.splits["temporal"])
    assert as_tested == pytest.approx(report["head_mask"]["psnr"], abs=1e-3)
    assert by_driver == pytest.approx(as_tested, abs=0.05)
