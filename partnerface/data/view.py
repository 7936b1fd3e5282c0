"""View: what a picture of an avatar shows, whatever drives it."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.compute.frame_record import FrameRecord
from partnerface.errors import UserError
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.head_rig import HeadRig


@dataclass
class View(FrameRecord):
    """F pictures to render: from where, of which pose and expression, with which torso.

    Attributes:
        camera: F cameras at the size of the pictures.
        head: head parameters of the F frames.
        torso_motion: ``[F, 2, 3]`` affine map from a picture's image coordinates to those of the reference
            torso image, both divided by width and height.
        rig: names and pivots of the head, by which the methods below change a view; None if not known.

    Raises:
        UserError: the three have different numbers of frames.
    """

    camera: Camera
    head: HeadParameters
    torso_motion: Float[Tensor, "F 2 3"]
    rig: HeadRig | None = None

    def __post_init__(self) -> None:
        counts = {"cameras": len(self.camera), "heads": len(self.head), "torsos": len(self.torso_motion)}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise UserError(f"view: {found}; give the same number of frames for each")

    def __len__(self) -> int:
        return len(self.head)

    def resized(self, width: int, height: int) -> View:
        """The same views in pictures of another size; those of another shape show more on two sides.

        What the training pictures did not hold of the shoulders is the continuation of their edge.
        """
        camera = self.camera
        scale = min(width / camera.width, height / camera.height)
        before = torch.tensor([scale * camera.width, scale * camera.height])
        after = torch.tensor([float(width), float(height)])
        margin = (after - before) / 2
        intrinsics = camera.intrinsics * scale
        intrinsics[:, 2:] += margin.to(intrinsics)
        # Image coordinates of the new pictures to the old ones', and from there to the reference torso.
        stretch, shift = (after / before).to(self.torso_motion), (-margin / before).to(self.torso_motion)
        linear, offset = self.torso_motion[:, :, :2], self.torso_motion[:, :, 2]
        motion = torch.cat([linear * stretch, (offset + linear @ shift)[..., None]], -1)
        return replace(
            self,
            camera=replace(camera, intrinsics=intrinsics, width=width, height=height),
            torso_motion=motion,
        )

    def with_expression(self, **coefficients: float) -> View:
        """The same views with some expression coefficients set; the others stay.

        >>> view = avatar.neutral_view().with_expression(jawOpen=0.4, eyeBlinkLeft=1)  # doctest: +SKIP

        Args:
            coefficients: by the names of the head model, ``view.rig.expression_names``.

        Raises:
            UserError: there is no such name, the value is no finite number, or the view has no rig.
        """
        names = _rig_of(self).expression_names
        expression = self.head.expression.clone()
        for name, value in coefficients.items():
            if name not in names:
                near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.5)
                found = [n for n in names if n.lower() in near]
                advice = f"did you mean {found[0]}?" if found else f"there are {', '.join(names[:3])}, ..."
                raise UserError(f"expression {name}: the head model has no such name; {advice}")
            try:
                number = float(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise UserError(f"expression {name}: is no number") from error
            if not math.isfinite(number):
                raise UserError(f"expression {name}={number}: give a finite number")
            expression[:, names.index(name)] = number
        return replace(self, head=replace(self.head, expression=expression))

    def turned(self, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> View:
        """The same views with the head turned further about the neck; shoulders and camera stay.

        The angles are about the head's own axes, first yaw, then pitch, then roll. Where a view has no torso
        pose, the head model's bust turns with the head, and only the torso layer stays.

        Args:
            yaw: degrees; above 0 the face turns to the subject's left.
            pitch: degrees; above 0 the face turns up.
            roll: degrees; above 0 the head leans to the subject's left shoulder.

        Raises:
            UserError: an angle is not finite, or the view has no rig.
        """
        rig, head = _rig_of(self), self.head
        for name, angle in (("yaw", yaw), ("pitch", pitch), ("roll", roll)):
            if not math.isfinite(angle):
                raise UserError(f"{name}={angle}: give a finite number of degrees")
        # Head axes: x to the subject's left, y up, z out of the face.
        angles = torch.tensor([[0.0, yaw, 0.0], [-pitch, 0.0, 0.0], [0.0, 0.0, -roll]]).deg2rad()
        about_y, about_x, about_z = axis_angle_to_matrix(angles.to(head.rotation))
        turn = about_y @ about_x @ about_z
        rotation = head.rotation @ turn
        velocity = head.angular_velocity
        turned = replace(
            head,
            rotation=rotation,
            translation=head.translation + (head.rotation - rotation) @ rig.neck,
            # The same motion, about the axes of the head as it is turned now.
            angular_velocity=None if velocity is None else velocity @ turn,
        )
        return replace(self, head=turned)

    def seen_from(self, camera: Camera) -> View:
        """The same heads from another camera, with the torso layer moved so that it stays with the head.

        The layer is a flat image, which takes affine maps only: the one that takes the collar as this camera
        sees it to where the view's own camera sees it, in the least squares. It holds for cameras within
        about 30 degrees of the view's own; farther to the side the shoulders are visibly flat, and from
        behind they are those of the front, mirrored. Change the camera of a view as it was filmed, not of
        one that was seen from elsewhere before: each fit loses something.

        Args:
            camera: one camera for all frames or one for each, in the world of the view's; for a view of one
                frame any number of cameras, and the result has as many frames.

        Raises:
            UserError: the numbers do not match, the shoulders lie behind the camera, or the view has no rig.
        """
        rig, count = _rig_of(self), max(len(self), len(camera))
        if not {len(self), len(camera)} <= {1, count}:
            raise UserError(f"view: {len(camera)} cameras for {len(self)} frames; give one, or one for each")
        camera = camera.to(self.torso_motion.device)
        views = self if len(self) == count else self.select([0] * count)
        camera = camera if len(camera) == count else camera.select([0] * count)
        collar = _collar_in_world(views.head, rig)
        before, now = (_image_coordinates(c, collar) for c in (views.camera, camera))
        if not (torch.isfinite(before).all() and torch.isfinite(now).all()):
            raise UserError("view: the shoulders lie behind the camera; move it back, or turn it to the head")
        return replace(views, camera=camera, torso_motion=_after(views.torso_motion, _affine(now, before)))


def _rig_of(view: View) -> HeadRig:
    if view.rig is None:
        raise UserError(
            "view: it does not know its head model; take one from the avatar, or give it rig=avatar.rig()"
        )
    return view.rig


def _collar_in_world(head: HeadParameters, rig: HeadRig) -> Tensor:
    """``[F, N, 3]`` the rig's collar, posed with the torso, or with the head where it has no own pose."""
    rotation, translation = head.torso_rotation, head.torso_translation
    if rotation is None or translation is None:
        rotation, translation = head.rotation, head.translation
    return rig.collar @ rotation.transpose(1, 2) + translation[:, None]


def _image_coordinates(camera: Camera, points: Tensor) -> Tensor:
    """``[F, N, 2]`` world points ``[F, N, 3]`` in pictures, divided by width and height; NaN if behind."""
    pixels, depth = camera.to(torch.float64).project(points.double())
    size = pixels.new_tensor([camera.width, camera.height])
    return torch.where(depth[..., None] > 0, pixels / size, torch.nan)


def _affine(source: Tensor, target: Tensor) -> Tensor:
    """``[F, 2, 3]`` affine maps that take points ``[F, N, 2]`` to others in the least squares."""
    ones = torch.ones_like(source[..., :1])
    return torch.linalg.lstsq(torch.cat([source, ones], -1), target).solution.transpose(1, 2)


def _after(second: Tensor, first: Tensor) -> Tensor:
    """``[F, 2, 3]`` the affine map that applies ``first`` and then ``second``; of the type of ``second``."""
    linear, shift = second[..., :2].double(), second[..., 2:].double()
    joined = torch.cat([linear @ first[..., :2], linear @ first[..., 2:] + shift], -1)
    return joined.to(second)
