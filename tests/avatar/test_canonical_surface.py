"""Where rendered points lie in canonical space, on the posed head model itself."""

from pathlib import Path

import pytest
import torch
from partnerface.avatar.canonical_surface import canonical_surface

from partnerface.avatar.avatar import Avatar
from partnerface.avatar.nerface import NeRFace
from partnerface.cameras.rays import image_pixels, pixel_rays
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.meshes.rasterizer import rasterize_mesh

SIZE = 48


@pytest.fixture(scope="module")
def cli(smoke_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> AvatarCLI:
    run = tmp_path_factory.mktemp("canonical_surface")
    cli = AvatarCLI(["fit", *smoke_arguments, f"--run_dir={run}"], execute=False)
    cli.model.avatar.adapt_to(cli.datamodule.sequence)
    cli.model.eval()
    return cli


def seen_head(avatar: Avatar, camera, head):
    """Depth along the rays, canonical place and mask of the pixels that see the avatar's surface."""
    posed = avatar.head_model(head)
    faces = avatar.skinning.faces
    pixels, depth = camera.project(posed.vertices)
    fragments = rasterize_mesh(pixels[0], depth[0], faces, SIZE, SIZE, cull_backfaces=False)
    places = torch.zeros(SIZE, SIZE, 3)
    places[fragments.mask] = fragments.interpolate(posed.canonical_vertices, faces)
    points = torch.zeros(SIZE, SIZE, 3)
    points[fragments.mask] = fragments.interpolate(posed.vertices[0], faces)
    return points.norm(dim=-1), places, fragments.mask


def test_points_of_the_posed_head_are_carried_home(cli: AvatarCLI, anny) -> None:
    avatar, sequence = cli.model.avatar, cli.datamodule.sequence
    camera, head = sequence.camera.select([5]).resized(SIZE, SIZE), sequence.head.select([5])
    depth, places, mask = seen_head(avatar, camera, head)
    found = canonical_surface(avatar, camera, head, sequence.torso_motion[[5]], depth)
    assert torch.equal(found.isnan().any(-1), ~mask)
    # Local networks start at no offset. Where two surfaces lie on each other (lips), either is right.
    error = (found - places)[mask].norm(dim=1)
    assert error.quantile(0.98) < 2e-4
    # The depth is along the ray, not along the camera's axis: at the rim they differ by millimetres.
    rays = pixel_rays(camera, image_pixels(SIZE, SIZE)[None])
    forward = (rays.directions[0] @ camera.camera_to_world[0, :, 2]).view(SIZE, SIZE)
    wrong = canonical_surface(avatar, camera, head, sequence.torso_motion[[5]], depth * forward)
    assert (wrong - places)[mask].norm(dim=1).nan_to_num(1).median() > 1e-3


def test_a_learned_offset_moves_them(cli: AvatarCLI, monkeypatch: pytest.MonkeyPatch) -> None:
    avatar, sequence = cli.model.avatar, cli.datamodule.sequence
    camera, head = sequence.camera.select([5]).resized(SIZE, SIZE), sequence.head.select([5])
    depth, places, mask = seen_head(avatar, camera, head)
    forward = avatar.deformation.forward

    def shifted(positions, driving):
        deformed = forward(positions, driving)
        deformed.offsets = deformed.offsets + torch.tensor([0.003, 0.0, 0.0]) / avatar.cube_extent
        return deformed

    monkeypatch.setattr(avatar.deformation, "forward", shifted)
    found = canonical_surface(avatar, camera, head, sequence.torso_motion[[5]], depth)
    moved = (found - places)[mask].median(0).values
    torch.testing.assert_close(moved, torch.tensor([0.003, 0.0, 0.0]), atol=1e-4, rtol=0)


def test_far_from_the_head_nobody_knows(cli: AvatarCLI) -> None:
    avatar, sequence = cli.model.avatar, cli.datamodule.sequence
    camera, head = sequence.camera.select([5]).resized(SIZE, SIZE), sequence.head.select([5])
    depth = torch.full((SIZE, SIZE), 0.3)
    found = canonical_surface(avatar, camera, head, sequence.torso_motion[[5]], depth)
    assert found.isnan().all()


def test_nerface_has_no_canonical_head(cli: AvatarCLI, tmp_path: Path) -> None:
    avatar, sequence = cli.model.avatar, cli.datamodule.sequence
    camera, head = sequence.camera.select([5]), sequence.head.select([5])
    other = NeRFace.__new__(NeRFace)
    torch.nn.Module.__init__(other)
    assert avatar.skinning is not None
    assert canonical_surface(other, camera, head, sequence.torso_motion[[5]], torch.ones(32, 32)) is None
