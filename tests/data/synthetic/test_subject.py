"""The embedded subjects are different people, and only those that exist can be asked for."""

import pytest

from partnerface.data.synthetic.subject import SUBJECTS, subject_named
from partnerface.errors import UserError
from partnerface.head_models.anny import AnnyHead


def test_subjects_differ_in_shape_by_millimetres():
    model = AnnyHead()
    first, second = (model.identity_vertices(SUBJECTS[n].identity(model.num_identity)) for n in ("a", "b"))
    head = model.skinning_weights[:, model.joint("head")] > 0.9
    assert (first - second)[head].norm(dim=1).mean() > 0.004


def test_unknown_subject_names_the_choices():
    with pytest.raises(UserError, match=r"'zoe'.*a, b, c"):
        subject_named("zoe")
