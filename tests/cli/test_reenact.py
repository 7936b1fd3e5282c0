"""The commands reenact and render: bad input is one line and exit code 2, before anything is made."""

import json
import os

import av
import numpy as np
import pytest
from PIL import Image

import partnerface
from partnerface.animation.open_avatar import OpenedAvatar
from partnerface.cli.main import main
from partnerface.errors import UserError
from tests.files.test_film_encodings import decoded_with_alpha

NOT_RENDERED = "partnerface.avatar.method.AvatarMethod.render"


@pytest.fixture(autouse=True)
def _nothing_is_rendered(request, monkeypatch) -> None:
    if "bad" in request.node.name:
        monkeypatch.setattr(
            NOT_RENDERED, lambda *a, **k: pytest.fail("rendered before the input was checked")
        )


def one_line(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("partnerface: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "63"], "--size 63x63: .mp4 needs an even width and height"),
        (["--size", "64x33"], "--size 64x33: .mp4 needs an even"),
        (["--size", "4096"], "must be from 16 to 2048"),
        (["--size", "8"], "must be from 16 to 2048"),
        (["--size", "large"], "give a side such as 512"),
        (["--size", "-64"], "give a side such as 512"),
        (["--background", "whit"], "did you mean white?"),
        (["--background", "transparent"], ".mp4 has no transparency"),
        (["--background", "missing.png"], "missing.png: no such image"),
        (["--out", "v.gif"], "v.gif: no video is written as .gif; choose .mp4"),
        (["--out", "taken.mp4"], "is a folder"),
        (["--out", "full"], "is not empty"),
        (["--out", "file/v.mp4"], "cannot be written"),
        (["--avatar", "missing"], "missing"),
        (["--avatar", "full"], "full"),
        (["--trust", "missing_package_", "--avatar", "text.ckpt"], "text.ckpt"),
    ],
)
@pytest.mark.parametrize("command", ["reenact", "render"])
def test_bad_output_or_avatar(command, words, message, trained_run, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.mp4").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    before = sorted(os.listdir(tmp_path))
    driver = ["--driver", "talk"] if command == "reenact" else []
    given = {"--avatar": str(trained_run), "--out": "v.mp4"} | dict(zip(words[::2], words[1::2], strict=True))
    assert main([command, *driver, *(word for pair in given.items() for word in pair)]) == 2
    assert message in one_line(capsys)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("reenact", ["--driver", "tlak"], "tlak"),
        ("reenact", ["--driver", "missing.mp4"], "missing.mp4: no such"),
        ("reenact", ["--driver", "talk", "--frames", "9"], "--frames 9: give a range"),
        ("reenact", ["--driver", "talk", "--frames", "9:9"], "must lie within 0:250"),
        ("reenact", ["--driver", "talk", "--frames", "0:251"], "must lie within 0:250"),
        ("reenact", ["--driver", "talk", "--side_by_side"], "driver talk has no pictures"),
        ("reenact", ["--driver", "talk", "--pose", "moving"], "pose"),
        ("reenact", ["--driver", "talk", "--range", "-1"], "--range"),
        ("reenact", ["--driver", "talk", "--seed", "-1"], "--seed -1: give 0 or more"),
        ("render", ["--channels", "rgb,dept"], "did you mean depth?"),
        ("render", ["--channels", "rgb,rgb"], "named twice"),
        ("render", ["--expression", "jawOpne=1"], "did you mean jawOpen?"),
        ("render", ["--expression", "jawOpen=nan"], "finite"),
        ("render", ["--sweep", "smlie"], "did you mean smile?"),
        ("render", ["--path", "obrit"], "did you mean orbit?"),
        ("render", ["--path", "missing.json"], "missing.json: cannot be read"),
        ("render", ["--seconds", "0"], "--seconds 0: give a number above 0"),
        ("render", ["--fps", "1000"], "--fps 1000: give a number"),
        ("render", ["--view", "3"], "--driver and --view: give both"),
        ("render", ["--driver", "talk", "--view", "999"], "talk has views 0 to 249"),
        ("render", ["--out", "v.png"], "one picture cannot hold 100"),
    ],
)
def test_bad_values(command, words, message, trained_run, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    out = [] if "--out" in words else ["--out", "v.mp4"]
    assert main([command, str(trained_run), *out, *words]) == 2
    assert message in one_line(capsys)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("words", [["--range", "inf"], ["--range=+Infinity"], ["--range", ".INF"]])
def test_no_limit_is_written_as_the_help_has_it(words, trained_run, tmp_path, monkeypatch, capsys) -> None:
    def drive(self, driver, options):
        raise UserError(f"a range of {options.range}")

    monkeypatch.setattr(OpenedAvatar, "drive", drive)
    monkeypatch.chdir(tmp_path)
    assert main(["reenact", str(trained_run), "--driver", "talk", "--out", "inf", *words]) == 2
    assert "a range of inf" in one_line(capsys)


def test_side_by_side_shows_the_frames_of_the_driver(
    trained_run, tmp_path, synthetic_dataset, capsys
) -> None:
    out = tmp_path / "v"
    words = [
        "reenact",
        str(trained_run),
        "--driver",
        "own",
        "--out",
        str(out),
        "--frames",
        "3:5",
        "--side_by_side",
    ]
    assert main([*words, "--background", "transparent"]) == 0
    frames = sorted(out.iterdir())
    assert [path.name for path in frames] == ["00003.png", "00004.png"]
    table = json.loads((synthetic_dataset / "transforms.json").read_text())
    for path, entry in zip(frames, table["frames"][3:5], strict=True):
        filmed = np.array(Image.open(synthetic_dataset / entry["file_path"]).convert("RGB"))
        shown = np.array(Image.open(path))
        assert shown.shape == (32, 64, 4)
        assert (shown[:, :32, :3] == filmed).all()
        assert (shown[:, :32, 3] == 255).all()


def test_a_picture_a_webm_and_every_channel(trained_run, tmp_path, capsys) -> None:
    avatar = partnerface.load_avatar(trained_run / "checkpoints" / "last.ckpt")
    png, webm = tmp_path / "face.png", tmp_path / "face.webm"
    assert main(["render", str(trained_run), "--path", "front", "--out", str(png), "--size", "33"]) == 0
    assert Image.open(png).size == (33, 33)
    words = ["--channels", "rgb,depth,normals,parts", "--seconds", "0.2", "--background", "transparent"]
    assert main(["render", str(trained_run), "--out", str(webm), *words]) == 0
    names = ["face.webm", "face_depth.webm", "face_normals.webm", "face_parts.webm"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["face.png", *names]
    for name in names:
        with av.open(str(tmp_path / name)) as container:
            assert len(list(container.decode(video=0))) == 5
    # The first frame of the orbit, as the avatar shows it, but for the codec.
    first, view = next(decoded_with_alpha(webm)), OpenedAvatar(avatar, None).still_view()
    picture = avatar.render(view)
    assert np.abs(first[..., 3] - 255 * picture.alpha.numpy()).mean() < 4
    shown = first[..., :3] * first[..., 3:] / 255 + 255 - first[..., 3:]
    assert np.abs(shown - picture.to_bytes()).mean() < 6
