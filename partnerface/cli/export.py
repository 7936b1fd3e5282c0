"""The commands ``export mesh``, ``export obj``, ``export ply`` and ``export splats``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from partnerface.compute.ranges import Between
from partnerface.errors import UserError
from partnerface.files.plain_values import read_json_table
from partnerface.files.whole_files import replace_text, require_writable

RECORD_FILE = "export.json"
"""In a folder whose export has not ended: what is written there."""


def export_mesh(
    avatar: Path,
    out: Path,
    driver: str | None = None,
    frames: str | None = None,
    texture: Between[int, 64, 8192] = 1024,
    trust: str = "",
    **driving: Any,
) -> None:
    """Write an avatar's head as GLB: textured mesh, a morph target for each expression, skeleton.

    Args:
        avatar: folder of a run or of an avatar, a checkpoint, or an avatar file.
        out: the .glb file.
        driver: performance to add as an animation: talk, range_of_motion or idle; own, the avatar's own
            video; or a video, a tracked dataset, a Live Link Face .csv, a table of expressions.
        frames: range A:B of the driver's frames, from A up to but without B.
        texture: side of the texture in pixels.
        trust: packages whose classes the avatar may name, with commas between.
        driving: see `DrivingOptions`.
    """
    _need_suffix(out, ".glb")
    _need_driver(driver, frames)
    from partnerface.animation.open_driver import DrivingOptions
    from partnerface.export.animation import animation_of
    from partnerface.export.head_glb import write_head_glb
    from partnerface.export.texture import baked_texture

    options = DrivingOptions(**driving)
    surface, mesh, drive = _opened(avatar, trust)
    driven = None if driver is None else drive(driver, options, frames)
    image = baked_texture(surface, mesh, texture, partial(_progress, text="Baking the texture"))
    reference = surface.default_view().head.to("cpu")
    # Nothing is rendered from here on.
    head_model, performance = surface.head_model.cpu(), None
    if driven is not None:
        views, numbers = driven
        heads = (views[number].head.to("cpu") for number in _progress(numbers, "Reading the driver"))
        performance = animation_of(head_model, heads, views.fps, reference)
    write_head_glb(out, head_model, surface.identity.cpu(), mesh, image, performance)
    length = "" if performance is None else f", {len(performance.expression)} frames at {performance.fps:g}/s"
    print(f"{out}: {len(mesh.faces)} triangles, {head_model.num_expression} morph targets{length}")


def export_obj(
    avatar: Path,
    driver: str,
    out: Path,
    frames: str | None = None,
    texture: Between[int, 64, 8192] = 1024,
    trust: str = "",
    **driving: Any,
) -> None:
    """Write the posed head of every frame of a driver as OBJ, with one texture for all.

    Args:
        avatar: folder of a run or of an avatar, a checkpoint, or an avatar file.
        driver: the performance, as for ``export mesh``.
        out: folder for 00000.obj, 00001.obj, ..., head.mtl and texture.png.
        frames: range A:B of the driver's frames, from A up to but without B.
        texture: side of the texture in pixels.
        trust: packages whose classes the avatar may name, with commas between.
        driving: see `DrivingOptions`.
    """
    _need_folder(out)
    from partnerface.animation.open_driver import DrivingOptions
    from partnerface.export.posed_meshes import MATERIAL_FILE, frame_path, write_obj, write_obj_material
    from partnerface.export.texture import baked_texture

    options = DrivingOptions(**driving)
    surface, mesh, drive = _opened(avatar, trust)
    views, numbers = drive(driver, options, frames)
    with _continued(out, ".obj", surface, views, numbers, export="obj", texture=texture) as left:
        if not (out / MATERIAL_FILE).is_file():
            work = partial(_progress, text="Baking the texture")
            write_obj_material(out, baked_texture(surface, mesh, texture, work))
        for number in _progress(left, "Writing meshes"):
            view = views[number].to(surface.identity.device)
            write_obj(frame_path(out, number, ".obj"), surface, view, mesh)
    print(f"{out}: {len(numbers)} meshes")


def export_ply(
    avatar: Path, driver: str, out: Path, frames: str | None = None, trust: str = "", **driving: Any
) -> None:
    """Write the posed head of every frame of a driver as PLY, each with the colours of its expression.

    Args:
        avatar: folder of a run or of an avatar, a checkpoint, or an avatar file.
        driver: the performance, as for ``export mesh``.
        out: folder for 00000.ply, 00001.ply, ...
        frames: range A:B of the driver's frames, from A up to but without B.
        trust: packages whose classes the avatar may name, with commas between.
        driving: see `DrivingOptions`.
    """
    _need_folder(out)
    from partnerface.animation.open_driver import DrivingOptions
    from partnerface.export.posed_meshes import frame_path, write_coloured_ply

    options = DrivingOptions(**driving)
    surface, _, drive = _opened(avatar, trust, textured=False)
    views, numbers = drive(driver, options, frames)
    faces = surface.head_model.faces[surface.surface]
    with _continued(out, ".ply", surface, views, numbers, export="ply") as left:
        for number in _progress(left, "Writing meshes"):
            view = views[number].to(surface.identity.device)
            write_coloured_ply(frame_path(out, number, ".ply"), surface, view, faces)
    print(f"{out}: {len(numbers)} meshes")


def export_splats(
    avatar: Path,
    out: Path,
    driver: str | None = None,
    frames: str | None = None,
    count: Between[int, 1000, 5_000_000] = 200_000,
    trust: str = "",
    **driving: Any,
) -> None:
    """Write an avatar's head as Gaussian splats in the PLY layout of 3DGS.

    Args:
        avatar: folder of a run or of an avatar, a checkpoint, or an avatar file.
        out: the .ply file; with a driver a folder for 00000.ply, 00001.ply, ...
        driver: the performance, as for ``export mesh``; without one the avatar's default view.
        frames: range A:B of the driver's frames, from A up to but without B.
        count: number of splats at most.
        trust: packages whose classes the avatar may name, with commas between.
        driving: see `DrivingOptions`.
    """
    _need_driver(driver, frames)
    if driver is None:
        _need_suffix(out, ".ply")
    else:
        _need_folder(out)
    from partnerface.animation.open_driver import DrivingOptions
    from partnerface.export.posed_meshes import frame_path
    from partnerface.export.splats import head_splats, write_splats

    options = DrivingOptions(**driving)
    surface, _, drive = _opened(avatar, trust, textured=False)
    if driver is None:
        work = partial(_progress, text="Colouring splats")
        splats = head_splats(surface, surface.default_view(), count, work)
        write_splats(out, splats)
        print(f"{out}: {len(splats.opacity)} splats")
        return
    views, numbers = drive(driver, options, frames)
    with _continued(out, ".ply", surface, views, numbers, export="splats", count=count) as left:
        for number in _progress(left, "Writing splats"):
            splats = head_splats(surface, views[number].to(surface.identity.device), count)
            write_splats(frame_path(out, number, ".ply"), splats)
    print(f"{out}: {len(numbers)} files")


def _opened(avatar: Path, trust: str, textured: bool = True) -> tuple[Any, Any, Callable[..., Any]]:
    """The avatar, the mesh to export where a texture is wanted, and a function that opens a driver for it."""
    from partnerface.animation.film_output import parse_frames
    from partnerface.animation.open_avatar import open_avatar
    from partnerface.export.head_mesh import exported_surface, head_mesh

    opened = open_avatar(avatar, trust)
    surface = exported_surface(opened.avatar)
    head_model = surface.head_model
    mesh = head_mesh(head_model, surface.surface | head_model.part_faces("lashes")) if textured else None

    def drive(driver: str, options: Any, frames: str | None) -> tuple[Any, range]:
        views = opened.drive(driver, options)
        return views, parse_frames(frames, len(views))

    return surface, mesh, drive


def _need_suffix(out: Path, suffix: str) -> None:
    if out.suffix.lower() != suffix:
        raise UserError(f"--out {out}: must end in {suffix}")
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; choose another name")
    require_writable(out.absolute().parent)


def _need_folder(out: Path) -> None:
    if out.suffix:
        raise UserError(f"--out {out}: names a folder for one file a frame; leave out the suffix")
    if out.is_file():
        raise UserError(f"--out {out}: is a file; name a folder")
    entries = [entry for entry in out.iterdir() if entry.suffix != ".partial"] if out.is_dir() else []
    if entries and not (out / RECORD_FILE).is_file():
        raise UserError(f"--out {out}: is not empty; choose another name, or remove it")
    require_writable(out.absolute().parent)


@contextmanager
def _continued(
    out: Path, suffix: str, surface: Any, views: Any, numbers: range, **choices: str | int
) -> Iterator[list[int]]:
    """The frames of an export to a folder that have no file yet, to be written within the block.

    A record in the folder says whose frames they are until all are there, so that the same command continues
    one that was stopped.

    Args:
        out: the folder, see `_need_folder`.
        suffix: that of the files.
        surface: the avatar.
        views: the driver.
        numbers: the frames to write.
        choices: what else makes these files differ from others.

    Raises:
        UserError: the folder holds frames of another export, or cannot be written.
    """
    from partnerface.animation.film import digests
    from partnerface.export.posed_meshes import frame_path

    settings = {**choices, "frames": f"{numbers.start}:{numbers.stop}", **digests(surface, views)}
    path = out / RECORD_FILE
    if path.is_file():
        before = read_json_table(path, "remove the folder")
        if changed := [name for name in settings if before.get(name) != settings[name]]:
            raise UserError(
                f"--out {out}: holds part of an export with other settings ({', '.join(changed)}); choose "
                "another name, or remove it"
            )
    else:
        out.mkdir(exist_ok=True)
        replace_text(path, json.dumps(settings) + "\n")
    yield [number for number in numbers if not frame_path(out, number, suffix).is_file()]
    path.unlink(missing_ok=True)  # the same command may have run beside this one


def _need_driver(driver: str | None, frames: str | None) -> None:
    if driver is None and frames is not None:
        raise UserError(f"--frames {frames}: are those of a --driver; name one")


def _progress(work: Iterable[Any], text: str) -> Iterable[Any]:
    from rich.progress import track

    return track(work, text, disable=not sys.stderr.isatty(), transient=True)
