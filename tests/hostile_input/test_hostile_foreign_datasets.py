"""Damaged and malicious datasets of other systems are refused in one line, before anything is written."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from partnerface.cli.main import main
from partnerface.data.formats.auto import FORMATS
from partnerface.head_models.flame import FlameHead
from tests.data.formats import peers
from tests.hostile_input import spoiling as bad

WRITERS = {
    "vhap": peers.write_vhap,
    "insta": peers.write_insta,
    "imavatar": peers.write_imavatar,
    "nerface": peers.write_nerface,
    "frames": peers.write_flash,
    "metrical": peers.write_metrical,
    "nersemble": peers.write_nersemble,
}
TRACKING = "sequences/EXP-1-head/tracking/flame2023_tracking_v2.npz"
TABLES = {
    "vhap": "transforms_train.json",
    "insta": "transforms_train.json",
    "imavatar": "flame_params.json",
    "nerface": "transforms_train.json",
    "nersemble": "calibration/camera_params.json",
}


@pytest.fixture(scope="module")
def flame() -> dict[str, np.ndarray]:
    return peers.flame_form()


@pytest.fixture
def refused(bench, flame) -> Callable[..., str]:
    """Writes a dataset, spoils it, and makes sure that ``partnerface check`` refuses it."""

    def refuse(kind: str, spoil: Callable[[Any], None], *words: str, file: bytes | None = None) -> str:
        WRITERS[kind](bench.root, flame)
        path = bench.folder / "flame.npz"
        np.savez(path, **flame)
        if file is not None:
            path.write_bytes(file)
        spoil(bench)
        arguments = ["check", str(bench.root), "--out", str(bench.out), "--head_model", str(path)]
        return bench.refuses(arguments, *words)

    return refuse


def table(name: str, change: Callable[[dict], Any]) -> Callable[[Any], None]:
    """Change a JSON file."""

    def spoil(bench) -> None:
        path = bench.root / name
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def frame(key: str, value: Any) -> Callable[[dict], Any]:
    return lambda content: content["frames"][2].update({key: value})


@pytest.mark.parametrize("kind", TABLES)
def test_a_truncated_table(kind, refused):
    refused(kind, bad.cut(TABLES[kind], 0.6), Path(TABLES[kind]).name, "cannot be read")


@pytest.mark.parametrize("kind", TABLES)
def test_gigabytes_of_json(kind, refused):
    def spoil(bench) -> None:
        # A sparse file: it takes no room on the disk.
        os.truncate(bench.root / TABLES[kind], 3_000_000_000)

    refused(kind, spoil, Path(TABLES[kind]).name, "MB at most")


FRAME_VALUES = {
    "vhap": ("transform_matrix", "file_path", "flame_param_path"),
    "insta": ("transform_matrix", "file_path", "mesh_path"),
    "imavatar": ("world_mat", "file_path", "expression"),
    "nerface": ("transform_matrix", "file_path", "expression"),
}


@pytest.mark.parametrize("value", [None, [[float("nan")] * 4] * 4, [1, [2]], "../../outside/x", {}])
@pytest.mark.parametrize(("kind", "key"), [(k, key) for k, keys in FRAME_VALUES.items() for key in keys])
def test_values_of_a_frame(kind, key, value, refused):
    refused(kind, table(TABLES[kind], frame(key, value)), TABLES[kind])


@pytest.mark.parametrize("kind", FRAME_VALUES)
def test_paths_that_leave_the_folder(kind, refused):
    def spoil(bench) -> None:
        Image.new("RGB", (peers.WIDTH, peers.HEIGHT)).save(bench.outside / "1.png")
        name = "../outside/1" if kind in ("imavatar", "nerface") else "../outside/1.png"
        # A union may name the sequences beside it, but no folder that is none.
        (bench.root / "sequences_train.txt").write_text("outside")
        table(TABLES[kind], frame("file_path", name))(bench)

    refused(kind, spoil, "leads out of the dataset's folder")


PICTURES = {
    "vhap": "images/00002_00.png",
    "insta": "images/00002.png",
    "imavatar": "image/3.png",
    "nerface": "train/f_0002.png",
    "frames": "imgs/00003.png",
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_that_is_missing_or_of_another_size(kind, refused):
    refused(
        kind, bad.missing(PICTURES[kind]), Path(PICTURES[kind]).stem, "ing" if kind != "frames" else "has no"
    )


HALF = {
    "vhap": "flame_param",
    "insta": "meshes",
    "imavatar": "mask",
    "nerface": "train",
    "frames": "alpha",
    "metrical": "input",
    "nersemble": "sequences/EXP-1-head/alpha_maps",
}


@pytest.mark.parametrize("kind", HALF)
def test_a_conversion_that_stopped_half_way(kind, refused):
    def spoil(bench) -> None:
        files = sorted((bench.root / HALF[kind]).iterdir())
        for path in files[len(files) // 2 :]:
            path.unlink()

    refused(kind, spoil)


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_different_sizes(kind, refused):
    def spoil(bench) -> None:
        with Image.open(bench.root / PICTURES[kind]) as image:
            image.resize((peers.WIDTH + 2, peers.HEIGHT)).save(bench.root / PICTURES[kind])

    refused(kind, spoil, Path(PICTURES[kind]).name, f"is {peers.WIDTH + 2}x{peers.HEIGHT}")


@pytest.mark.parametrize("kind", ["vhap", "imavatar", "frames", "nersemble"])
def test_another_head_model(kind, refused, flame, tmp_path):
    """One with too few expressions is refused with its name and what the dataset has."""
    short = {**flame, "shapedirs": flame["shapedirs"][:, :, :330]}
    np.savez(tmp_path / "short.npz", **short)
    content = (tmp_path / "short.npz").read_bytes()
    (tmp_path / "short.npz").unlink()
    line = refused(kind, lambda _: None, "flame.npz", "num_expression", "30 components", file=content)
    assert "expression coefficients" in line


def test_another_version_of_flame_for_a_converted_dataset(bench, flame):
    """It has as many components; the line says which file the dataset has and which was given."""
    versions = {"flame2020": flame, "flame2023": peers.flame_form(seed=1)}
    files = {name: bench.folder / f"{name}.npz" for name in versions}
    for name, arrays in versions.items():
        np.savez(files[name], **arrays)
    peers.write_vhap(bench.folder / "vhap", flame)
    arguments = ["convert", str(bench.folder / "vhap"), "--to", "partnerface", "--out", str(bench.root)]
    assert main([*arguments, "--head_model", str(files["flame2020"])]) == 0
    checksums = [FlameHead(path, 300, 100).asset.checksum() for path in files.values()]
    arguments = ["check", str(bench.root), "--out", str(bench.out), "--head_model", str(files["flame2023"])]
    bench.refuses(arguments, "flame2023.npz: is flame flame2023", "with flame flame2020", *checksums)


def test_a_static_offset_of_another_head_model(refused):
    def spoil(bench) -> None:
        for path in (bench.root / "flame_param").iterdir():
            arrays = dict(np.load(path))
            np.savez(path, **arrays, static_offset=np.ones((1, 50, 3)))

    refused("vhap", spoil, "flame.npz", "has 120 vertices, the static offset 50")


@pytest.mark.parametrize(
    ("name", "value"),
    [("static_offset", np.float32(1)), ("static_offset", np.zeros((2, 120, 3))), ("shape", np.zeros(0))],
)
def test_parameters_of_odd_shapes(name, value, refused):
    def spoil(bench) -> None:
        for path in (bench.root / "flame_param").iterdir():
            np.savez(path, **{**np.load(path), name: value})

    refused("vhap", spoil, "00000.npz", f"'{name}'")


@pytest.mark.parametrize("name", ["flame_param/00001.npz", "flame_param/00006.npz"])
def test_parameters_that_are_damaged(name, refused):
    refused("vhap", bad.cut(name), Path(name).name)


def test_parameters_that_hold_code(refused, bench):
    def spoil(bench) -> None:
        path = bench.root / "flame_param/00001.npz"
        np.savez(path, expr=np.array([bad.Payload(bench.canary)], object))

    refused("vhap", spoil, "00001.npz", "Python objects")


ARRAYS_OF_FRAMES = {
    "vhap": ("flame_param/00003.npz", ("expr", "jaw_pose", "eyes_pose", "translation", "shape")),
    "nersemble": (TRACKING, ("expression", "translation", "rotation", "rotation_matrices", "jaw", "shape")),
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, (_, names) in ARRAYS_OF_FRAMES.items() for name in names]
)
def test_parameters_that_are_not_finite(kind, name, refused):
    def spoil(bench) -> None:
        file = ARRAYS_OF_FRAMES[kind][0]
        values = np.load(bench.root / file)[name]
        values.flat[-1] = np.nan
        bad.arrays(file, **{name: values})(bench)

    refused(kind, spoil, Path(ARRAYS_OF_FRAMES[kind][0]).name, f"'{name}'", "not finite")


@pytest.mark.parametrize(
    ("kind", "name"), [("vhap", "jaw_pose"), ("vhap", "static_offset"), ("nersemble", "translation")]
)
def test_parameters_with_an_imaginary_part(kind, name, refused):
    def spoil(bench) -> None:
        file = ARRAYS_OF_FRAMES[kind][0]
        values = dict(np.load(bench.root / file)).get(name, np.zeros((1, 120, 3)))
        bad.arrays(file, **{name: values + 1j})(bench)

    refused(kind, spoil, Path(ARRAYS_OF_FRAMES[kind][0]).name, f"'{name}' holds complex128")


def not_finite(*keys: Any) -> Callable[[dict], Any]:
    """Set the last number of a value in a table to NaN, or the value itself."""

    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        if isinstance(content[keys[-1]], list):
            content[keys[-1]][-1] = float("nan")
        else:
            content[keys[-1]] = float("nan")

    return change


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("vhap", ("frames", 2, "fl_x")),
        ("vhap", ("frames", 2, "timestep_index")),
        ("vhap", ("frames", 2, "timestep_index_original")),
        ("insta", ("fl_x",)),
        ("insta", ("w",)),
        ("imavatar", ("intrinsics",)),
        ("imavatar", ("shape_params",)),
        ("imavatar", ("frames", 2, "expression")),
        ("imavatar", ("frames", 2, "pose")),
        ("nerface", ("intrinsics",)),
        ("nerface", ("frames", 2, "expression")),
        ("nersemble", ("intrinsics", "222200037", 0)),
        ("nersemble", ("world_2_cam", "222200037", 0)),
    ],
)
def test_numbers_of_a_table_that_are_not_finite(kind, keys, refused):
    """Python writes and reads NaN in JSON."""
    [name] = [key for key in keys if isinstance(key, str) and key not in ("frames", "222200037")]
    refused(kind, table(TABLES[kind], not_finite(*keys)), Path(TABLES[kind]).name, f"'{name}'", "not finite")


LINKS = {
    "metrical": ("checkpoint/00002.frame", "input/00002.png"),
    "frames": ("checkpoint/00002.frame", "imgs/00003.png", "alpha/00003.png"),
    "nerface": ("index_map.npy", "train/f_0002.png"),
    "nersemble": (
        "sequences/EXP-1-head/images/cam_222200037.mp4",
        "sequences/EXP-1-head/alpha_maps/cam_222200037.mp4",
        TRACKING,
    ),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in LINKS.items() for name in names])
def test_links_that_leave_the_folder(kind, name, refused):
    refused(kind, bad.link_out(name), "leads out of the dataset's folder")


def test_arrays_that_hold_code(refused):
    def spoil(bench) -> None:
        objects = np.empty((10, 2), object)
        objects[:] = bad.Payload(bench.canary)
        np.save(bench.root / "index_map.npy", objects)

    refused("nerface", spoil, "index_map.npy", "Python objects")


@pytest.mark.parametrize("name", ["shape", "expression"])
def test_a_tracking_that_holds_code(name, refused):
    refused("nersemble", bad.pickled_array(TRACKING, name), Path(TRACKING).name, "Python objects")


def test_a_torch_file_with_code(refused):
    def spoil(bench) -> None:
        torch.save({"flame": bad.Payload(bench.canary)}, bench.root / "checkpoint/00002.frame")

    line = refused("frames", spoil, "00002.frame", "system", "numpy arrays")
    assert "FLAME" not in line


@pytest.mark.parametrize(
    ("record", "word"),
    [
        ({}, "'exp'"),
        ({"flame": [1]}, "'exp'"),
        ([1], "not a dictionary"),
        ({"flame": {"exp": np.full((1, 100), np.nan)}}, "not finite"),
        ({"flame": {"exp": torch.zeros(1, 100)}}, "rebuild_tensor"),
    ],
)
def test_torch_files_that_lack_something(record, word, refused):
    refused("frames", lambda b: torch.save(record, b.root / "checkpoint/00002.frame"), "00002.frame", word)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_torch_file_that_is_cut(share, refused):
    refused("frames", bad.cut("checkpoint/00002.frame", share), "00002.frame", "torch.save")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no vertices"),
        ("v 1 2\n", "no mesh"),
        ("v 1 2 nan\n", "not finite"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "does not exist"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "vertices"),
    ],
)
def test_meshes(text, word, refused):
    refused("insta", bad.content("meshes/00000.obj", text), ".obj", word)


def test_a_video_that_is_cut_short(refused):
    name = "sequences/EXP-1-head/alpha_maps/cam_222200037.mp4"
    refused("nersemble", bad.cut(name, 0.4), "cam_222200037.mp4")


@pytest.mark.parametrize("name", ["shape", "scale", "rotation", "expression"])
def test_a_tracking_without_an_array(name, refused):
    def spoil(bench) -> None:
        path = bench.root / TRACKING
        np.savez(path, **{k: v for k, v in np.load(path).items() if k != name})

    refused("nersemble", spoil, "flame2023_tracking_v2.npz", f"has no '{name}'")


def test_a_conversion_without_its_training_frames(refused):
    refused("vhap", bad.missing("transforms_train.json"), "no frame is for training")


def test_mattes_that_some_frames_lack(refused):
    def spoil(bench) -> None:
        table("transforms_train.json", frame("fg_mask_path", ""))(bench)
        (bench.root / "fg_masks/00002_00.png").unlink()

    refused("vhap", spoil, "transforms_train.json", "1 of 10 frames have no fg_mask_path")


def opencv_axes(content: dict) -> None:
    for entry in content["frames"]:
        entry["transform_matrix"] = (np.array(entry["transform_matrix"]) * [1, -1, -1, 1]).tolist()


def test_cameras_in_other_axes(refused):
    def spoil(bench) -> None:
        for name in ("transforms", "transforms_train", "transforms_test"):
            table(f"{name}.json", opencv_axes)(bench)

    refused("vhap", spoil, "no frame can be used: 0-9 (head behind the camera)", "OpenGL's axes")


def normalised(content: dict) -> None:
    for matrix in content["intrinsics"].values():
        for row, side in zip(matrix, (peers.WIDTH, peers.HEIGHT, 1), strict=True):
            row[:] = [value / side for value in row]


def test_intrinsics_that_are_divided_by_the_size_of_the_pictures(refused):
    words = "are 1.328, 1.771, 0.4688, 0.5208 pixels in pictures of 64x48", "intrinsics in pixels"
    refused("nersemble", table(TABLES["nersemble"], normalised), *words)


@pytest.mark.parametrize(
    ("name", "width", "words"),
    [("jaw", 3, "'jaw' has shape (1, 3)"), ("eyes", 6, "'eyes' has shape (1, 6)"), ("jaw", 6, "no rotation")],
)
def test_rotations_that_are_not_two_rows_of_a_matrix(name, width, words, refused):
    """Such as axis-angles."""

    def spoil(bench) -> None:
        for path in (bench.root / "checkpoint").iterdir():
            record = torch.load(path, weights_only=False)
            record["flame"][name] = np.zeros((1, width), np.float32)
            torch.save(record, path)

    refused("frames", spoil, "checkpoint", words)


def test_flashavatar_without_its_tracking(refused):
    def spoil(bench) -> None:
        for path in (bench.root / "checkpoint").iterdir():
            path.unlink()
        (bench.root / "parsing").mkdir()

    refused("frames", spoil, "set: has no .frame files", "metrical-tracker's output")


def test_sequences_of_different_numbers_of_expressions(refused):
    def spoil(bench) -> None:
        path = bench.root / TRACKING
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, "expression": arrays["expression"][:, :50]})

    refused("nersemble", spoil, "EXP-1-head", "has 50 expressions, other sequences 100")


def test_a_tracking_without_frames(refused):
    def spoil(bench) -> None:
        path = bench.root / TRACKING
        arrays = dict(np.load(path))
        np.savez(path, **{k: v if k in ("shape", "scale") else v[:0] for k, v in arrays.items()})

    refused("nersemble", spoil, "flame2023_tracking_v2.npz: holds no frames")


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (("alpha_maps",), "alpha_maps/cam_222200037.mp4: is 32x32, its pictures 64x48"),
        (("images", "alpha_maps"), "images/cam_222200037.mp4: is 32x32, others are 64x48"),
    ],
)
def test_videos_of_another_size(places, words, refused):
    """Than the pictures of their sequence, or than the other sequences."""

    def spoil(bench) -> None:
        for place in places:
            path = bench.root / "sequences/EXP-1-head" / place / "cam_222200037.mp4"
            with av.open(str(path), "w") as container:
                stream = container.add_stream("libx264", rate=24)
                stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
                for _ in range(5):
                    picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
                    container.mux(stream.encode(picture))
                container.mux(stream.encode(None))

    refused("nersemble", spoil, words)


def test_a_union_without_its_sequences(bench, flame):
    peers.write_union(bench.root, flame)
    (bench.folder / "EXP-2").rename(bench.folder / "elsewhere")
    arguments = ["check", str(bench.root), "--out", str(bench.out)]
    bench.refuses(arguments, "names the sequence 'EXP-2', which is not beside this folder")


def test_a_folder_that_holds_datasets(bench, flame):
    peers.write_nersemble(bench.root / "393", flame)
    peers.write_vhap(bench.root / "074", flame)
    arguments = ["check", str(bench.root), "--out", str(bench.out)]
    bench.refuses(arguments, "set: is no dataset, but holds some; give one of them: 074, 393")


def test_a_folder_of_no_format_and_of_two(bench, flame):
    bench.root.mkdir()
    arguments = ["check", str(bench.root), "--out", str(bench.out)]
    bench.refuses(arguments, "set: is no dataset of a known format", "docs/datasets.md")
    peers.write_insta(bench.root, flame)
    peers.write_frames(bench.root, flame)
    bench.refuses(arguments, "insta", "metrical-tracker", "--format")
    bench.refuses([*arguments, "--format", "x"], "no such format; choose auto, partnerface, vhap")


def test_flame_that_is_not_given_is_asked_for(bench, flame):
    peers.write_vhap(bench.root, flame)
    bench.refuses(["check", str(bench.root), "--out", str(bench.out)], "FLAME", "head_model")


@pytest.mark.parametrize("kind", FRAME_VALUES)
@pytest.mark.parametrize("name", ["a" * 300, "1" * 5000, "images/a\nb\x1b[31m.png", "\ud800", "a/" * 600])
def test_names_that_no_file_has(kind, name, refused):
    """Too long for a file system, or such as would forge lines of the terminal."""
    refused(kind, table(TABLES[kind], frame("file_path", name)), TABLES[kind], "is not the path of a file")


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_that_is_a_pipe(kind, refused):
    """Opening one would wait for ever."""

    def spoil(bench) -> None:
        (bench.root / TABLES[kind]).unlink()
        os.mkfifo(bench.root / TABLES[kind])

    refused(kind, spoil, Path(TABLES[kind]).name, "is no file")


NO_FILES: dict[str, Callable[[Path], Any]] = {
    "folder": Path.mkdir,
    "broken link": lambda path: path.symlink_to("moved.json"),
    "link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("insta", name) for name in ("transforms_train.json", "transforms_test.json", "canonical.obj")),
        *(("vhap", name) for name in ("transforms_train.json", "transforms_test.json")),
        *(("nerface", name) for name in ("transforms_test.json", "index_map.npy")),
    ],
)
def test_what_is_no_file_is_not_taken_for_missing(kind, name, make, refused):
    """Without such a file the split, the rest pose or the order of time would be others."""

    def spoil(bench) -> None:
        (bench.root / name).unlink()
        make(bench.root / name)

    refused(kind, spoil, name, "is no file, or a link that leads nowhere")


@pytest.mark.parametrize("kind", ["vhap", "nerface"])
def test_a_head_model_that_is_a_pipe(kind, refused):
    """Its checksum is asked for before the file is read."""

    def spoil(bench) -> None:
        (bench.folder / "flame.npz").unlink()
        os.mkfifo(bench.folder / "flame.npz")

    refused(kind, spoil, "flame.npz", "head_model")


def every_table(change: Callable[[dict], Any]) -> Callable[[Any], None]:
    """Change all JSON files of a dataset."""

    def spoil(bench) -> None:
        for path in bench.root.rglob("*.json"):
            table(str(path.relative_to(bench.root)), change)(bench)

    return spoil


@pytest.mark.parametrize("name", ["image/1", "./image/../image/1", "./image/1.png"])
def test_a_frame_that_is_listed_twice(name, refused):
    """However its path is written, with the suffix or without."""
    refused("imavatar", table(TABLES["imavatar"], frame("file_path", name)), "a frame is listed twice")


def other_axes(key: str) -> Callable[[dict], Any]:
    """OpenGL's camera axes for OpenCV's, and back."""

    def change(content: dict) -> None:
        for entry in content["frames"]:
            # Cameras to world are flipped in their columns, worlds to camera in their rows.
            matrix, flip = np.array(entry[key]), np.diag([1.0, -1, -1, 1])
            entry[key] = (flip[:3, :3] @ matrix if key == "world_mat" else matrix @ flip).tolist()

    return change


OTHER_CAMERAS: dict[str, tuple[str, Callable[[dict], Any], str]] = {
    "insta in OpenGL": ("insta", other_axes("transform_matrix"), "behind the camera"),
    "vhap in OpenCV": ("vhap", other_axes("transform_matrix"), "behind the camera"),
    "nerface in OpenCV": ("nerface", other_axes("transform_matrix"), "behind the camera"),
    "imavatar in OpenCV": ("imavatar", other_axes("world_mat"), "behind the camera"),
    "insta, centre over size": ("insta", lambda t: t.update(cx=0.5, cy=0.5), "0.5, 0.5 pixels"),
    "insta, all over size": ("insta", lambda t: t.update(fl_x=1.4, fl_y=1.9, cx=0.5, cy=0.5), "1.4, 1.9"),
    "insta, no centre": ("insta", lambda t: t.update(cx=0, cy=0), "0, 0 pixels"),
    "nerface, centre in pixels": ("nerface", lambda t: t.update(intrinsics=[-95, 93, 31, 25]), "1200 pixels"),
    "nerface, all over size": ("nerface", lambda t: t.update(intrinsics=[-1.5, 2, 0.5, 0.5]), "1.5, 2, "),
    "imavatar, focal in pixels": (
        "imavatar",
        lambda t: t.update(intrinsics=[-9000, 9000, 0.5, 0.5]),
        "pixels in",
    ),
}


@pytest.mark.parametrize("case", OTHER_CAMERAS)
def test_cameras_in_other_units_or_axes(case, refused):
    """The line says what the format has."""
    kind, change, word = OTHER_CAMERAS[case]
    refused(kind, every_table(change), word, " has ", " to ", "z ")


def test_a_tracker_with_other_units(refused):
    def spoil(bench) -> None:
        for path in (bench.root / "checkpoint").iterdir():
            record = torch.load(path, weights_only=False)
            record["opencv"]["K"][0, :2] /= 64
            torch.save(record, path)

    refused("frames", spoil, "pixels in pictures", "K in pixels")


@pytest.mark.parametrize(
    ("kind", "change", "word"),
    [
        ("insta", lambda t: t.update(frames=[]), "for training"),
        ("vhap", lambda t: t.update(frames=[]), "for training"),
        ("insta", lambda t: t.update(w=0), "camera of another shape than the pictures"),
        ("insta", lambda t: t.update(h=2 * peers.HEIGHT), "camera of another shape than the pictures"),
        ("imavatar", lambda t: t.update(shape_params=[]), "'shape_params' is empty"),
        ("imavatar", lambda t: [e.update(expression=[]) for e in t["frames"]], "'expression' is empty"),
        ("nerface", lambda t: [e.update(expression=[]) for e in t["frames"]], "'expression' is empty"),
        ("imavatar", lambda t: t["frames"][3].update(pose=[20.0] * 15), "20 radians"),
    ],
)
def test_tables_that_hold_nothing_or_other_units(kind, change, word, refused):
    refused(kind, table(TABLES[kind], change), word)


@pytest.mark.parametrize(
    ("kind", "file", "name"),
    [
        ("vhap", "flame_param/00003.npz", "jaw_pose"),
        ("nersemble", TRACKING, "rotation"),
    ],
)
def test_angles_in_degrees(kind, file, name, refused):
    def spoil(bench) -> None:
        arrays = dict(np.load(bench.root / file))
        arrays[name] = np.full_like(arrays[name], 14.0)
        np.savez(bench.root / file, **arrays)

    refused(kind, spoil, Path(file).name, name, "in degrees?")


@pytest.mark.parametrize(("name", "count"), [("jaw", 3), ("eyes", 6)])
def test_axis_angles_in_place_of_six_numbers(name, count, refused):
    def spoil(bench) -> None:
        for path in (bench.root / "checkpoint").iterdir():
            record = torch.load(path, weights_only=False)
            record["flame"][name] = np.zeros((1, count), np.float32)
            torch.save(record, path)

    refused("frames", spoil, f"'{name}' has shape (1, {count}), expected 1 x {2 * count}")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 4 3\n", "a face has not three corners"),
        ("v 0 0 0\nv 1 0\n", "a vertex has fewer than three numbers"),
        ("v 1 1 1\n" * 120 + "f 1 2 3\n", "all vertices lie in one place"),
    ],
)
def test_meshes_that_are_no_surface(text, word, refused):
    refused("insta", bad.content("meshes/00000.obj", text), "00000.obj", word)


@pytest.mark.parametrize("name", ["00000.obj", "00007.obj"])
@pytest.mark.parametrize(
    ("left", "words"),
    [
        (lambda text: text[: text.rindex("\nf ")], "has 207 triangles, {} 208"),
        (lambda text: text[: text.index("\nf ", len(text) * 3 // 4)], "triangles, {} 208"),
        (lambda text: text[:-2], "ends within a line, {} does not"),
    ],
    ids=["a line", "a quarter of the file", "a letter"],
)
def test_a_mesh_whose_faces_are_cut_short(name, left, words, refused):
    """The faces of all frames are those of the first mesh; a letter less is another vertex."""

    def spoil(bench) -> None:
        path = bench.root / "meshes" / name
        path.write_text(left(path.read_text()))

    other = "00001.obj" if name == "00000.obj" else "00000.obj"
    refused("insta", spoil, f"{name}: ", words.format(other), "cut short")


@pytest.mark.parametrize("format_", [format_.name for format_ in FORMATS])
@pytest.mark.parametrize("kind", ["nerface", "frames"])
def test_a_format_that_is_chosen_wrongly(kind, format_, bench, flame):
    if format_ in {"nerface": ("nerface",), "frames": ("metrical-tracker", "flashavatar")}[kind]:
        return
    WRITERS[kind](bench.root, flame)
    np.savez(bench.folder / "flame.npz", **flame)
    arguments = ["check", str(bench.root), "--out", str(bench.out), "--format", format_]
    bench.refuses([*arguments, "--head_model", str(bench.folder / "flame.npz")], "set")
