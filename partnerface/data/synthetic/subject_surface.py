"""What the rays of a frame meet of an embedded subject: the truth that geometry is scored against."""

from __future__ import annotations

import torch

from partnerface.cameras.pinhole import Camera, image_pixels, pixel_rays
from partnerface.data.sequence import TrueSurface
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.meshes.rasterizer import rasterize_mesh

TORSO_SHARE = 0.5
"""Of the skinning weights: from here on a surface point is torso, as in the label images."""


@torch.no_grad()
def subject_surface(renderer: SubjectRenderer, frame: int, camera: Camera) -> TrueSurface:
    """The surface behind the pixels' centres. The torso hides the head and is none of it.

    Args:
        renderer: knows the subject and its performance.
        frame: number in the clip.
        camera: that frame's camera, at any resolution.
    """
    width, height = camera.width, camera.height
    dressed, head = renderer.dressed, renderer.head.select([frame])
    pixels, depth = camera.project(dressed.vertices(head, renderer.sway[frame])[None])
    fragments = rasterize_mesh(pixels[0], depth[0], dressed.faces, width, height, cull_backfaces=False)
    rays = pixel_rays(camera, image_pixels(width, height)[None])
    # A ray that is one metre long goes this far along the camera's axis.
    forward = (rays.directions[0] @ camera.camera_to_world[0, :, 2]).view(height, width)
    canonical = torch.zeros(len(dressed.torso_weights), 3)
    grown = renderer.head_model(head).canonical_vertices + dressed.growth
    canonical[: len(grown)] = grown
    met = fragments.interpolate(torch.cat([canonical, dressed.torso_weights[:, None]], 1), dressed.faces)
    places, on_head = torch.zeros(height, width, 3), torch.zeros(height, width, dtype=torch.bool)
    places[fragments.mask], on_head[fragments.mask] = met[:, :3], met[:, 3] <= TORSO_SHARE
    return TrueSurface(torch.where(on_head, fragments.depth / forward, 0.0), places)
