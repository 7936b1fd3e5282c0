from dataclasses import replace

from partnerface.dataset_checks.split_check import check_splits


def digests(frames: int) -> list[str]:
    return [f"picture {k}" for k in range(frames)]


def test_different_pictures_are_fine(make_sequence):
    sequence = make_sequence()
    (finding,) = check_splits(replace(sequence, image_paths=[None] * 400), digests(400))
    assert finding.severity == "ok"
    assert finding.values == {"shared": 0, "repeated": 0, "gap_frames": 11}


def test_a_picture_that_training_has_seen_is_named(make_sequence):
    pictures = digests(400)
    pictures[350] = pictures[7]
    (finding,) = check_splits(make_sequence(), pictures)
    assert finding.severity == "unfit"
    assert "1 of 90 pictures of temporal are in training too, such as 350" in finding.text


def test_validation_costs_doubt_only(make_sequence):
    splits = {"train": list(range(300)), "val": [305], "temporal": [390]}
    pictures = digests(400)
    pictures[305] = pictures[0]
    (finding,) = check_splits(make_sequence(splits=splits), pictures)
    assert finding.severity == "doubt"


def test_repeated_frames(make_sequence):
    """Every fourth frame of a clip of a raised rate stands for two."""
    pictures = [f"picture {k - (k % 4 == 1)}" for k in range(400)]
    (finding,) = check_splits(make_sequence(), pictures)
    assert (finding.severity, finding.values["repeated"]) == ("doubt", 100)
    same_within_training = digests(400)
    same_within_training[3] = same_within_training[200]
    assert check_splits(make_sequence(), same_within_training)[0].severity == "ok"
