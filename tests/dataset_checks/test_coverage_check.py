import pytest
import torch

from partnerface.dataset_checks.coverage_check import check_coverage, coverage_of


def check(sequence):
    return check_coverage(sequence, coverage_of(sequence))


def test_a_head_that_turns_and_speaks_is_fine(make_sequence):
    (finding,) = check(make_sequence(turn=40))
    assert finding.severity == "ok"
    assert finding.values == pytest.approx(
        {"yaw_degrees": 40, "pitch_degrees": 0, "expressions_used": 1}, abs=1e-3
    )


@pytest.mark.parametrize(("turn", "severity"), [(14.5, "doubt"), (15.5, "ok")])
def test_turns(make_sequence, turn, severity):
    assert check(make_sequence(turn=turn))[0].severity == severity


def test_a_still_face_teaches_nothing(make_sequence):
    sequence = make_sequence()
    sequence.head.expression[:] = 0.3
    assert [finding.severity for finding in check(sequence)] == ["unfit"]


def test_few_expressions_are_doubtful(make_sequence):
    sequence = make_sequence()
    sequence.head.expression = torch.zeros(400, 20)
    sequence.head.expression[::2, 0] = 1
    (finding,) = check(sequence)
    assert (finding.severity, finding.values["expressions_used"]) == ("doubt", pytest.approx(0.05))


def test_no_training_frame(make_sequence):
    sequence = make_sequence(splits={"train": [], "temporal": [1]})
    assert coverage_of(sequence) == {}
    assert check(sequence)[0].severity == "unfit"
