"""Camera paths, expressions and sweeps of the command line."""

import json
from pathlib import Path

import pytest
import torch

import partnerface
from partnerface.animation.open_avatar import OpenedAvatar
from partnerface.animation.shots import head_centre, parse_expression, read_cameras, shots, sweep_names
from partnerface.cameras.pinhole import Camera
from partnerface.errors import UserError

CAMERA = Camera.static(1, 80.0, 32, 32)
POSE = CAMERA.camera_to_world[0].tolist()


@pytest.fixture(scope="module")
def opened(trained_run: Path) -> OpenedAvatar:
    return OpenedAvatar(partnerface.load_avatar(trained_run / "checkpoints" / "last.ckpt"), trained_run)


def test_an_orbit_keeps_the_head_in_the_middle_and_its_distance(opened: OpenedAvatar) -> None:
    view = opened.still_view()
    film, centre = (
        shots(opened.avatar, view, "orbit", seconds=0.8, degrees=20),
        head_centre(opened.avatar, view),
    )
    assert len(film) == 20
    start = (view.camera.camera_to_world[0, :, 3] - centre).norm()
    first = view.camera.project(centre[None, None])[0]
    yaws = []
    for number in range(len(film)):
        camera = film[number].camera
        assert torch.allclose(camera.project(centre[None, None])[0], first, atol=1e-2)
        offset = camera.camera_to_world[0, :, 3] - centre
        assert torch.isclose(offset.norm(), start, rtol=1e-5)
        yaws.append(torch.atan2(offset[0], offset[2]).rad2deg())
    spread = torch.stack(yaws) - yaws[0]
    assert 19 < spread.max() < 20.5
    assert -20.5 < spread.min() < -19


def test_a_sweep_goes_to_full_and_back_and_leaves_the_rest(opened: OpenedAvatar) -> None:
    view = opened.still_view().with_expression(browInnerUp=0.25)
    film = shots(opened.avatar, view, "front", "smile", seconds=1.0, fps=25)
    names = list(opened.avatar.head_model.asset.expression_names)
    values = torch.cat([film[k].head.expression for k in range(len(film))])
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        column = values[:, names.index(name)]
        assert torch.isclose(column.max(), torch.tensor(1.0))
        assert max(column[0], column[-1]) == 0
    assert (values[:, names.index("browInnerUp")] == 0.25).all()
    assert len(shots(opened.avatar, view, "front")) == 1


def test_names_of_sweeps(anny) -> None:
    names = anny.asset.expression_names
    assert sweep_names("smile", names) == ["mouthSmileLeft", "mouthSmileRight"]
    assert sweep_names("eyeBlink", names) == ["eyeBlinkLeft", "eyeBlinkRight"]
    assert sweep_names("BLINK", names) == ["eyeBlinkLeft", "eyeBlinkRight"]
    assert sweep_names("jawLeft", names) == ["jawLeft"]
    assert sweep_names("jawOpen", names) == ["jawOpen"]
    assert sweep_names("mouthLeft", names) == ["mouthLeft"]
    for wrong, meant in (("smlie", "smile"), ("jawopne", "jawOpen"), ("eyeblnik", "eyeBlink")):
        with pytest.raises(
            UserError,
            match=f"--sweep {wrong}.*did you mean .*{meant}",
        ):
            sweep_names(wrong, names)
    every = {name for action in names for name in sweep_names(action, names)}
    assert every == set(names)


def test_expressions_by_name() -> None:
    assert parse_expression("jawOpen=0.5, eyeBlinkLeft=1") == {"jawOpen": 0.5, "eyeBlinkLeft": 1.0}
    assert parse_expression(None) == {}
    for wrong in ("jawOpen", "jawOpen=wide", "jawOpen=0.5,", "=", ","):
        with pytest.raises(UserError, match="--expression"):
            parse_expression(wrong)


def test_listed_cameras_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    moved = [[*row[:3], 0.1] for row in POSE]
    table = {
        "fps": 12.5,
        "cameras": [
            {"camera_to_world": [*POSE, [0, 0, 0, 1]]},
            {"camera_to_world": moved, "intrinsics": [9, 9, 16, 16]},
        ],
    }
    path.write_text(json.dumps(table))
    cameras, fps = read_cameras(path, CAMERA)
    assert fps == 12.5
    assert read_cameras(path, CAMERA, 30)[1] == 30
    assert torch.equal(cameras.camera_to_world, torch.tensor([POSE, moved]))
    assert cameras.intrinsics[0].tolist() == CAMERA.intrinsics[0].tolist()
    assert cameras.intrinsics[1].tolist() == [9, 9, 16, 16]


@pytest.mark.parametrize(
    "table",
    [
        *([], {}, {"cameras": []}, {"cameras": 3}, {"cameras": [3]}, {"cameras": [{}]}),
        *(
            {"cameras": [{"camera_to_world": p}]}
            for p in (None, 1, [], POSE[:2], [[1, 2], [3]], [["a"] * 4] * 3)
        ),
        {"cameras": [{"camera_to_world": [[2.0, 0, 0, 0], *POSE[1:]]}]},
        {"cameras": [{"camera_to_world": [[-v for v in POSE[0]], *POSE[1:]]}]},
        {"cameras": [{"camera_to_world": [[float("nan")] * 4, *POSE[1:]]}]},
        {"cameras": [{"camera_to_world": [[1e400] * 4, *POSE[1:]]}]},
        {"cameras": [{"camera_to_world": POSE, "intrinsics": [0, 1, 2, 3]}]},
        {"cameras": [{"camera_to_world": POSE, "intrinsics": [1, 1, 2]}]},
        *({"cameras": [{"camera_to_world": POSE}], "fps": fps} for fps in (0, -1, 1e9, "a", True, None)),
    ],
)
def test_cameras_that_are_none_give_one_line(tmp_path: Path, table) -> None:
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps(table))
    with pytest.raises(UserError, match=r"cameras\.json") as raised:
        read_cameras(path, CAMERA)
    assert "\n" not in str(raised.value)
