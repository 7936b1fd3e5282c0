"""``partnerface export``: files of a trained avatar, and bad input, one line each."""

import numpy as np
import pytest
import trimesh

from partnerface.cli.main import main
from partnerface.export import posed_meshes
from tests.export.glb_reader import Glb


def test_the_mesh_of_a_run_moves_as_its_driver(trained_run, tmp_path) -> None:
    out = tmp_path / "me.glb"
    flags = ["--out", str(out), "--texture=64", "--driver=range_of_motion", "--seconds=2", "--frames=0:8"]
    assert main(["export", "mesh", str(trained_run), *flags]) == 0
    glb = Glb(out)
    weights = [glb.animated(frame)[0] for frame in range(8)]
    assert np.ptp(weights, axis=0).max() > 0.1
    assert list(tmp_path.iterdir()) == [out]


def test_every_frame_becomes_a_file(trained_run, tmp_path) -> None:
    driver = ["--driver=talk", "--seconds=1", "--frames=3:5"]
    assert (
        main(["export", "obj", str(trained_run), *driver, "--out", str(tmp_path / "obj"), "--texture=64"])
        == 0
    )
    names = {path.name for path in (tmp_path / "obj").iterdir()}
    assert names == {"00003.obj", "00004.obj", "head.mtl", "texture.png"}
    assert main(["export", "ply", str(trained_run), *driver, "--out", str(tmp_path / "ply")]) == 0
    frames = [trimesh.load(path) for path in sorted((tmp_path / "ply").iterdir())]
    assert len(frames) == 2
    assert np.abs(frames[0].vertices - frames[1].vertices).max() > 1e-5
    splats = ["export", "splats", str(trained_run), "--count=1000"]
    assert main([*splats, *driver, "--out", str(tmp_path / "splats")]) == 0
    assert len(list((tmp_path / "splats").iterdir())) == 2
    assert main([*splats, "--out", str(tmp_path / "me.ply")]) == 0
    assert 0 < len(trimesh.load(tmp_path / "me.ply").vertices) <= 1000


def test_an_export_that_was_stopped_is_continued(trained_run, tmp_path, capsys, monkeypatch) -> None:
    """It said that what was done is kept, and the same command refused the folder."""
    whole, out = tmp_path / "whole", tmp_path / "ply"
    command = ["export", "ply", str(trained_run), "--driver=talk", "--seconds=1"]
    assert main([*command, "--frames=3:6", "--out", str(whole)]) == 0
    write, written = posed_meshes.write_coloured_ply, []

    def counted(path, *rest) -> None:
        if len(written) == 2:
            written.append("stopped")
            raise KeyboardInterrupt
        write(path, *rest)
        written.append(path.name)

    monkeypatch.setattr(posed_meshes, "write_coloured_ply", counted)
    assert main([*command, "--frames=3:6", "--out", str(out)]) == 130
    capsys.readouterr()
    for other in (["--frames=3:7"], ["--frames=3:6", "--pose=still"]):
        assert main([*command, *other, "--out", str(out)]) == 2
        assert "holds part of an export with other settings" in capsys.readouterr().err
    assert main([*command, "--frames=3:6", "--out", str(out)]) == 0
    assert written == ["00003.ply", "00004.ply", "stopped", "00005.ply"]
    assert [path.name for path in sorted(out.iterdir())] == [path.name for path in sorted(whole.iterdir())]
    for path in whole.iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mesh", "RUN", "--out=OUT/me.obj"], "me.obj: must end in .glb"),
        (["mesh", "RUN", "--out=OUT"], "must end in .glb"),
        (["mesh", "RUN", "--out=OUT/me.glb", "--frames=0:3"], "--frames 0:3: are those of a --driver"),
        (["splats", "RUN", "--out=OUT/me.ply", "--frames=0:3"], "--frames 0:3: are those of a --driver"),
        (["mesh", "RUN", "--out=OUT/me.glb", "--driver=talk", "--fps=30"], "--fps: is for a Live Link Face"),
        (["mesh", "RUN", "--out=OUT/me.glb", "--driver=RUN", "--seconds=3"], "the driver is a dataset"),
        (["mesh", "RUN", "--out=OUT/me.glb", "--texture=10"], "texture"),
        (["mesh", "RUN", "--out=OUT/me.glb", "--driver=nobody.mp4"], "nobody.mp4"),
        (["mesh", "RUN", "--out=OUT/me.glb", "--driver=talk", "--frames=9:3"], "--frames 9:3"),
        (["mesh", "OUT/missing", "--out=OUT/me.glb"], "missing"),
        (["splats", "RUN", "--out=OUT/me.splat"], "me.splat: must end in .ply"),
        (["splats", "RUN", "--out=OUT/me.ply", "--count=5"], "count"),
        (["splats", "RUN", "--out=OUT/me.ply", "--driver=talk"], "names a folder"),
        (["obj", "RUN", "--out=OUT/me.obj", "--driver=talk"], "names a folder"),
        (["ply", "RUN", "--out=OUT/ply", "--driver=talk", "--frames=0:99999"], "--frames 0:99999"),
        (["balloon", "RUN"], "balloon"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, message, trained_run, tmp_path, capsys) -> None:
    places = {"RUN": str(trained_run), "OUT": str(tmp_path)}
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    (line,) = [text for text in error.splitlines() if text.startswith("partnerface: ")]
    assert message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("meshes", "did you mean mesh? choose"),
        ("runs/me", "exported; choose avatar, mesh, obj, ply, splats"),
    ],
)
def test_what_cannot_be_exported(word: str, advice: str, capsys) -> None:
    assert main(["export", word, "--out", "me.glb"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"export {word}: nothing of that name can be exported" in line
    assert advice in line
    assert line.endswith("before the avatar")


def test_frames_of_two_drivers_do_not_mix(trained_run, tmp_path, capsys) -> None:
    (tmp_path / "ply").mkdir()
    (tmp_path / "ply" / "00009.ply").write_text("of another driver")
    assert main(["export", "ply", str(trained_run), "--driver=talk", "--out", str(tmp_path / "ply")]) == 2
    assert "ply: is not empty; choose another name" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "ply").iterdir()] == ["00009.ply"]
