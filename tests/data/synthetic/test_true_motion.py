"""The true motion of embedded subjects, against the vertices that are drawn, and pictures without it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from partnerface.data.regions import Region
from partnerface.data.sequence import TrueMotion
from partnerface.data.splits import spread_evenly
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import SUBJECTS
from partnerface.data.synthetic.true_motion import true_motion
from partnerface.evaluation.true_motion import motion_scores

FRAMES = 20


@pytest.fixture(scope="module", params=list(SUBJECTS))
def subject(request, anny) -> tuple[SubjectRenderer, TrueMotion]:
    renderer = SubjectRenderer(anny, SUBJECTS[request.param], FRAMES, 24, seed=0)
    return renderer, true_motion(renderer)


def test_shapes_and_weights_are_the_motion_of_every_frame(subject):
    renderer, motion = subject
    vertices = len(renderer.head_model.template_vertices)
    expected = torch.stack([renderer.fine_motion(frame) for frame in range(FRAMES)])
    found = motion.offsets(range(FRAMES))
    torch.testing.assert_close(found[:, :vertices], expected, atol=5e-7, rtol=0)
    some = torch.tensor([5, 4000])
    torch.testing.assert_close(motion.offsets([3], some)[0], found[3, some])


def test_points_and_offsets_are_the_surface_that_is_drawn(subject):
    """In rest pose with the canonical expression, where canonical space and the world agree up to a shift."""
    renderer, motion = subject
    model, dressed, frame = renderer.head_model, renderer.dressed, FRAMES - 1
    rest = model.neutral_parameters(1)
    rest.identity = renderer.head.identity
    sway, expression = renderer.sway[frame], renderer.head.expression[frame]
    posed = model(rest)
    coarse = posed.canonical_vertices + dressed.growth + dressed.fine_offsets(expression, sway)
    found = motion.points + motion.offsets([frame])[0]
    torch.testing.assert_close(found[: len(coarse)], coarse, atol=1e-6, rtol=0)
    if dressed.refined is not None:
        # A new point lies half-way between two old ones but for what folds between them.
        corners = found[motion.faces[:: len(dressed.refined.children)]]
        assert (corners - corners.mean(1, keepdim=True)).norm(dim=2).max() < 0.02
        assert len(motion.points) > 10 * len(coarse)
    assert int(motion.faces.max()) < len(motion.points)


def test_regions_exclude_each_other_and_have_what_they_say(subject):
    renderer, motion = subject
    train = renderer.performance.splits["train"]
    total = sum(mask.int() for mask in motion.regions.values())
    assert int(total.max()) == 1
    deviation = {}
    for name, mask in motion.regions.items():
        moved = motion.offsets(train, mask.nonzero()[:, 0])
        deviation[name] = (moved - moved.mean(0)).square().sum(2).mean(0).sqrt()
        assert len(deviation[name])
    assert deviation["fine_face"].min() > 0.15e-3
    assert deviation["quiet_face"].max() <= 0.15e-3


def test_the_truth_is_that_of_the_published_table(anny):
    """Of the subject whose face folds: the millimetres that there were to explain, by split and region."""
    rows = json.loads((Path(__file__).parents[3] / "docs/results.json").read_text())
    rows = [r for r in rows if (r["subject"], r["method"], r["seed"]) == ("synthetic_c", "oracle", 0)]
    renderer = SubjectRenderer(anny, SUBJECTS["c"], 340, 24, seed=0)
    splits = renderer.performance.splits
    tested = {
        row["split"]: spread_evenly(splits[row["split"].removesuffix("_sample")], row["frames"])
        for row in rows
    }
    found = motion_scores(true_motion(renderer), lambda frame, points: None, tested, splits["train"])
    assert len({row["split"] for row in rows}) == 4
    for row in rows:
        assert found[row["split"]]["mm_nothing"] == pytest.approx(row["mm_nothing"], rel=1e-4), row["split"]


@pytest.fixture
def reader(tmp_path: Path) -> SyntheticReader:
    reader = SyntheticReader(tmp_path / "a", frames=FRAMES, size=48)
    (tmp_path / "a").mkdir()
    return reader


def test_a_picture_without_motion_is_kept_and_found_again(reader, monkeypatch):
    image, matte = reader.reference_picture(17, "motionless")
    still = reader._truth.render(17, fine_motion=False)
    assert np.array_equal(image, still.image)
    assert np.array_equal(matte, still.matte)
    monkeypatch.setattr(SubjectRenderer, "render", None)
    again = reader.reference_picture(17, "motionless")
    assert np.array_equal(again[0], image)
    assert np.array_equal(again[1], matte)


def test_what_is_no_picture_of_it_is_rendered_again(reader, tmp_path):
    image, _ = reader.reference_picture(17, "motionless")
    [kept] = (tmp_path / "a" / ".cache").iterdir()
    for damage in (
        lambda: kept.write_bytes(b"nothing"),
        lambda: np.save(kept, np.zeros((3, 3, 4), np.uint8)),
    ):
        damage()
        assert np.array_equal(reader.reference_picture(17, "motionless")[0], image)


def test_a_cache_that_is_a_link_is_left_alone(reader, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a" / ".cache").symlink_to(tmp_path / "elsewhere")
    image, _ = reader.reference_picture(17, "motionless")
    assert image.shape == (48, 48, 3)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_motion_is_seen_where_it_is_and_finer_samples_everywhere(reader):
    """A smile of the last frames: pictures differ on the face, and nowhere far from it."""
    whole = reader._truth.render(17)
    still, _ = reader.reference_picture(17, "motionless")
    finer, matte = reader.reference_picture(17, "finer")
    changed = np.abs(whole.image.astype(int) - still).max(2) > 6
    assert changed.sum() > 5
    assert np.isin(whole.labels[changed], [Region.FACE, Region.EYES, Region.MOUTH, Region.HAIR]).all()
    difference = np.abs(whole.image.astype(int) - finer)
    assert 0.2 < difference.mean() < 8
    assert len(np.unique(matte)) > len(np.unique(whole.matte))
