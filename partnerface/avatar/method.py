"""AvatarMethod: the interface of methods that render views of one person."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from partnerface.avatar.default_view import DefaultView
from partnerface.avatar.picture import Picture
from partnerface.cameras.pinhole import RayBundle, image_pixels, pixel_rays
from partnerface.compute.chunks import (
    BYTES_PER_INTERPOLATED_RAY,
    BYTES_PER_RAY,
    cpu_threads,
    in_smaller_chunks,
    map_chunks,
    pieces_of,
    rays_at_once,
)
from partnerface.compute.network_types import LOSS_SCALE
from partnerface.data.drivers.transfer import DrivenAvatar
from partnerface.data.sequence import TrackedSequence
from partnerface.data.view import View
from partnerface.deformation.driving_signal import rotation_against_torso
from partnerface.errors import UserError
from partnerface.fields.radiance_field import RadianceField
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.head_rig import HeadRig
from partnerface.rendering.rendered_rays import MethodOutput, RenderedRays
from partnerface.rendering.torso_layer import POSE_WIDTH, TorsoLayer
from partnerface.sampling.ray_sampler import MarchedRays, RaySampler
from partnerface.skinning.head_surface import head_surface


class AvatarMethod(nn.Module, ABC):
    """A head that can be trained on rays of a tracked video and rendered from any view.

    A method says how it poses frames, samples rays and shades them; training, evaluation and drivers know no
    more of it than this class.

    Args:
        head_model: parametric head model (3DMM).
        sampler: where rays are evaluated.
        torso: the layer behind the head.

    Attributes:
        identity: ``[I]`` identity coefficients of the person.
    """

    identity: Tensor
    mean_pose: Tensor
    surface: Tensor

    def __init__(self, head_model: HeadModel, sampler: RaySampler, torso: TorsoLayer) -> None:
        super().__init__()
        self.head_model, self.sampler, self.torso = head_model, sampler, torso
        self.view_defaults = DefaultView(head_model)
        self.register_buffer("identity", torch.zeros(head_model.num_identity))
        self.register_buffer("mean_pose", torch.zeros(POSE_WIDTH))
        self.register_buffer("surface", head_surface(head_model), persistent=False)
        self.register_load_state_dict_post_hook(_place_surface_after_loading)

    @property
    def parts(self) -> int:
        """Number of parts P of the deformation, 1 for methods without parts."""
        return 1

    @property
    def loss_scale(self) -> float:
        """Factor on the loss in training, which is taken out of the gradients again; 1 but for float16.

        Gradients of networks in float16 would become zero without it.
        """
        types = {getattr(module, "network_type", torch.float32) for module in self.modules()}
        return LOSS_SCALE if torch.float16 in types else 1.0

    def scale_parts(self, gains: Tensor | None) -> None:
        """Exaggerate or switch off parts in what is rendered from now on, see `Deformation.scale_parts`.

        Args:
            gains: ``[P]`` a factor for each part, or None: all as trained. Methods without parts ignore it.
        """

    @torch.no_grad()
    def adapt_to(self, sequence: TrackedSequence) -> None:
        """Set what depends on the person from the training frames of a sequence; called once before fit.

        The sequence's camera becomes that of the default view.
        """
        views = View(sequence.camera, sequence.head, sequence.torso_motion)
        train = views.select(sequence.splits["train"]).to(self.identity.device)
        self.identity.zero_()[: len(train.head.identity)] = train.head.identity
        self.view_defaults.remember(train, self.head_model)
        self.mean_pose.copy_(head_pose(train.head).mean(0))
        self.torso.cover(train.torso_motion, sequence.neck_line)

    def default_view(self) -> View:
        """The view (F = 1) of a calm training frame that faces the camera, at the training size."""
        return replace(self.view_defaults.view(self.identity), rig=self.rig())

    def neutral_view(self) -> View:
        """The default view (F = 1) with the face at rest.

        Each expression coefficient is 0, or as near to it as training has shown; eyes look straight ahead.
        """
        view, defaults = self.default_view(), self.view_defaults
        expression = torch.zeros_like(view.head.expression)
        expression = expression.clamp(defaults.expression_low, defaults.expression_high)
        at_rest = torch.eye(3).to(view.head.joint_rotations).expand_as(view.head.joint_rotations)
        return replace(view, head=replace(view.head, expression=expression, joint_rotations=at_rest))

    def rig(self) -> HeadRig:
        """Names and pivots of the person's head, by which a `View` is changed."""
        return HeadRig.of(self.head_model, self.identity)

    def driven(self) -> DrivenAvatar:
        """What carrying a performance over to this avatar takes, see `TransferredPerformance`."""
        return self.view_defaults.driven(self.identity, self.mean_pose, self.head_model)

    def relative_pose(self, head: HeadParameters, turn: Tensor | None = None) -> Tensor:
        """``[F, 6]`` pose of the head relative to the mean of training; the torso gives way to it.

        ``turn`` is `rotation_against_torso` of the head where it is known already.
        """
        return head_pose(head, turn) - self.mean_pose

    def place_surface(self) -> Tensor:
        """Rebuild what follows from the weights, after they are set or loaded.

        Returns:
            ``[V, 3]`` the person's canonical vertices.
        """
        neutral = self.head_model.neutral_parameters()
        neutral.identity = self.identity
        return self.head_model(neutral).canonical_vertices

    def digest(self) -> str:
        """sha256 of all its tensors and their names."""
        digest = hashlib.sha256()
        for name, value in self.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def grid_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that take the learning rate of grids: hash tables, feature planes."""
        return ()

    def parameter_kinds(self) -> dict[str, list[nn.Parameter]]:
        """All parameters by the learning rate that they take: a field of `LearningRates` each."""
        kinds = {"grids": list(self.grid_parameters()), "torso": list(self.torso.parameters())}
        others = {id(parameter) for members in kinds.values() for parameter in members}
        return {"networks": [p for p in self.parameters() if id(p) not in others], **kinds}

    def compile_networks(self) -> None:
        """Compile radiance fields with torch.compile, for any number of points."""
        for module in self.modules():
            if isinstance(module, RadianceField):
                module.compile(dynamic=True)

    def training_schedule(self, progress: float) -> Hashable:
        """Set scheduled values for a share of training in [0, 1].

        Returns:
            What is fixed in the program of a step, such as a stage: a CUDA graph of a step holds for as long
            as it is equal. Values that change from step to step belong into buffers.
        """

    def refresh_occupancy(self, view: View, visits: int) -> None:
        """Prune the sampler's occupancy grid, for methods that have one.

        Args:
            view: the pose to evaluate density in, F = 1.
            visits: number of random candidate cells to evaluate.
        """

    def rays_at_once(self, device: torch.device, exact: bool = False) -> int:
        """Rays of a chunk when a picture is rendered; for ``exact`` see `render`."""
        interpolated = not exact and self.sampler.occupancy is not None
        return rays_at_once(device, BYTES_PER_INTERPOLATED_RAY if interpolated else BYTES_PER_RAY)

    def canonical_surface(self, view: View, depth: Tensor) -> Tensor | None:
        """Canonical points of a picture's pixels; None for methods without a canonical head.

        Args:
            view: F = 1.
            depth: ``[H, W]`` metres along the rays, 0 where there is no head.

        Returns:
            ``[H, W, 3]`` metres; NaN where there is no head, and where the point lies far outside the shell:
            at an inner outline, such as between nose and cheek, the depth of a pixel is a mean of both.
        """
        return None

    def canonical_offsets(self, view: View, points: Tensor) -> Tensor | None:
        """Offsets ``[N, 3]`` in metres that the fine motion of a view (F = 1) adds to canonical points
        ``[N, 3]``, metres; None for methods without a deformation in canonical space.
        """
        return None

    @abstractmethod
    def pose_frames(self, view: View, frame_index: Tensor | None = None) -> Any:
        """Prepare the F frames of a view for rays: a record with ``bounds``, as the sampler gives them.

        A CPU thread must be done with the frames before it prepares others.

        Args:
            view: what to show.
            frame_index: ``[F]`` numbers of training frames, for methods that learn a code for each; None in
                evaluation.
        """

    def sample(self, rays: RayBundle, frames: Any) -> MarchedRays:
        """Place samples on rays ``[F, R]`` of prepared frames, all in one pass, against their ``bounds``."""
        origins, directions = rays.origins.flatten(0, 1), rays.directions.flatten(0, 1)
        return MarchedRays.of(rays, self.sampler(origins, directions, rays.frames, frames.bounds))

    @abstractmethod
    def shade(self, sampled: MarchedRays, frames: Any, with_parts: bool = False) -> MethodOutput:
        """Colour sampled rays of prepared frames; ``with_parts`` adds part weights, no more."""

    def for_picture(self, frames: Any, bundles: Sequence[MarchedRays], with_parts: bool) -> Any:
        """Frames (F = 1) prepared to shade a whole picture faster, given its sampled rays, where possible."""
        return frames

    def forward(self, rays: RayBundle, view: View, frame_index: Tensor | None = None) -> MethodOutput:
        """Render R rays in each of F frames; for ``frame_index`` see `pose_frames`."""
        frames = self.pose_frames(view, frame_index)
        return self.shade(self.sample(rays, frames), frames)

    @torch.no_grad()
    def render(
        self,
        view: View,
        size: tuple[int, int] | int | None = None,
        *,
        with_parts: bool = False,
        exact: bool = False,
        chunk: int | None = None,
    ) -> Picture:
        """Render a view (F = 1).

        Args:
            view: what to show.
            size: width and height of the picture in pixels, or a side for both; by default those of the
                view's camera.
            with_parts: add the part weights.
            exact: evaluate every sample by itself instead of `for_picture`: slower, up to 0.05 dB better.
            chunk: rays at once; by default what fits.

        Raises:
            UserError: the view has not one frame.
        """
        if len(view) != 1:
            raise UserError(f"view: {len(view)} frames; render one of them, view.select([k])")
        if size is not None:
            view = view.resized(*((size, size) if isinstance(size, int) else size))
        camera, device = view.camera, view.torso_motion.device
        pixels = image_pixels(camera.width, camera.height, device)
        rays = pixel_rays(camera, pixels[None])
        frame = self.pose_frames(view)
        threads = cpu_threads(device)

        def in_chunks(size: int) -> RenderedRays:
            pieces = pieces_of(len(pixels), size, threads)
            sampled = map_chunks(lambda piece: self.sample(rays.select(piece), frame), pieces, threads)
            ready = frame if exact else self.for_picture(frame, sampled, with_parts)
            shaded = map_chunks(lambda piece: self.shade(piece, ready, with_parts).rays, sampled, threads)
            return RenderedRays.join(shaded).in_order(pieces)

        rendered = in_smaller_chunks(in_chunks, chunk or self.rays_at_once(device, exact))
        return Picture.from_rays(rendered, camera.height, camera.width, camera.intrinsics[0])


def head_pose(head: HeadParameters, turn: Tensor | None = None) -> Tensor:
    """``[F, 6]`` rotation against the torso in radians and translation in decimetres, without gradient."""
    turn = rotation_against_torso(head) if turn is None else turn
    return torch.cat([turn, 10 * head.translation.detach()], 1)


def _place_surface_after_loading(avatar: AvatarMethod, incompatible_keys: object) -> None:
    # torch takes a hook's return value for a mistake.
    avatar.place_surface()
