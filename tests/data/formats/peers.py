"""Writes datasets as other systems write them, from their own formulas, with the truth about every vertex.

Nothing of the package is used: the head is posed and projected by numpy alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

WIDTH, HEIGHT, FRAMES = 64, 48, 10
RINGS, STEPS = 9, 12
OPENGL = np.diag([1.0, -1.0, -1.0])


def flame_form(seed: int = 0, expressions: int = 100) -> dict[str, np.ndarray]:
    """A head of 120 vertices in FLAME's layout: an ellipsoid, two eyeballs, random bases."""
    rng = np.random.default_rng(seed)
    heights = np.linspace(-1, 1, RINGS)
    angles = np.arange(STEPS) * 2 * math.pi / STEPS
    skin = np.array(
        [
            [
                0.08 * math.sqrt(max(1 - 0.9 * h * h, 0)) * math.sin(a),
                0.13 * h,
                0.1 * math.sqrt(max(1 - 0.9 * h * h, 0)) * math.cos(a),
            ]
            for h in heights
            for a in angles
        ]
    )
    faces = []
    for ring in range(RINGS - 1):
        for step in range(STEPS):
            a, b = ring * STEPS + step, ring * STEPS + (step + 1) % STEPS
            faces += [[a, b, b + STEPS], [a, b + STEPS, a + STEPS]]
    ball = 0.012 * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    sides = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    centres = np.array([[0.032, 0.03, 0.075], [-0.032, 0.03, 0.075]])
    vertices = np.concatenate([skin, *(ball + centre for centre in centres)])
    count = len(vertices)
    for eye in range(2):
        faces += [[len(skin) + 6 * eye + corner for corner in side] for side in sides]
    weights = np.zeros((count, 5))
    below, front = heights.repeat(STEPS), np.tile(np.cos(angles), RINGS)
    jaw = np.clip(front * (0.1 - below), 0, 0.8) * (below > -0.6)
    root = np.clip((-0.6 - below) / 0.3, 0, 1)
    weights[: len(skin), 0], weights[: len(skin), 2] = root, jaw * (1 - root)
    weights[: len(skin), 1] = 1 - weights[: len(skin)].sum(1)
    weights[len(skin) : len(skin) + 6, 3] = weights[len(skin) + 6 :, 4] = 1
    targets = [(0, -0.1, 0), (0, -0.06, -0.01), (0, -0.01, 0.02), *centres]
    near = np.array([np.exp(-np.square(vertices - t).sum(1) / 0.03**2) for t in targets])
    shapes = rng.standard_normal((count, 3, 300 + expressions))
    shapes[len(skin) :] = 0
    return {
        "v_template": vertices + np.array([0.001, 0.02, -0.013]),
        "shapedirs": 0.001 * shapes,
        "posedirs": 0.002 * rng.standard_normal((count, 3, 36)),
        "J_regressor": near / near.sum(1, keepdims=True),
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "f": np.array(faces, np.uint32),
    }


def pose_flame(
    flame: dict[str, np.ndarray],
    shape: np.ndarray,
    expression: np.ndarray,
    pose: np.ndarray,
    static_offset: np.ndarray | float = 0.0,
) -> np.ndarray:
    """``[V, 3]`` vertices by the equations of FLAME (Li et al. 2017).

    ``pose`` ``[5, 3, 3]`` is that of root, neck, jaw and eyes.
    """
    basis = flame["shapedirs"]
    rest = flame["v_template"] + static_offset + basis[:, :, : len(shape)] @ shape
    rest = rest + basis[:, :, 300 : 300 + len(expression)] @ expression
    joints = flame["J_regressor"] @ rest
    rest = rest + flame["posedirs"] @ (pose[1:] - np.eye(3)).ravel()
    chain: list[np.ndarray] = []
    for joint, parent in enumerate([-1, 0, 1, 1, 1]):
        local = np.eye(4)
        local[:3, :3] = pose[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        chain.append(local if parent < 0 else chain[parent] @ local)
    posed = np.zeros_like(rest)
    for joint, transform in enumerate(chain):
        moved = (rest - joints[joint]) @ transform[:3, :3].T + transform[:3, 3]
        posed += flame["weights"][:, joint, None] * moved
    return posed


@dataclass
class Performance:
    """T frames of one person's coefficients and joint rotations, axis-angle."""

    seed: int = 1
    frames: int = FRAMES
    identities: int = 300
    expressions: int = 100
    root: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.shape = 0.3 * rng.standard_normal(self.identities)
        self.expression = 0.3 * rng.standard_normal((self.frames, self.expressions))
        self.root = rng.uniform(-0.3, 0.3, (self.frames, 3))
        self.neck, self.jaw = rng.uniform(-0.2, 0.2, (2, self.frames, 3))
        self.eyes = rng.uniform(-0.2, 0.2, (self.frames, 6))
        self.shift = rng.uniform(-0.03, 0.03, (self.frames, 3))

    def pose(self, frame: int, root: bool = True, neck: bool = True) -> np.ndarray:
        """``[5, 3, 3]``."""
        vectors = np.concatenate(
            [
                self.root[frame] * root,
                self.neck[frame] * neck,
                self.jaw[frame],
                self.eyes[frame],
            ]
        )
        return Rotation.from_rotvec(vectors.reshape(5, 3)).as_matrix()


@dataclass
class Truth:
    """What is known of each frame, in the order of time.

    Attributes:
        in_camera: ``[T, V, 3]`` metres: x right, y down, z forward.
        pixels: ``[T, V, 2]`` from the picture's upper left corner.
        train: numbers of the training frames; ``test`` those of the test frames.
    """

    in_camera: np.ndarray
    pixels: np.ndarray
    train: list[int]
    test: list[int]


def look_at_head(frame: int, distance: float, moving: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Axes ``[3, 3]`` (columns right, up, backward) and place ``[3]`` of a camera in front of the head."""
    turn = Rotation.from_euler("yxz", [0.2 + 0.05 * frame * moving, -0.1 + 0.03 * frame * moving, 0.02])
    axes = turn.as_matrix()
    return axes, axes @ [0.01, 0.02, distance]


def picture(pixels: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture ``[H, W, 3]`` and matte ``[H, W]``: the head's outline over shoulders."""
    matte = Image.new("L", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(matte)
    hull = ConvexHull(pixels)
    outline = [tuple(pixels[corner]) for corner in hull.vertices]
    draw.polygon(outline, fill=255)
    shoulders = min(float(pixels[:, 1].max()) - 4, HEIGHT)
    draw.rectangle([8 + frame % 2, shoulders, WIDTH - 8, HEIGHT], fill=255)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    colours = np.stack([rows * 4 + 10, columns * 3 + 20, (rows * 5 + columns * 7) % 200], -1).astype(np.uint8)
    return colours, np.asarray(matte)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def dump(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, default=lambda array: array.tolist()))


def square(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def write_vhap(
    root: Path,
    flame: dict[str, np.ndarray],
    static_offset: int = 0,
    indices: Sequence[int] = (),
    meshes: bool = False,
    both: int = 0,
    beside: str = "",
    seed: int = 1,
    closer: float = 1.0,
) -> Truth:
    """VHAP: OpenGL camera to world, cy counted from the bottom, root rotation inside FLAME.

    Args:
        root: folder of the dataset.
        flame: the head model.
        static_offset: rows of the static offset; 0 for none.
        indices: timestep indices, by default 0, 1, 2 and on.
        meshes: mesh mode.
        both: frames of the test that are in training too.
        beside: name of a folder beside ``root`` with the files, as in a union.
        seed: of the person and what it does.
        closer: factor on the focal length.
    """
    told = Performance(seed)
    place = root.parent / beside if beside else root
    rng = np.random.default_rng(5)
    vertices = len(flame["v_template"])
    offset = 0.002 * rng.standard_normal((static_offset, 3))
    focal, cx, cy = 83.0 * closer, 30.5, 27.25
    axes, centre = look_at_head(0, 0.6, moving=False)
    indices = list(indices) or list(range(FRAMES))
    entries, in_camera, pixels = [], [], []
    for frame, index in enumerate(indices):
        head = pose_flame(
            flame,
            told.shape,
            told.expression[frame],
            told.pose(frame),
            offset[:vertices] if static_offset else 0.0,
        )
        head = head + told.shift[frame]
        local = (head - centre) @ axes
        right, up = (focal * local[:, k] / -local[:, 2] for k in (0, 1))
        found = np.stack([right + cx, HEIGHT - (up + cy)], 1)
        in_camera.append(local @ OPENGL)
        pixels.append(found)
        image, matte = picture(found, frame)
        stem, prefix = f"{index:05d}_00", f"../{beside}/" if beside else ""
        shown = np.where(matte[..., None] > 0, image, 255).astype(np.uint8)
        save(place / "images" / f"{stem}.png", shown)
        save(place / "fg_masks" / f"{stem}.png", matte)
        entry = {
            "timestep_index": index,
            "timestep_index_original": index,
            "timestep_id": f"{index:05d}",
            "camera_index": 0,
            "camera_id": "0",
            **{"cx": cx, "cy": cy, "fl_x": focal, "fl_y": focal, "h": HEIGHT, "w": WIDTH},
            "transform_matrix": square(axes, centre),
            "file_path": f"{prefix}images/{stem}.png",
            "fg_mask_path": f"{prefix}fg_masks/{stem}.png",
        }
        if meshes:
            write_obj(place / "meshes" / f"{index:05d}.obj", head, flame["f"])
            entry["mesh_path"] = f"{prefix}meshes/{index:05d}.obj"
            entry["exp_path"] = f"{prefix}flame/exp/{index:05d}.txt"
        else:
            entry["flame_param_path"] = f"{prefix}flame_param/{index:05d}.npz"
            (place / "flame_param").mkdir(exist_ok=True)
            extra = {"static_offset": offset[None].astype(np.float32)} if static_offset else {}
            np.savez(
                place / "flame_param" / f"{index:05d}.npz",
                translation=told.shift[frame][None],
                rotation=told.root[frame][None],
                neck_pose=told.neck[frame][None],
                jaw_pose=told.jaw[frame][None],
                eyes_pose=told.eyes[frame][None],
                shape=told.shape,
                expr=told.expression[frame][None],
                **extra,
            )
        entries.append(entry)
    top = {k: entries[0][k] for k in ("cx", "cy", "fl_x", "fl_y", "h", "w")}
    cut = 7
    for split, part in (
        ("train", entries[:cut]),
        ("val", []),
        ("test", entries[cut - both :]),
        ("", entries),
    ):
        name = f"transforms_{split}.json" if split else "transforms.json"
        # Train's indices stand in val too.
        steps = [e["timestep_index"] for e in (part or entries[:cut])]
        dump(root / name, {**top, "timestep_indices": steps, "camera_indices": [0], "frames": part})
    if beside:
        dump(place / "transforms.json", {**top, "frames": []})
        (root / "sequences_train.txt").write_text(f"{beside}\n")
    return Truth(np.array(in_camera), np.array(pixels), list(range(cut)), list(range(cut, FRAMES)))


def write_union(root: Path, flame: dict[str, np.ndarray]) -> Truth:
    """A union of two sequences that were tracked apart: other shapes and offsets, time from 0 in both."""
    names = ("EMO-1", "EXP-2")
    truths = [
        write_vhap(root.parent / name, flame, static_offset=120 * number, seed=1 + number)
        for number, name in enumerate(names)
    ]
    for split in ("", "_train", "_test"):
        table: dict = {}
        for name in names:
            part = json.loads((root.parent / name / f"transforms{split}.json").read_text())
            for entry in part["frames"]:
                for key in ("file_path", "fg_mask_path", "flame_param_path"):
                    entry[key] = f"../{name}/{entry[key]}"
            table = {**part, "frames": [*table.get("frames", []), *part["frames"]]}
        dump(root / f"transforms{split}.json", table)
    (root / "sequences_train.txt").write_text("\n".join(names))
    train, test = ([*one, *(FRAMES + i for i in one)] for one in (truths[0].train, truths[0].test))
    return Truth(
        np.concatenate([t.in_camera for t in truths]), np.concatenate([t.pixels for t in truths]), train, test
    )


def write_obj(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# mesh", *(f"v {x:.8f} {y:.8f} {z:.8f}" for x, y, z in vertices), "vt 0.5 0.5"]
    lines += [f"f {a + 1}/1 {b + 1}/1 {c + 1}/1" for a, b, c in faces.astype(int)]
    path.write_text("\n".join(lines) + "\n")


def write_insta(
    root: Path,
    flame: dict[str, np.ndarray],
    canonical: bool = True,
    splits: bool = True,
    name: Callable[[int], str] = "{:05d}".format,
    closer: float = 1.0,
    both: int = 0,
) -> Truth:
    """INSTA: OpenCV camera to world that moves around a still head, RGBA pictures.

    Args:
        root: folder of the dataset.
        flame: the head model.
        canonical: the mesh at rest.
        splits: files of the splits.
        name: of a frame's files.
        closer: factor on the focal length.
        both: frames of the test that are in training too.
    """
    told = Performance()
    focal = closer * np.array([90.0, 88.0])
    centre = np.array([33.0, 22.5])
    entries, in_camera, pixels = [], [], []
    for frame in range(FRAMES):
        head = pose_flame(flame, told.shape, told.expression[frame], told.pose(frame, root=False, neck=False))
        opengl, place = look_at_head(frame, 0.7)
        axes = opengl @ OPENGL
        local = (head - place) @ axes
        found = focal * local[:, :2] / local[:, 2:] + centre
        in_camera.append(local)
        pixels.append(found)
        image, matte = picture(found, frame)
        stem = name(frame)
        save(root / "images" / f"{stem}.png", np.dstack([image, matte]))
        write_obj(root / "meshes" / f"{stem}.obj", head, flame["f"])
        dump(root / "flame" / "exp" / f"{stem}.txt", 0)
        entries.append(
            {
                "file_path": f"images/{stem}.png",
                "mesh_path": f"meshes/{stem}.obj",
                "exp_path": f"flame/exp/{stem}.txt",
                "transform_matrix": square(axes, place),
            }
        )
    if canonical:
        rest = pose_flame(flame, told.shape, np.zeros(100), np.stack([np.eye(3)] * 5))
        write_obj(root / "canonical.obj", rest, flame["f"])
    top = {
        **{"w": WIDTH, "h": HEIGHT, "cx": centre[0], "cy": centre[1], "fl_x": focal[0], "fl_y": focal[1]},
        "camera_angle_x": 2 * math.atan(WIDTH / 2 / focal[0]),
        "integer_depth_scale": 0.001,
    }
    cut = 8
    # Not in the order of time, and a val that is a part of both.
    parts = {
        "": entries[::-1],
        "_train": entries[:cut][::-1],
        "_test": entries[cut - both :],
        "_val": entries[6:],
    }
    for split, part in parts.items():
        if splits or not split:
            dump(root / f"transforms{split}.json", {**top, "frames": part})
    return Truth(np.array(in_camera), np.array(pixels), list(range(cut)), list(range(cut, FRAMES)))


def write_imavatar(
    root: Path,
    flame: dict[str, np.ndarray],
    folders: tuple[str, str] = ("image", "mask"),
    videos: Sequence[str] = ("",),
    numbers: Callable[[int], int | str] = lambda frame: frame + 1,
    legacy: bool = False,
    turned: bool = False,
    pixels_of_picture: bool = False,
) -> Truth:
    """IMavatar: FLAME times 4, a camera with y up that looks along -z, fx negative, intrinsics over the size.

    Args:
        root: folder of the dataset.
        flame: the head model.
        folders: of pictures and masks; without the latter masks are the alpha of the pictures.
        videos: folders below the root, one flame_params.json each; frames are dealt out in order.
        numbers: name of a frame's picture.
        legacy: intrinsics in pixels of a picture of 512.
        turned: a rotation in world_mat.
        pixels_of_picture: intrinsics in pixels of the pictures themselves.
    """
    told = Performance(identities=100, expressions=50)
    fx, fy, cx, cy = -1.4, 1.9, 0.52, 0.45
    share = FRAMES // len(videos)
    in_camera, pixels = [], []
    for number, video in enumerate(videos):
        place, entries = root / video, []
        for frame in range(number * share, (number + 1) * share):
            rotation = Rotation.from_euler("xyz", [0.1, 0.2, -0.1]).as_matrix() if turned else np.eye(3)
            translation = np.array([0.02, -0.05, -2.6])
            head = 4 * pose_flame(flame, told.shape, told.expression[frame], told.pose(frame))
            local = head @ rotation.T + translation
            u, v = fx * local[:, 0] / local[:, 2] + cx, fy * local[:, 1] / local[:, 2] + cy
            found = np.stack([u * WIDTH, v * HEIGHT], 1)
            in_camera.append(local @ OPENGL / 4)
            pixels.append(found)
            image, matte = picture(found, frame)
            name = str(numbers(frame))
            if folders[1]:
                save(place / folders[0] / f"{name}.png", image)
                save(place / folders[1] / f"{name}.png", matte)
            else:
                save(place / folders[0] / f"{name}.png", np.dstack([image, matte]))
            pose = np.concatenate([told.root[frame], told.neck[frame], told.jaw[frame], told.eyes[frame]])
            entries.append(
                {
                    "file_path": f"./image/{name}",
                    "world_mat": np.column_stack([rotation, translation]),
                    "expression": told.expression[frame],
                    "pose": pose,
                    "bbox": [-0.5, -0.5, 0.5, 0.5],
                    "flame_keypoints": np.zeros((70, 2)),
                }
            )
        intrinsics = np.array([fx, fy, cx, cy]) * (512 if legacy else 1)
        if pixels_of_picture:
            intrinsics = intrinsics * [WIDTH, HEIGHT, WIDTH, HEIGHT]
        dump(
            place / "flame_params.json",
            {
                "frames": entries[::-1],
                "shape_params": told.shape,
                "intrinsics": intrinsics,
            },
        )
    cut = FRAMES - FRAMES // 5 if len(videos) == 1 else share
    return Truth(np.array(in_camera), np.array(pixels), list(range(cut)), list(range(cut, FRAMES)))


def write_nerface(
    root: Path,
    flame: dict[str, np.ndarray],
    mirrored: bool = True,
    angle: bool = False,
    index_map: bool = True,
    both: int = 0,
) -> Truth:
    """NeRFace: rays ((i - W cx) / fx, -(j - H cy) / fy, -1) through whole numbers, head at the origin.

    Args:
        root: folder of the dataset.
        flame: the head model, whose first 76 expressions take the place of NeRFace's own.
        mirrored: fx is negative and x of the world mirrored, as in the published data.
        angle: the field of view in place of the intrinsics.
        index_map: the file that says which frame of the video a picture is.
        both: training frames that are listed in the test too.
    """
    told = Performance(expressions=76)
    mirror = np.diag([-1.0 if mirrored else 1.0, 1, 1])
    rng = np.random.default_rng(3)
    trained = list(range(7))
    shuffled = [int(i) for i in rng.permutation(trained)]
    uses = {"train": shuffled, "val": [7], "test": [8, 9]}
    in_camera, pixels = (
        np.zeros((FRAMES, *flame["v_template"].shape)),
        np.zeros((FRAMES, len(flame["weights"]), 2)),
    )
    top: dict[str, object] = {}
    listed: list[dict] = []
    for use, frames in uses.items():
        # Each file has intrinsics of its own.
        fx, fy, cx, cy = (80.0, 80.0, 0.5, 0.5) if angle else (95.0 + len(use), 93.0, 0.47, 0.52)
        entries = []
        for place, frame in enumerate(frames):
            rest = np.stack([np.eye(3)] * 5)
            head = pose_flame(flame, np.zeros(1), told.expression[frame], rest) @ mirror
            axes, centre = look_at_head(frame, 0.55)
            axes = mirror @ axes @ mirror
            local = (head - mirror @ centre) @ axes
            sign = -1 if mirrored else 1
            columns = sign * fx * local[:, 0] / -local[:, 2] + WIDTH * cx
            rows = -fy * local[:, 1] / -local[:, 2] + HEIGHT * cy
            # Ray number i goes through the middle of pixel i.
            pixels[frame] = np.stack([columns, rows], 1) + 0.5
            in_camera[frame] = local @ np.diag([sign, -1.0, -1.0])
            image, _ = picture(pixels[frame], frame)
            number = place if use != "test" else frame
            save(root / use / f"f_{number:04d}.png", image)
            entries.append(
                {
                    "file_path": f"./{use}/f_{number:04d}",
                    "transform_matrix": square(axes, mirror @ centre),
                    "expression": told.expression[frame],
                    "bbox": [0.2, 0.8, 0.3, 0.7],
                }
            )
        listed += entries if use == "train" else []
        frames_listed = entries + listed[:both] if use == "test" else entries
        top = {"camera_angle_x": sign * 2 * math.atan(WIDTH / 2 / fx), "frames": frames_listed}
        top["intrinsics"] = [] if angle else [sign * fx, fy, cx, cy]
        dump(root / f"transforms_{use}.json", top)
    save(root / "bg" / "00050.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    if index_map:
        rows = [[frame, shuffled.index(frame) if frame in shuffled else -1] for frame in range(FRAMES)]
        np.save(root / "index_map.npy", np.array(rows))
        return Truth(in_camera, pixels, trained, [8, 9])
    order = [*shuffled, 7, 8, 9]
    return Truth(in_camera[order], pixels[order], trained, [8, 9])


def six_numbers(rotation: np.ndarray) -> np.ndarray:
    """The first two rows, not normalised."""
    return np.concatenate([1.3 * rotation[0], 0.7 * rotation[1]])


def write_frames(
    root: Path,
    flame: dict[str, np.ndarray],
    flash: bool = False,
    shifted: bool = False,
    missing: bool = False,
) -> Truth:
    """metrical-tracker: one torch archive of numpy arrays a frame, 6D rotations, OpenCV world to camera.

    Args:
        root: folder of the dataset.
        flame: the head model.
        flash: FlashAvatar's folders beside it.
        shifted: pictures in the source's folder, whose numbers are one higher.
        missing: frame 4 was not tracked.
    """
    import torch

    told = Performance()
    focal, cx, cy = 88.0, 31.0, 26.0
    in_camera, pixels = [], []
    (root / "checkpoint").mkdir(parents=True)
    for frame in range(FRAMES):
        rotation = told.pose(frame, root=False, neck=False)
        head = pose_flame(flame, told.shape, told.expression[frame], rotation)
        opengl, centre = look_at_head(frame, 0.6)
        axes = opengl @ OPENGL
        local = (head - centre) @ axes
        found = focal * local[:, :2] / local[:, 2:] + [cx, cy]
        image, matte = picture(found, frame)
        if flash:
            save(root / "imgs" / f"{frame + 1:05d}.png", image)
            save(root / "alpha" / f"{frame + 1:05d}.png", matte)
        elif shifted:
            save(root / "images" / f"{frame + 1:05d}.png", image)
        else:
            save(root / "input" / f"{frame:05d}.png", image)
        if missing and frame == 4:
            continue
        in_camera.append(local)
        pixels.append(found)
        single = {
            "exp": told.expression[frame][None],
            "shape": told.shape[None],
            "tex": np.zeros((1, 140)),
            "sh": np.zeros((1, 9, 3)),
            "eyes": np.concatenate([six_numbers(rotation[3]), six_numbers(rotation[4])])[None],
            "eyelids": np.zeros((1, 2)),
            "jaw": six_numbers(rotation[2])[None],
        }
        opencv = {
            "R": axes.T[None],
            "t": (-axes.T @ centre)[None],
            "K": np.array([[[focal, 0, cx], [0, focal, cy], [0, 0, 1]]]),
        }
        record = {
            "flame": {name: value.astype(np.float32) for name, value in single.items()},
            "camera": {"R": six_numbers(np.eye(3))[None], "t": np.zeros((1, 3)), "fl": np.ones((1, 1))},
            "opencv": opencv,
            "img_size": np.array([HEIGHT, WIDTH]),
            "frame_id": f"{frame:05d}",
            "global_step": 100,
        }
        torch.save(record, root / "checkpoint" / f"{frame:05d}.frame")
    count = len(pixels)
    cut = count - count // 5
    return Truth(np.array(in_camera), np.array(pixels), list(range(cut)), list(range(cut, count)))


def write_metrical(root: Path, flame: dict[str, np.ndarray]) -> Truth:
    """metrical-tracker's own folder."""
    return write_frames(root, flame)


def write_flash(root: Path, flame: dict[str, np.ndarray]) -> Truth:
    """FlashAvatar's folder with the tracker's checkpoints inside."""
    return write_frames(root, flame, flash=True)


def write_nersemble(
    root: Path, flame: dict[str, np.ndarray], matrices: bool = True, old: bool = False, scale: float = 1.04
) -> Truth:
    """NeRSemble: x = scale R flame(zero root) + t, R by intrinsic XYZ angles, OpenCV world to camera.

    Args:
        root: folder of a person.
        flame: the head model.
        matrices: rotation matrices beside the angles.
        old: the first version of the tracking.
        scale: of the head.
    """
    import av

    told = Performance()
    focal, cx, cy, serial = 85.0, 30.0, 25.0, "222200037"
    opengl, centre = look_at_head(0, 0.65, moving=False)
    axes = opengl @ OPENGL
    dump(
        root / "calibration" / "camera_params.json",
        {
            "world_2_cam": {serial: square(axes.T, -axes.T @ centre), "220700191": np.eye(4)},
            "intrinsics": {serial: [[focal, 0, cx], [0, focal, cy], [0, 0, 1]], "220700191": np.eye(3)},
        },
    )
    in_camera, pixels = [], []
    for number, sequence in enumerate(("EMO-2-surprise+fear", "EXP-1-head")):
        frames = range(5 * number, 5 * number + 5)
        turns = told.root[frames.start : frames.stop]
        rotations = np.stack(
            [
                Rotation.from_euler("x", x).as_matrix()
                @ Rotation.from_euler("y", y).as_matrix()
                @ Rotation.from_euler("z", z).as_matrix()
                for x, y, z in turns
            ]
        )
        pictures, mattes = [], []
        for frame in frames:
            head = pose_flame(flame, told.shape, told.expression[frame], told.pose(frame, root=False))
            head = scale * head @ rotations[frame - frames.start].T + told.shift[frame]
            local = (head - centre) @ axes
            found = focal * local[:, :2] / local[:, 2:] + [cx, cy]
            in_camera.append(local)
            pixels.append(found)
            image, matte = picture(found, frame)
            pictures.append(np.where(matte[..., None] > 0, image, 255).astype(np.uint8))
            mattes.append(np.repeat(matte[..., None], 3, 2))
        place = root / "sequences" / sequence
        for name, shown in (("images", pictures), ("alpha_maps", mattes)):
            (place / name).mkdir(parents=True)
            with av.open(str(place / name / f"cam_{serial}.mp4"), "w") as container:
                stream = container.add_stream("libx264", rate=24)
                stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
                for image in shown:
                    container.mux(
                        stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24"))
                    )
                container.mux(stream.encode(None))
        (place / "tracking").mkdir()
        part = slice(frames.start, frames.stop)
        np.savez(
            place / "tracking" / ("flame2023_tracking.npz" if old else "flame2023_tracking_v2.npz"),
            shape=told.shape[None],
            expression=told.expression[part],
            rotation=turns,
            translation=told.shift[part],
            jaw=told.jaw[part],
            neck=told.neck[part],
            eyes=told.eyes[part],
            scale=np.array([[scale]]),
            # Never read: row i is frame i of the video.
            frames=np.arange(5) * 3,
            **({"rotation_matrices": rotations} if matrices else {}),
        )
    return Truth(np.array(in_camera), np.array(pixels), list(range(FRAMES)), [])
