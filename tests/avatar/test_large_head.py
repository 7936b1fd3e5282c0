"""A head model of 190,000 faces, as scans have them: the same surface as the default one, cut finer."""

from dataclasses import replace

import numpy as np
import torch

from partnerface.cameras.pinhole import image_pixels, pixel_rays
from partnerface.data.view import View
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_model_asset import HeadModelAsset
from tests.avatar.test_methods import TestPartNetworks as Parts
from tests.contracts.subjects import disturb, shared_head_model, tracked_sequence


def cut_finer(asset: HeadModelAsset) -> HeadModelAsset:
    """Every face in four at the middles of its edges: all that belongs to a vertex is the mean of two."""
    corners = asset.faces.astype(np.int64)
    edges = np.sort(np.stack([corners[:, [1, 2]], corners[:, [2, 0]], corners[:, [0, 1]]], 1), -1)
    pairs, middle = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
    a, b, c = (corners[:, i] for i in range(3))
    ma, mb, mc = (len(asset.template_vertices) + middle.reshape(-1, 3)[:, i] for i in range(3))
    faces = np.stack([a, mc, mb, mc, b, ma, mb, ma, c, ma, mb, mc], 1).reshape(-1, 3)

    def grown(values: np.ndarray, axis: int) -> np.ndarray:
        values = values.astype(np.float32)
        means = (values.take(pairs[:, 0], axis) + values.take(pairs[:, 1], axis)) / 2
        return np.concatenate([values, means], axis)

    return replace(
        asset,
        template_vertices=grown(asset.template_vertices, 0),
        identity_basis=grown(asset.identity_basis, 1),
        expression_basis=grown(asset.expression_basis, 1),
        skinning_weights=grown(asset.skinning_weights, 0),
        faces=faces,
        uv_faces=np.repeat(asset.uv_faces, 4, 0),
        face_parts=np.repeat(asset.face_parts, 4),
        landmark_faces=4 * asset.landmark_faces,
        source_vertex_ids=None,
    )


def test_it_trains_and_looks_as_the_coarse_one_does():
    coarse = shared_head_model()
    fine = HeadModel(cut_finer(cut_finer(coarse.asset)))
    assert len(fine.faces) > 187_000
    shown, learned = [], []
    for model in (coarse, fine):
        sequence = tracked_sequence(model)
        views = View(sequence.camera, sequence.head, sequence.torso_motion)
        torch.manual_seed(0)
        avatar = Parts().make(model)
        avatar.adapt_to(sequence)
        if learned:
            # Parts begin at vertices, of which there are others now.
            own = {name: value for name, value in avatar.state_dict().items() if name == "thickness"}
            avatar.load_state_dict({**learned[0], **own})
        else:
            disturb(avatar, 0.05)
            learned.append({name: value.clone() for name, value in avatar.state_dict().items()})
        camera, two = views.camera, views.select([0, 5])
        pixels = image_pixels(camera.width, camera.height).expand(2, -1, -1)
        output = avatar.train()(pixel_rays(two.camera, pixels), two)
        output.rays.rgb.square().mean().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in avatar.parameters())
        shown.append(avatar.eval().render(views.select([3]), size=(48, 48)))
    expected, found = shown
    assert (expected.alpha > 0.5).float().mean() > 0.1
    difference = (found.rgb - expected.rgb).abs().amax(0)
    # At the rim the backstop follows normals, which bend at more places now.
    assert difference.flatten().quantile(0.95) < 0.02, difference.max()
