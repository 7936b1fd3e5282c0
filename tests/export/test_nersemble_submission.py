"""The submission to NeRSemble's benchmark: an independent reader checks layout and cameras."""

import json
import shutil
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from partnerface.cli.main import main
from partnerface.configuration.config_files import config_arguments
from partnerface.data.completion import torso_motion
from partnerface.data.formats import nersemble
from partnerface.data.formats.foreign import DatasetFolder, GivenHeadModel
from partnerface.export import nersemble_submission
from tests.data.formats import peers

TESTED = ("FREE", "EMO-1-shout+laugh", "SEN-09-frown_events_bad", "SEN-10-port_strong_smokey")
SERIALS = ("222200037", "222200046", "220700191", "222200039")
FRAMES, SCALE = 2, 1.04
SIZE = (64, 48)


class Benchmark:
    """A person's folder with what is tested, and where the head lies by every camera."""

    def __init__(self, folder: Path) -> None:
        self.flame, self.flame_file = peers.flame_form(), folder / "flame.npz"
        np.savez(self.flame_file, **self.flame)
        self.root = folder / "mono_flame_avatar"
        person = self.root / "393"
        peers.write_nersemble(person, self.flame, scale=SCALE)
        path = person / "calibration" / "camera_params.json"
        record = json.loads(path.read_text())
        own = np.array(record["world_2_cam"][SERIALS[0]])
        told = peers.Performance()
        middle = told.shift.mean(0)
        for number, serial in enumerate(SERIALS[1:]):
            # Around the head by so many degrees, and a little nearer.
            turn = Rotation.from_euler("y", (-20, 15, 30)[number], degrees=True).as_matrix()
            about = np.eye(4)
            about[:3, :3], about[:3, 3] = turn, middle - turn @ middle
            moved = own @ about
            moved[2, 3] -= 0.02 * number
            record["world_2_cam"][serial] = moved.tolist()
            record["intrinsics"][serial] = [[90.0 + number, 0, 31], [0, 88, 24 + number], [0, 0, 1]]
        path.write_text(json.dumps(record))
        self.pixels: dict[str, list[np.ndarray]] = {serial: [] for serial in SERIALS}
        scale = 1.1 * SCALE
        for name in TESTED:
            place = person / "sequences" / name / "tracking"
            place.mkdir(parents=True)
            arrays = {
                "shape": told.shape[None],
                "expression": told.expression[:FRAMES],
                "rotation": told.root[:FRAMES],
                "translation": told.shift[:FRAMES],
                "jaw": told.jaw[:FRAMES],
                "neck": told.neck[:FRAMES],
                "eyes": told.eyes[:FRAMES],
                "scale": np.array([[scale]]),
                "frames": np.arange(FRAMES),
            }
            np.savez(place / "flame2023_tracking_v2.npz", **arrays)
        for frame in range(FRAMES):
            turn = Rotation.from_euler("XYZ", told.root[frame]).as_matrix()
            head = peers.pose_flame(
                self.flame, told.shape, told.expression[frame], told.pose(frame, root=False)
            )
            head = scale * head @ turn.T + told.shift[frame]
            for serial in SERIALS:
                pose, lens = (np.array(record[key][serial]) for key in ("world_2_cam", "intrinsics"))
                local = head @ pose[:3, :3].T + pose[:3, 3]
                seen = local @ lens.T
                self.pixels[serial].append(seen[:, :2] / seen[:, 2:])


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> Benchmark:
    return Benchmark(tmp_path_factory.mktemp("nersemble"))


@pytest.fixture(scope="module")
def avatars(benchmark, tmp_path_factory) -> Path:
    """Folder of runs, one of a single step for person 393."""
    folder = tmp_path_factory.mktemp("avatars")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torso_motion, "ITERATIONS", 1)
        arguments = [
            *config_arguments("base", "method/part_deformation", "scale/smoke", "data/auto"),
            f"--data.reader.root={benchmark.root / '393'}",
            f"--data.reader.head_model={benchmark.flame_file}",
            "--model.avatar.sampler.init_args.cells=32",
            "--model.avatar.field.init_args.log2_table_size=12",
            "--trainer.accelerator=cpu",
            *("--trainer.max_steps=1", f"--run_dir={folder / '393'}"),
        ]
        assert main(["fit", *arguments]) == 0
    return folder


def test_heads_lie_where_the_tested_cameras_see_them(benchmark):
    folder = DatasetFolder(benchmark.root / "393")
    for name in TESTED:
        found = nersemble.read_tested_sequence(folder, GivenHeadModel(benchmark.flame_file), name)
        assert {*found.cameras} == {*SERIALS}
        with torch.no_grad():
            vertices = found.head_model(found.head).vertices
        for serial, camera in found.cameras.items():
            pixels, depth = camera.project(vertices)
            assert (depth > 0).all()
            assert np.abs(pixels.numpy() - np.array(benchmark.pixels[serial])).max() < 0.05


def test_the_archive_is_what_the_toolkit_checks(benchmark, avatars, tmp_path, monkeypatch, capsys):
    assert (nersemble_submission.SIDE, nersemble_submission.CRF) == (512, 14)
    assert nersemble.PERSONS == (393, 404, 461, 477, 486)
    monkeypatch.setattr(nersemble_submission, "SIDE", 32)
    out = tmp_path / "submission.zip"
    command = ["export", "nersemble", str(benchmark.root), "--avatars", str(avatars)]
    command += ["--head_model", str(benchmark.flame_file), "--persons", "393", "--out", str(out)]
    assert main(command) == 0
    assert "without 404, 461, 477, 486 the benchmark refuses" in capsys.readouterr().err
    expected = {f"393/{name}/cam_{serial}.mp4" for name in TESTED for serial in SERIALS}
    first = {}
    with zipfile.ZipFile(out) as archive:
        assert {*archive.namelist()} == expected
        for name in expected:
            with archive.open(name) as file, av.open(file) as container:
                stream = container.streams.video[0]
                assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 32, 32)
                assert stream.average_rate == Fraction(243, 10)
                frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            assert len(frames) == FRAMES
            first[name] = frames[0]
    # Nothing but the camera differs, and at the corners the white behind the person shows.
    views = [first[f"393/FREE/cam_{serial}.mp4"].astype(float) for serial in SERIALS]
    assert all(np.abs(views[0] - other).mean() > 0.5 for other in views[1:])
    assert min(view[0, 0].min() for view in views) > 240

    videos = sorted((tmp_path / "submission.zip.videos").rglob("*.mp4"))
    before = [path.stat().st_mtime_ns for path in videos]
    videos[3].unlink()
    assert main(command) == 0
    after = [path.stat().st_mtime_ns for path in videos]
    assert [k for k, (one, other) in enumerate(zip(before, after, strict=True)) if one != other] == [3]
    assert main([*command, "--background", "black"]) == 0
    assert all(path.stat().st_mtime_ns > time for path, time in zip(videos, after, strict=True))


def test_what_is_refused(benchmark, avatars, tmp_path, capsys):
    spoiled = tmp_path / "mono_flame_avatar"
    shutil.copytree(benchmark.root, spoiled)
    sequence = spoiled / "393" / "sequences" / TESTED[0] / "tracking"
    arrays = dict(np.load(sequence / "flame2023_tracking_v2.npz"))
    other = tmp_path / "other.npz"
    np.savez(other, **peers.flame_form(seed=1))

    def refused(part: str, root: Path = spoiled, **changes: str) -> None:
        flags = {
            "avatars": str(avatars),
            "head_model": str(benchmark.flame_file),
            "persons": "393",
            "out": str(tmp_path / "out.zip"),
        } | changes
        words = [word for name, value in flags.items() for word in (f"--{name}", value)]
        capsys.readouterr()
        assert main(["export", "nersemble", str(root), *words]) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert part in message, message

    refused("out.mp4: must end in .zip", out=str(tmp_path / "out.mp4"))
    (tmp_path / "file").touch()
    refused("cannot be written", out=str(tmp_path / "file" / "out.zip"))
    refused("--persons 394: no person of the benchmark", persons="394")
    refused("404: missing; give the folder mono_flame_avatar", persons="393,404")
    refused("393: missing; train an avatar of each person", avatars=str(tmp_path))
    refused("or another FLAME file, than the avatar was trained on", head_model=str(other))
    (sequence / "flame2023_tracking_v2.npz").rename(sequence / "flame2023_tracking.npz")
    refused("flame2023_tracking_v2.npz: missing")
    np.savez(sequence / "flame2023_tracking_v2.npz", **(arrays | {"shape": arrays["shape"] + 1}))
    refused("its 'shape' is another person's")
    np.savez(sequence / "flame2023_tracking_v2.npz", **(arrays | {"jaw": arrays["jaw"] * np.nan}))
    refused("'jaw' holds values that are not finite")
    np.savez(sequence / "flame2023_tracking_v2.npz", **arrays)
    calibration = spoiled / "393" / "calibration" / "camera_params.json"
    record = json.loads(calibration.read_text())
    del record["intrinsics"][SERIALS[2]]
    calibration.write_text(json.dumps(record))
    refused(f"has no camera {SERIALS[2]}")
    assert not (tmp_path / "out.zip").exists()
