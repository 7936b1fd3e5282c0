"""Write a tracked sequence in the format of VHAP and GaussianAvatars, of INSTA, or in our own."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partnerface.cameras.pinhole import Camera
from partnerface.data.formats.conventions import flame_translation, inverse_rigid
from partnerface.data.formats.foreign import CONVERTED, HEAD_MODEL, DatasetFolder
from partnerface.data.formats.layout import INTRINSICS, USES, flip_camera_axes
from partnerface.data.formats.mesh_sequence import Mesh, mesh_vertices, write_obj
from partnerface.data.formats.vhap_flame import COEFFICIENTS
from partnerface.data.formats.writer import SequenceWriter
from partnerface.data.regions import Region
from partnerface.data.sequence import TrackedSequence
from partnerface.errors import UserError
from partnerface.files.images import read_labels, read_matte, read_rgb, write_image
from partnerface.files.whole_files import hidden_folder, remove_abandoned, replaceable
from partnerface.head_models.flame import FlameHead
from partnerface.head_models.head_model import HeadModel
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.head_models.rotations import rotation_vectors
from partnerface.meshes.rasterizer import rasterize_mesh

INSTA_LABELS = {
    **{Region.BACKGROUND: 0, Region.FACE: 250, Region.EYES: 210, Region.MOUTH: 140},
    **{Region.HAIR: 80, Region.NECK: 110, Region.TORSO: 90},
}
"""Red channel of INSTA's segmentation."""
INSTA_EXPRESSIONS = 100
MILLIMETRES = 1000.0
SHARED_ARRAYS = ("shape", "static_offset")
"""Arrays of VHAP that are the same in every frame."""
PADDED = {"shape": 300, "expr": 100}
"""Coefficients that GaussianAvatars' FLAME has; those that a dataset lacks are written as zeros."""
CANONICAL_JAW = 0.3
"""Radians by which the mouth of VHAP's head at rest is open."""
NOTICED_PX = 0.5
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conversion:
    """What is written.

    Attributes:
        sequence: the frames.
        head_model: what they pose.
        flame: the FLAME file that the head model is of; None writes meshes.
        advance: called after each frame.
    """

    sequence: TrackedSequence
    head_model: HeadModel
    flame: Path | None
    advance: Callable[[], None]

    def faces(self) -> np.ndarray:
        """``[Fc, 3]``."""
        return self.head_model.faces.numpy()

    def frame_numbers(self) -> list[int]:
        """``T`` increasing numbers of the frames, which their times are at the frame rate."""
        sequence = self.sequence
        order = torch.arange(len(sequence))
        if sequence.times is None:
            return order.tolist()
        numbers = (sequence.times.double() * sequence.fps).round().long().clamp(min=0)
        # Of frames nearer to each other than the frame rate says each has the next number.
        return ((numbers - order).cummax(0).values + order).tolist()

    def entries(self, extra: Callable[[int], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """Frames by the name of their file: all, and those of each use."""
        sequence = self.sequence
        every = [extra(i) for i in range(len(sequence))]
        uses = {
            "train": sequence.splits.get("train", []),
            "val": sequence.splits.get("val", []),
            "test": sequence.test_frames,
        }
        chosen = {f"_{use}": [every[i] for i in sorted(uses[use])] for use in USES}
        return {"": every, **chosen}

    def header(self) -> dict[str, Any]:
        """Size, field of view and frame rate."""
        camera = self.sequence.camera
        fx, fy, cx, cy = camera.intrinsics[0].tolist()
        return {
            **{"w": camera.width, "h": camera.height, "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy},
            "camera_angle_x": 2 * math.atan(camera.width / (2 * fx)),
            "camera_angle_y": 2 * math.atan(camera.height / (2 * fy)),
            "fps": self.sequence.fps,
        }


def convert_partnerface(conversion: Conversion, out: Path) -> None:
    """Write our own format, the head model beside it; FLAME's in the cache, which is not for giving away."""
    sequence, head_model = conversion.sequence, conversion.head_model
    _refuse_full(out)
    with SequenceWriter(out) as writer:
        for image, matte, labels in zip(
            sequence.image_paths, sequence.matte_paths, sequence.label_paths, strict=True
        ):
            writer.add_frame(read_rgb(image), read_matte(matte), read_labels(labels, max(Region)))
            conversion.advance()
        names = ("image_paths", "matte_paths", "label_paths")
        paths: dict[str, Any] = dict(zip(names, writer.paths.values(), strict=True))
        writer.finish(replace(sequence, **paths))
    if head_model.asset.name != "anny":
        place = DatasetFolder(out).cache if head_model.asset.name == "flame" else out
        place.mkdir(parents=True, exist_ok=True)
        replace(head_model.asset, surface=head_model.surface).save(place / HEAD_MODEL)


def convert_vhap(conversion: Conversion, out: Path) -> None:
    """Write VHAP's format: FLAME parameters where the head is FLAME's, else meshes.

    Pictures are laid over white, as GaussianAvatars expects. It has the poses of training and test alone: a
    frame of ours for validation would be trained with a head at the origin. So those are in
    ``transforms.json`` only, which it does not read, with ``split`` "val".
    """
    sequence, camera = conversion.sequence, conversion.sequence.camera
    parameters = _flame_parameters(conversion)
    poses = _squares(flip_camera_axes(camera.camera_to_world))
    numbers = conversion.frame_numbers()
    validated = {*sequence.splits.get("val", [])}
    loaded = {*sequence.splits.get("train", []), *sequence.test_frames}
    # GaussianAvatars takes the identity of time step 0.
    order = sorted(range(len(sequence)), key=lambda frame: frame not in loaded)
    steps = {frame: step for step, frame in enumerate(order)}
    with _whole(out) as folder:
        for name in ("images", "fg_masks", "meshes" if parameters is None else "flame_param"):
            (folder / name).mkdir()

        def entry(i: int) -> dict[str, Any]:
            step = f"{steps[i]:05d}"
            stem = f"{step}_00"
            matte = read_matte(sequence.matte_paths[i])
            share = matte[..., None].astype(np.float32) / 255
            over_white = read_rgb(sequence.image_paths[i]) * share + 255 * (1 - share)
            write_image(folder / f"images/{stem}.png", over_white.round().astype(np.uint8))
            write_image(folder / f"fg_masks/{stem}.png", matte)
            fx, fy, cx, cy = camera.intrinsics[i].tolist()
            found = {
                **{"timestep_index": steps[i], "timestep_index_original": numbers[i]},
                "timestep_id": f"{numbers[i]:05d}",
                **{"camera_index": 0, "camera_id": "0"},
                # Rows are counted from the bottom.
                **{"fl_x": fx, "fl_y": fy, "cx": cx, "cy": camera.height - cy, "w": camera.width},
                **{"h": camera.height, "camera_angle_x": 2 * math.atan(camera.width / (2 * fx))},
                "transform_matrix": poses[i],
                **{"file_path": f"images/{stem}.png", "fg_mask_path": f"fg_masks/{stem}.png"},
                **({"split": "val"} if i in validated else {}),
            }
            if parameters is None:
                found["mesh_path"] = f"meshes/{step}.obj"
                vertices = _posed(conversion, i)
                write_obj(folder / found["mesh_path"], Mesh(vertices.numpy(), conversion.faces()))
            else:
                found["flame_param_path"] = f"flame_param/{step}.npz"
                rows: dict[str, Any] = {
                    k: v if k in SHARED_ARRAYS else v[i : i + 1] for k, v in parameters.items()
                }
                np.savez(folder / found["flame_param_path"], **rows)
            conversion.advance()
            return found

        header = conversion.header() | {"cy": camera.height - float(camera.intrinsics[0, 3])}
        if parameters is not None:
            rest: dict[str, Any] = {
                k: v if k in SHARED_ARRAYS else np.zeros_like(v[:1]) for k, v in parameters.items()
            }
            rest["jaw_pose"][0, 0] = CANONICAL_JAW
            # By this file GaussianAvatars knows a dataset with FLAME parameters.
            np.savez(folder / "canonical_flame_param.npz", **rest)
            counts = conversion.head_model.num_identity, conversion.head_model.num_expression
            header |= dict(zip(COEFFICIENTS.values(), counts, strict=True))
        tables = conversion.entries(entry)
        for name, entries in tables.items():
            # VHAP's validation has training's time steps, seen by other cameras: of one it is empty.
            listed = tables["_train"] if name == "_val" else entries
            record = header | {
                "timestep_indices": [e["timestep_index"] for e in listed],
                **{"camera_indices": [0], "frames": [] if name == "_val" else entries},
            }
            (folder / f"transforms{name}.json").write_text(json.dumps(record))
    if validated:
        logger.warning("%s: the %d frames of validation are in transforms.json alone", out, len(validated))
    if parameters is not None and (off := _off_for_gaussian_avatars(camera)) > NOTICED_PX:
        logger.warning(
            "%s: GaussianAvatars takes the middle of the picture for the principal point, and fx for fy: "
            "there heads lie up to %.1f px off",
            *(out, off),
        )


def convert_insta(conversion: Conversion, out: Path) -> None:
    """Write INSTA's format: RGBA pictures, segmentation, depth, and a camera around a still mesh."""
    sequence, camera = conversion.sequence, conversion.sequence.camera
    faces = conversion.faces()
    # The head's own axes are the world.
    head = sequence.head
    pose = inverse_rigid(torch.cat([head.rotation, head.translation[..., None]], -1).double())
    centre = pose[:, :, :3] @ camera.camera_to_world[:, :, 3:].double() + pose[:, :, 3:]
    numbers = conversion.frame_numbers()
    poses = _squares(torch.cat([pose[:, :, :3] @ camera.camera_to_world[:, :, :3].double(), centre], -1))
    with _whole(out) as folder:
        for name in ("images", "meshes", "seg_mask", "depth", "flame/exp"):
            (folder / name).mkdir(parents=True)

        def entry(i: int) -> dict[str, Any]:
            stem = f"{numbers[i]:05d}"
            colours = read_rgb(sequence.image_paths[i])
            matte = read_matte(sequence.matte_paths[i])
            write_image(folder / f"images/{stem}.png", np.dstack([colours, matte]))
            labels = read_labels(sequence.label_paths[i], max(Region))
            red = np.array([INSTA_LABELS[region] for region in Region], np.uint8)[labels]
            write_image(folder / f"seg_mask/{stem}.png", np.dstack([red, 0 * red, 0 * red]))
            vertices = mesh_vertices(conversion.head_model, head, i)
            write_obj(folder / f"meshes/{stem}.obj", Mesh(vertices.numpy(), faces))
            write_image(folder / f"depth/{stem}.png", _depth(conversion, i))
            padded = np.zeros(INSTA_EXPRESSIONS)
            known = head.expression[i, :INSTA_EXPRESSIONS].numpy()
            padded[: len(known)] = known
            np.savetxt(folder / f"flame/exp/{stem}.txt", padded)
            conversion.advance()
            return {
                "file_path": f"images/{stem}.png",
                "transform_matrix": poses[i],
                **{"mesh_path": f"meshes/{stem}.obj", "exp_path": f"flame/exp/{stem}.txt"},
                **{"depth_path": f"depth/{stem}.png", "seg_mask_path": f"seg_mask/{stem}.png"},
                **dict(zip(INTRINSICS, camera.intrinsics[i].tolist(), strict=True)),
            }

        rest = conversion.head_model.neutral_parameters()
        rest.identity = head.identity
        vertices = mesh_vertices(conversion.head_model, rest, 0)
        write_obj(folder / "canonical.obj", Mesh(vertices.numpy(), faces))
        header = conversion.header() | {"integer_depth_scale": 1 / MILLIMETRES}
        for name, entries in conversion.entries(entry).items():
            (folder / f"transforms{name}.json").write_text(json.dumps(header | {"frames": entries}))


CONVERSIONS = {"partnerface": convert_partnerface, "vhap": convert_vhap, "insta": convert_insta}
"""What a sequence can be written as."""


def _refuse_full(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: exists; choose a new folder")


@contextmanager
def _whole(out: Path):
    """A hidden folder that becomes ``out`` when the block ends, or is removed when it raises."""
    out = replaceable(out)
    _refuse_full(out)
    folder = hidden_folder(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(out)
        # In a container the first process always has the same number.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / CONVERTED).touch()
        yield folder
        if out.is_dir():
            out.rmdir()
        folder.rename(out)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _squares(matrices: Tensor) -> list[list[list[float]]]:
    """4x4 lists of ``[T, 3, 4]`` transforms."""
    return [[*rows, [0.0, 0.0, 0.0, 1.0]] for rows in matrices.tolist()]


def _posed(conversion: Conversion, frame: int) -> Tensor:
    """``[V, 3]`` vertices of one frame in the world."""
    with torch.no_grad():
        return conversion.head_model(conversion.sequence.head.select([frame])).vertices[0]


def _depth(conversion: Conversion, frame: int) -> np.ndarray:
    """``[H, W]`` uint16 millimetres of the posed head, 0 beside it."""
    camera = conversion.sequence.camera
    pixels, depth = camera.select([frame]).project(_posed(conversion, frame)[None])
    faces = conversion.head_model.faces
    fragments = rasterize_mesh(pixels[0], depth[0], faces, camera.width, camera.height, False)
    picture = torch.zeros(camera.height, camera.width)
    picture[fragments.mask] = fragments.interpolate(depth[0, :, None], faces)[:, 0]
    return (MILLIMETRES * picture).clamp(0, 65535).round().numpy().astype(np.uint16)


def _flame_parameters(conversion: Conversion) -> dict[str, np.ndarray] | None:
    """Arrays of VHAP's files, each ``[T, ...]`` but ``shape``; None for a head that is not plain FLAME."""
    head: HeadParameters = conversion.sequence.head
    own, asset = conversion.head_model, conversion.head_model.asset
    if conversion.flame is None or asset.name != "flame" or head.torso_rotation is not None:
        return None
    flame = FlameHead(conversion.flame, own.num_identity, own.num_expression)
    root = head.joint_rotations[:, flame.joint("root")]
    if not torch.equal(own.expression_basis, flame.expression_basis) or (root - torch.eye(3)).abs().max() > 0:
        return None
    vectors = {name: rotation_vectors(head.joint_rotations[:, own.joint(name)]) for name in asset.joint_names}
    offset = (own.template_vertices - flame.template_vertices)[None]
    # Joints move with a static offset, and the translation with them.
    counts = own.num_identity, own.num_expression
    posed = FlameHead(conversion.flame, *counts, static_offset=offset[0].numpy())
    arrays = {
        "translation": flame_translation(posed, head.to(torch.float64)),
        "rotation": rotation_vectors(head.rotation),
        **{"neck_pose": vectors["neck"], "jaw_pose": vectors["jaw"]},
        "eyes_pose": torch.cat([vectors["eye_left"], vectors["eye_right"]], 1),
        **{"shape": _padded(head.identity, "shape"), "expr": _padded(head.expression, "expr")},
        # GaussianAvatars asks for it.
        "static_offset": offset,
    }
    return {name: values.numpy().astype(np.float32) for name, values in arrays.items()}


def _off_for_gaussian_avatars(camera: Camera) -> float:
    """Pixels by which it may misplace what is in a picture: it reads the horizontal field of view alone."""
    fx, fy, cx, cy = camera.intrinsics.T
    aside, up = (cx - camera.width / 2).abs(), (cy - camera.height / 2).abs()
    return float(torch.maximum(aside, up + (fx / fy - 1).abs() * camera.height / 2).max())


def _padded(values: Tensor, name: str) -> Tensor:
    """``[..., N]`` coefficients and zeros up to as many as GaussianAvatars has."""
    return torch.nn.functional.pad(values, (0, max(PADDED[name] - values.shape[-1], 0)))
