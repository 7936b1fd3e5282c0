"""Fixed encodings against quadrature, scipy and hand-written values."""

import math

import numpy as np
import scipy.special
import torch

from partnerface.fields.encodings import frequency_encoding, frequency_window, spherical_harmonics


def sphere_quadrature() -> tuple[torch.Tensor, torch.Tensor]:
    """Directions and weights that integrate polynomials up to degree 15 over the sphere exactly."""
    z, weight = np.polynomial.legendre.leggauss(8)
    azimuth = 2 * np.pi * (np.arange(16) + 0.5) / 16
    radius = np.sqrt(1 - z**2)
    places = [radius[:, None] * np.cos(azimuth), radius[:, None] * np.sin(azimuth), z[:, None] + 0 * azimuth]
    weights = weight[:, None] * np.full(16, 2 * np.pi / 16)
    return torch.tensor(np.stack(places, -1).reshape(-1, 3)), torch.tensor(weights.reshape(-1))


def test_spherical_harmonics_are_orthonormal():
    directions, weights = sphere_quadrature()
    values = spherical_harmonics(directions)
    gram = values.T @ (weights[:, None] * values)
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64), atol=1e-6, rtol=0)


def test_spherical_harmonics_of_a_degree_span_those_of_scipy():
    """Each degree is compared as a space, by its reproducing kernel: signs and order are conventions."""
    directions, _ = sphere_quadrature()
    x, y, z = directions.numpy().T
    values = spherical_harmonics(directions).numpy()
    for degree in range(4):
        ours = values[:, degree**2 : (degree + 1) ** 2]
        theirs = np.stack(
            [
                scipy.special.sph_harm_y(degree, order, np.arccos(z), np.arctan2(y, x))
                for order in range(-degree, degree + 1)
            ],
            -1,
        )
        np.testing.assert_allclose(ours @ ours.T, (theirs @ theirs.conj().T).real, atol=1e-6)


def test_frequency_encoding_by_hand():
    positions = torch.tensor([[0.0, 0.25, 0.5], [1.0, 0.125, 0.3]])
    expected = []
    for row in positions.tolist():
        angles = [2 * math.pi * 2**k * x for x in row for k in range(3)]
        expected.append(
            [x - 0.5 for x in row] + [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        )
    torch.testing.assert_close(frequency_encoding(positions, 3), torch.tensor(expected), atol=1e-5, rtol=0)


def test_no_frequencies_leave_the_position():
    torch.testing.assert_close(frequency_encoding(torch.ones(2, 3), 0), torch.full((2, 3), 0.5))


def test_window_opens_octave_by_octave():
    """The same factor for an octave's sines and cosines along every axis; by hand."""
    half_open = (1 - math.cos(math.pi * 0.25)) / 2
    for reach, opening in ((0.0, [0, 0, 0]), (1.25, [1, half_open, 0]), (3.0, [1, 1, 1]), (9.0, [1, 1, 1])):
        window = frequency_window(3, reach)
        assert window[:3].tolist() == [1, 1, 1]
        torch.testing.assert_close(window[3:].view(2, 3, 3), torch.tensor(opening).float().expand(2, 3, 3))
    assert frequency_window(0, 0.0).tolist() == [1, 1, 1]
    positions = torch.rand(7, 3)
    coarse = frequency_encoding(positions, 1)
    windowed = frequency_encoding(positions, 3) * frequency_window(3, 1.0)
    torch.testing.assert_close(windowed[:, windowed.any(0)], coarse)


def test_no_points():
    assert frequency_encoding(torch.zeros(0, 3), 4).shape == (0, 27)
    assert spherical_harmonics(torch.zeros(0, 3)).shape == (0, 16)
