"""Splats, read by another program and drawn by a renderer of their own, against the avatar's picture."""

import math

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from partnerface.export.splats import evenly_spread_points, head_splats, write_splats

FIELDS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


def read_splats(path) -> dict[str, np.ndarray]:
    """Values as a 3DGS program takes them from the file."""
    data = trimesh.load(path, process=False).metadata["_ply_raw"]["vertex"]["data"]
    column = {name: np.asarray(data[name], float).reshape(-1) for name in FIELDS}
    stack = lambda names: np.stack([column[name] for name in names.split()], 1)  # noqa: E731
    w, x, y, z = stack("rot_0 rot_1 rot_2 rot_3").T
    return {
        "centre": stack("x y z"),
        "axes": Rotation.from_quat(np.stack([x, y, z, w], 1)).as_matrix(),
        "deviation": np.exp(stack("scale_0 scale_1 scale_2")),
        "rgb": 0.5 + 0.28209479177387814 * stack("f_dc_0 f_dc_1 f_dc_2"),
        "opacity": 1 / (1 + np.exp(-column["opacity"])),
        "normal": stack("nx ny nz"),
    }


def drawn(splats: dict[str, np.ndarray], camera) -> tuple[np.ndarray, np.ndarray]:
    """Premultiplied rgb ``[H, W, 3]`` and opacity: Gaussians projected to first order, front to back."""
    pose = camera.camera_to_world[0].numpy().astype(float)
    fx, fy, cx, cy = camera.intrinsics[0].tolist()
    local = (splats["centre"] - pose[:, 3]) @ pose[:, :3]
    axes = pose[:, :3].T @ splats["axes"]
    covariance = (axes * splats["deviation"][:, None] ** 2) @ axes.swapaxes(1, 2)
    rgb, light = np.zeros((camera.height, camera.width, 3)), np.ones((camera.height, camera.width))
    for k in np.argsort(local[:, 2]):
        x, y, z = local[k]
        jacobian = np.array([[fx / z, 0, -fx * x / z**2], [0, fy / z, -fy * y / z**2]])
        flat = jacobian @ covariance[k] @ jacobian.T + 0.1 * np.eye(2)
        centre = np.array([fx * x / z + cx, fy * y / z + cy])
        reach = 3 * math.sqrt(np.linalg.eigvalsh(flat)[1])
        low = np.maximum(np.floor(centre - reach).astype(int), 0)
        high = np.minimum(np.ceil(centre + reach).astype(int), [camera.width, camera.height])
        if (low >= high).any():
            continue
        rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
        u, v = np.meshgrid(
            np.arange(low[0], high[0]) + 0.5 - centre[0], np.arange(low[1], high[1]) + 0.5 - centre[1]
        )
        inverse = np.linalg.inv(flat)
        power = inverse[0, 0] * u * u + 2 * inverse[0, 1] * u * v + inverse[1, 1] * v * v
        alpha = splats["opacity"][k] * np.exp(-0.5 * power)
        rgb[rows, columns] += (light[rows, columns] * alpha)[..., None] * splats["rgb"][k]
        light[rows, columns] *= 1 - alpha
    return rgb, 1 - light


@pytest.mark.parametrize("frame", [0, 2])
def test_splats_look_like_the_avatar(striped_avatar, views, tmp_path, frame) -> None:
    """Stripes of 8 cm on a posed head, 30 pixels across, by splats that are as wide as its pixels."""
    view = views.select([frame]).resized(48, 48)
    write_splats(tmp_path / "head.ply", head_splats(striped_avatar, view, 8000))
    splats = read_splats(tmp_path / "head.ply")
    rgb, opacity = drawn(splats, view.camera)
    picture = striped_avatar.render(view, exact=True)
    # The head without its outline; splats leave out the torso.
    head = (picture.depth.numpy() > 0) & (opacity > 0.9)
    assert head.mean() > 0.1
    error = ((rgb - picture.rgb.permute(1, 2, 0).numpy())[head] ** 2).mean()
    psnr = -10 * math.log10(error)
    grey = -10 * math.log10(picture.rgb[:, torch.tensor(head)].var())
    print(f"splats against the avatar: {psnr:.1f} dB, its mean colour {grey:.1f} dB")
    assert psnr > 15
    assert psnr > grey + 5
    # Where the head is, they are.
    assert (opacity > 0.9)[picture.depth.numpy() > 0].mean() > 0.95


def test_a_splat_is_flat_along_its_normal_and_reaches_its_neighbours(striped_avatar, views, tmp_path) -> None:
    write_splats(tmp_path / "head.ply", head_splats(striped_avatar, views.select([1]), 4000))
    splats = read_splats(tmp_path / "head.ply")
    np.testing.assert_allclose(np.linalg.norm(splats["normal"], axis=1), 1, atol=1e-5)
    thinnest = splats["axes"][np.arange(len(splats["axes"])), :, splats["deviation"].argmin(1)]
    np.testing.assert_allclose(np.abs((thinnest * splats["normal"]).sum(1)), 1, atol=1e-5)
    nearest = cKDTree(splats["centre"]).query(splats["centre"], 2)[0][:, 1]
    assert np.quantile(nearest, 0.95) < 2.5 * np.median(splats["deviation"].max(1))


@pytest.mark.parametrize("count", [1000, 7000])
def test_the_count_is_a_bound_and_is_nearly_reached(avatar, count) -> None:
    vertices, faces = avatar.place_surface(), avatar.head_model.faces[avatar.surface]
    points, spacing = evenly_spread_points(vertices, faces, count)
    assert 0.7 * count < len(points.corners) <= count
    gaps = cKDTree(points.of(vertices).numpy()).query(spread_grid(vertices, faces), 1)[0]
    assert gaps.max() < 2.5 * spacing


def spread_grid(vertices: torch.Tensor, faces: torch.Tensor) -> np.ndarray:
    """The middle of every face."""
    return vertices[faces].mean(1).numpy()
