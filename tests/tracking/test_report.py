"""The report's numbers for a clip that is off by known distances."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from partnerface.data.completion.shell import ShellReport
from partnerface.data.completion.torso_motion import TorsoMotion
from partnerface.data.regions import Region
from partnerface.head_models.landmark_geometry import LIPS, NOSE
from partnerface.tracking.report import (
    DETECTED,
    FITTED,
    OUTLINE,
    frame_residuals,
    iris_residual,
    landmark_residuals,
    overlay_frame,
    report_record,
    report_text,
)

NUMBERS = np.array(sorted({*LIPS, *NOSE}))


@pytest.fixture
def track(synthetic_track):
    """256 pixels high: distances count twice at 512."""
    return synthetic_track(12, lost=(4,)).track


def off(track, pixels):
    """The detected landmarks, each moved by so many pixels; nonsense where there is no face."""
    moved = torch.as_tensor(np.nan_to_num(track.landmarks[:, NUMBERS, :2], nan=1e6))
    angle = torch.linspace(0, 6, len(NUMBERS))
    return moved + torch.as_tensor(pixels) * torch.stack([angle.cos(), angle.sin()], -1)


def test_residuals_by_region_are_the_known_distances(track):
    lips = np.isin(NUMBERS, LIPS)
    found = landmark_residuals(
        track, NUMBERS, off(track, torch.where(torch.as_tensor(lips), 3.0, 1.0)[:, None])
    )
    assert found["lips"] == pytest.approx(6.0, abs=0.01)
    assert found["nose"] == pytest.approx(2.0, abs=0.01)
    assert found["mean"] == pytest.approx((6 * lips.sum() + 2 * (~lips).sum()) / len(lips), abs=0.01)
    assert found["median"] == pytest.approx(6.0, abs=0.01)
    assert "brows" not in found


def test_frames_are_averaged_apart_and_lost_ones_are_zero(track):
    pixels = torch.arange(12.0)[:, None, None]
    expected = 2 * torch.arange(12.0)
    expected[4] = 0
    torch.testing.assert_close(
        frame_residuals(track, NUMBERS, off(track, pixels)), expected, atol=0.02, rtol=0
    )


def test_irises_are_compared_left_with_left(track):
    irises = torch.as_tensor(np.nan_to_num(track.landmarks[:, [473, 468], :2]))
    assert iris_residual(track, irises + torch.tensor([0.0, 2.0])) == pytest.approx(4.0, abs=0.01)
    assert iris_residual(track, irises.flip(1)) > 20


@pytest.fixture
def record(track):
    contour = SimpleNamespace(usable=0.3, gaps=torch.tensor([-1.0, 2.0, 3.0]))
    fit = SimpleNamespace(
        contour=contour,
        landmark_numbers=NUMBERS,
        landmarks=off(track, 1.0),
        irises=torch.as_tensor(np.nan_to_num(track.landmarks[:, [473, 468], :2])),
        focal=563.2,
        cpu_seconds=1.25,
    )
    coverage = dict.fromkeys(
        ("frames", "yaw_min", "yaw_max", "pitch_min", "pitch_max", "expression_distance_mean"), 3.0
    )
    completion = SimpleNamespace(
        torso=TorsoMotion(torch.eye(2, 3).repeat(12, 1, 1), 0, 0.04, 0.01),
        shell=ShellReport(torch.tensor([0.006, 0.01, 0.05]), 0.002, 31.0),
        labels=SimpleNamespace(neck_line=0.71),
        coverage={"train": coverage},
    )
    track.face_change[4] = 0
    clip = SimpleNamespace(track=track)
    notes = ["interlaced: 12 frames were deinterlaced"]
    return report_record(clip, fit, off(track, 2.0), completion, [7, 8], notes)


def test_the_record_holds_what_was_measured(record):
    assert record["frames_without_face"] == record["frames_repeated"] == [4]
    assert record["jump_cuts"] == [7, 8]
    assert record["residual_px_at_512"]["mean"] == pytest.approx(2.0, abs=0.01)
    assert record["aligned_residual_px_at_512"]["mean"] == pytest.approx(4.0, abs=0.01)
    assert record["contour_gap_median_px_at_512"] == 4.0
    assert record["shell_mm"] == {"median": 10.0, "max": 50.0}


def test_the_text_names_what_is_wrong(record):
    text = report_text(record)
    for line in (
        "no face in 1: 4 (weight 0)",
        "kept: frames 7-8",
        "- interlaced: 12 frames were deinterlaced",
        "| mean | 2.00 | 4.00 |",
        "| iris | 0.00 |  |",
        "usable in 30% of the rows, median gap 4.00 px.",
    ):
        assert line in text
    record |= {"frames_without_face": [], "jump_cuts": [], "contour_gap_median_px_at_512": None}
    text = report_text(record)
    assert "a face in every frame" in text
    assert "Jump cuts" not in text
    assert "; not used." in text


def test_the_overlay_draws_borders_and_landmarks():
    image = np.full((40, 40, 3), 9, np.uint8)
    regions = np.zeros((40, 40), np.uint8)
    regions[10:30, 10:30] = Region.FACE
    regions[30:] = Region.TORSO
    drawn = overlay_frame(image, regions, np.array([[20.0, 20.0]]), np.array([[5.0, 5.0]]))
    assert drawn[5, 5].tolist() == list(FITTED)
    assert drawn[20, 20].tolist() == list(DETECTED)
    assert drawn[10, 20].tolist() == drawn[20, 10].tolist() == list(OUTLINE)
    assert drawn[15, 15].tolist() == drawn[35, 20].tolist() == [9, 9, 9]
    lost = overlay_frame(image, regions, None, np.array([[5.0, 5.0]]))
    assert lost[5, 5].tolist() != list(FITTED)
    # The words are drawn in red, antialiased.
    assert (lost[..., 0].astype(int) - lost[..., 1]).max() > 50
