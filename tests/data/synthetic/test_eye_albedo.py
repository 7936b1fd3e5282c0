"""Pupil, iris and sclera at their angles."""

import torch

from partnerface.data.synthetic.eye_albedo import IRIS_ANGLE, PUPIL, SCLERA, eye_albedo
from partnerface.data.synthetic.subject import SUBJECTS


def at(angle):
    angle = torch.tensor(angle)
    return eye_albedo(
        0.012 * torch.stack([torch.sin(angle), 0 * angle, torch.cos(angle)])[None], SUBJECTS["b"]
    )[0]


def test_rings():
    torch.testing.assert_close(at(0.0), torch.tensor(PUPIL))
    torch.testing.assert_close(at(IRIS_ANGLE + 0.25), torch.tensor(SCLERA), atol=0.06, rtol=0)
    iris = at(0.30)
    assert iris[2] > iris[0]
    assert at(IRIS_ANGLE).mean() < 0.75 * iris.mean()
