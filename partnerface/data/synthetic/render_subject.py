"""SubjectRenderer: frame number in; image, matte and labels out, or the true surface behind the pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from partnerface.cameras.pinhole import Camera, image_pixels, pixel_rays
from partnerface.data.regions import Region
from partnerface.data.sequence import TrueSurface
from partnerface.data.synthetic.albedo import chin_occlusion, highlight, irradiance, mouth_occlusion
from partnerface.data.synthetic.appearance_textures import AppearanceTextures
from partnerface.data.synthetic.conversation import converse
from partnerface.data.synthetic.dressed_head import DressedHead, shirt_albedo
from partnerface.data.synthetic.fine_motion import ExpressionDrive, hair_sway, wrinkle_slopes
from partnerface.data.synthetic.performance import FPS, perform
from partnerface.data.synthetic.subject import SyntheticSubject
from partnerface.head_models.head_model import HeadModel
from partnerface.meshes.dilation import dilate
from partnerface.meshes.normals import vertex_normals
from partnerface.meshes.rasterizer import MeshFragments, rasterize_mesh

SHELL_MARGIN = 0.002
"""Metres."""

RENDERED_TORSO_SHARE = 0.5
"""Share of the skinning weights above which a surface point is torso."""

REGION_MARGIN = 0.012
"""Eyes and mouth are widened by this share of the image width, two pixels at least."""


@dataclass
class SubjectFrame:
    """uint8: ``image`` ``[H, W, 3]``, ``matte`` ``[H, W]`` and ``labels`` ``[H, W]`` (values of `Region`)."""

    image: np.ndarray
    matte: np.ndarray
    labels: np.ndarray


@dataclass
class SeenMesh:
    """What a camera sees of one frame.

    Attributes:
        vertices: ``[V + S, 3]`` world vertices of the dressed head, without folds.
        fragments: places on its faces, which are seen at the depth of their folds.
        tilt: ``[M, 3]`` what folds add to the unit normals of the M covered samples.
        light: ``[M]`` share of the light that creases leave to them.
    """

    vertices: Tensor
    fragments: MeshFragments
    tilt: Tensor
    light: Tensor


@dataclass
class _Surface:
    """What N covered samples see."""

    points: Tensor
    normals: Tensor
    tilt: Tensor
    light: Tensor
    positions: Tensor
    head_weights: Tensor
    torso_weights: Tensor
    part: Tensor
    texture: dict[str, Tensor]


class SubjectRenderer:
    """Renders the clip of one subject, any frame alone.

    Attributes:
        performance: control tracks.
        head: exact head parameters of all frames.
        camera: camera of all frames.
        dressed: the subject's surface.
    """

    def __init__(
        self,
        head_model: HeadModel,
        subject: SyntheticSubject,
        frames: int,
        size: int,
        seed: int,
        coupling: float = 0.0,
    ) -> None:
        self.head_model = head_model
        self.subject = subject
        self.performance = (converse if subject.folds else perform)(head_model, frames, seed)
        self.head = self.performance.head_parameters(head_model, subject.identity(head_model.num_identity))
        self.camera = Camera.static(frames, subject.focal * size, size, size)
        self.dressed = DressedHead(head_model, subject, coupling)
        self.sway = hair_sway(self.performance.head_angles, FPS)

    @cached_property
    def textures(self) -> AppearanceTextures:
        """Baked at first use: about one texel for each sample on the face."""
        resolution = 2 ** min(max((4 * self.camera.width - 1).bit_length(), 7), 11)
        return AppearanceTextures(self.head_model, self.subject, resolution)

    def render(
        self, frame: int, fine_motion: bool = True, finer: int = 1, shading: bool = True
    ) -> SubjectFrame:
        """Render one frame.

        Args:
            frame: its index.
            fine_motion: False leaves out the face's fine motion, in shape and shading; hair still sways.
            finer: factor on the number of samples along each axis.
            shading: False leaves the fine motion out of the shading: the skin moves as if painted on.
        """
        samples_per_pixel = self.subject.supersampling * finer
        size = self.camera.width * samples_per_pixel
        seen = self.rasterize(frame, self.camera.select([frame]).resized(size, size), fine_motion)
        if not shading:
            seen = replace(seen, tilt=torch.zeros_like(seen.tilt), light=torch.ones_like(seen.light))
        surface, mask = self._surface(seen, frame, fine_motion and shading), seen.fragments.mask
        # A plain wall, a little darker towards the floor.
        top, bottom = (torch.tensor(colour) for colour in self.subject.background)
        samples = torch.lerp(top, bottom, torch.linspace(0, 1, size)[:, None, None]).repeat(1, size, 1)
        samples[mask] = self._shade(surface, self.head.expression[frame])
        image = functional.avg_pool2d(samples.permute(2, 0, 1)[None], samples_per_pixel)[0].permute(1, 2, 0)
        coverage = functional.avg_pool2d(mask.float()[None], samples_per_pixel)[0]
        labels = self._labels(surface, mask, coverage, samples_per_pixel)
        return SubjectFrame(_to_bytes(image), _to_bytes(coverage), labels)

    def rasterize(self, frame: int, camera: Camera, fine_motion: bool = True) -> SeenMesh:
        """What the camera of a frame, at any resolution, sees; the face's fine motion may be left out."""
        head, dressed = self.head.select([frame]), self.dressed
        bulges = fine_motion and dressed.refined is None
        vertices = dressed.vertices(head, self.sway[frame], bulges)
        if dressed.refined is None:
            fragments = _fragments(vertices, dressed.faces, camera)
            covered = int(fragments.mask.sum())
            return SeenMesh(vertices, fragments, torch.zeros(covered, 3), torch.ones(covered))
        smooth, folded, light = dressed.folded_vertices(head, self.sway[frame], fine_motion)
        faces = dressed.refined.faces
        fragments = _fragments(folded, faces, camera)
        # A difference, because the refined mesh has the facets of the coarse one.
        tilt = vertex_normals(folded, faces) - vertex_normals(smooth, faces)
        seen = fragments.interpolate(torch.cat([tilt, light[:, None]], 1), faces)
        return SeenMesh(vertices, dressed.refined.coarse(fragments), seen[:, :3], seen[:, 3])

    def fine_motion(self, frame: int) -> Tensor:
        """``[V, 3]`` true motion of the head model's vertices in one frame, metres in rest space.

        It is what the head parameters do not contain: the face's fine motion and the sway of the hair. Added
        to a vertex of the dressed head at rest, it is carried along by the vertex's transform.
        """
        return self.dressed.fine_offsets(self.head.expression[frame], self.sway[frame])

    @torch.no_grad()
    def true_surface(self, frame: int, camera: Camera) -> TrueSurface:
        """The surface behind the pixels' centres of a frame. The torso hides the head and is none of it.

        ``camera`` is the frame's own, at any resolution.
        """
        width, height, dressed = camera.width, camera.height, self.dressed
        fragments = self.rasterize(frame, camera).fragments
        rays = pixel_rays(camera, image_pixels(width, height)[None])
        # A ray that is one metre long goes this far along the camera's axis.
        forward = (rays.directions[0] @ camera.camera_to_world[0, :, 2]).view(height, width)
        canonical = torch.zeros(len(dressed.torso_weights), 3)
        grown = self.head_model(self.head.select([frame])).canonical_vertices + dressed.growth
        canonical[: len(grown)] = grown
        met = fragments.interpolate(torch.cat([canonical, dressed.torso_weights[:, None]], 1), dressed.faces)
        places, on_head = torch.zeros(height, width, 3), torch.zeros(height, width, dtype=torch.bool)
        places[fragments.mask], on_head[fragments.mask] = met[:, :3], met[:, 3] <= RENDERED_TORSO_SHARE
        return TrueSurface(torch.where(on_head, fragments.depth / forward, 0.0), places)

    def shell_thickness(self, frames: list[int]) -> Tensor:
        """``[V]`` metres that the dressed surface stands off the tracked one in any of some frames, plus a
        margin.
        """
        reach = [self.dressed.reach(self.head.expression[i], self.sway[i]) for i in frames]
        return torch.stack(reach).amax(0) + SHELL_MARGIN

    def _surface(self, seen_mesh: SeenMesh, frame: int, fine_motion: bool) -> _Surface:
        dressed, vertices, fragments = self.dressed, seen_mesh.vertices, seen_mesh.fragments
        mask = fragments.mask
        face, barycentric = fragments.faces[mask], fragments.barycentric[mask]
        attributes = torch.cat(
            [
                dressed.face_points,
                vertex_normals(vertices, dressed.faces),
                vertices,
                dressed.head_weights[:, None],
                dressed.torso_weights[:, None],
            ],
            1,
        )
        seen = fragments.interpolate(attributes, dressed.faces)
        normals, positions = functional.normalize(seen[:, 3:6], dim=1), seen[:, 6:9]
        # The camera is at the origin; a surface seen from behind turns its normal.
        away = (normals * positions).sum(1) > 0.2 * positions.norm(dim=1)
        normals = torch.where(away[:, None], -normals, normals)
        sleeve = face >= len(self.head_model.faces)
        texture = self.textures.sample(torch.where(sleeve, 0, face), barycentric)
        texture["albedo"][sleeve] = shirt_albedo(seen[sleeve, :3], self.subject)
        texture["shirt"][sleeve] = 1.0
        for name in ("bump", "lips", "hair", "eye_region", "mouth_region"):
            texture[name][sleeve] = 0.0
        skin = self.head_model.asset.part_names.index("skin")
        part = torch.where(sleeve, skin, self.head_model.face_parts[torch.where(sleeve, 0, face)])
        tilt = torch.where(away[:, None], -seen_mesh.tilt, seen_mesh.tilt)
        if fine_motion and not self.subject.folds:
            drive = ExpressionDrive.from_expression(self.head.expression[frame], self.head_model)
            slopes = wrinkle_slopes(seen[:, :3], drive, texture["wrinkle_phase"][:, 0])
            tilt = slopes * self._is_part(part, "skin")[:, None]
        return _Surface(
            points=seen[:, :3],
            normals=normals,
            tilt=tilt,
            light=seen_mesh.light,
            positions=positions,
            head_weights=seen[:, 9],
            torso_weights=seen[:, 10],
            part=part,
            texture=texture,
        )

    def _is_part(self, part: Tensor, *names: str) -> Tensor:
        wanted = [i for i, n in enumerate(self.head_model.asset.part_names) if n in names]
        return torch.isin(part, torch.tensor(wanted))

    def _shade(self, surface: _Surface, expression: Tensor) -> Tensor:
        """``[N, 3]`` colours."""
        texture, points = surface.texture, surface.points
        skin = self._is_part(surface.part, "skin")
        eyes = self._is_part(surface.part, "eye_left", "eye_right")
        inner = self._is_part(surface.part, "teeth_upper", "teeth_lower", "tongue", "mouth_cavity")
        drive = ExpressionDrive.from_expression(expression, self.head_model)
        normals = functional.normalize(surface.normals + texture["bump"] + surface.tilt, dim=1)
        light = torch.where(inner, mouth_occlusion(points, drive.lips_apart), chin_occlusion(points))
        light = light * surface.light
        diffuse = texture["albedo"] * irradiance(normals) * light[:, None]
        view = -functional.normalize(surface.positions, dim=1)
        bare = skin * (1 - texture["shirt"][:, 0]) * (1 - 0.5 * texture["hair"][:, 0])
        lips = texture["lips"][:, 0] * skin
        gloss = 0.10 * bare + 0.06 * lips + 0.70 * eyes + 0.05 * inner
        exponent = torch.where(eyes, 150.0, torch.where(lips > 0.5, 30.0, 18.0))
        return (diffuse + (gloss * highlight(normals, view, exponent))[:, None]).clamp(0, 1)

    def _labels(
        self, surface: _Surface, mask: Tensor, coverage: Tensor, samples_per_pixel: int
    ) -> np.ndarray:
        """Most frequent region among the samples of each pixel that the matte covers by half."""
        regions = torch.full(surface.part.shape, int(Region.FACE))
        regions[surface.head_weights < 0.5] = Region.NECK
        regions[surface.texture["hair"][:, 0] > 0.5] = Region.HAIR
        regions[surface.texture["shirt"][:, 0] > 0.5] = Region.TORSO
        regions[surface.torso_weights > RENDERED_TORSO_SHARE] = Region.TORSO
        samples = torch.zeros(mask.shape, dtype=torch.long)
        samples[mask] = regions
        votes = functional.one_hot(samples, len(Region)).permute(2, 0, 1).float()
        votes[Region.BACKGROUND] = 0
        labels = functional.avg_pool2d(votes, samples_per_pixel).argmax(0)
        for region, name in ((Region.EYES, "eye_region"), (Region.MOUTH, "mouth_region")):
            hit = torch.zeros(mask.shape)
            hit[mask] = (surface.texture[name][:, 0] > 0.5).float()
            margin = max(2, round(REGION_MARGIN * self.camera.width))
            hit = functional.max_pool2d(hit[None], samples_per_pixel)
            near = dilate(hit[0] > 0, margin)
            labels[near & (labels == Region.FACE)] = region
        labels[coverage < 0.5] = Region.BACKGROUND
        return labels.to(torch.uint8).numpy()


def _fragments(vertices: Tensor, faces: Tensor, camera: Camera) -> MeshFragments:
    pixels, depth = camera.project(vertices[None])
    # Both sides are drawn: the inside of the cheeks is seen through the open mouth.
    return rasterize_mesh(pixels[0], depth[0], faces, camera.width, camera.height, cull_backfaces=False)


def _to_bytes(values: Tensor) -> np.ndarray:
    return (values * 255).round().clamp(0, 255).to(torch.uint8).numpy()
