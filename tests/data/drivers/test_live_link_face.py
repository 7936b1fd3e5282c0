"""Live Link Face recordings in every variant that apps write; the header is the app's own, in its order."""

import math
import re

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from partnerface.data.drivers.live_link_face import read_live_link_face
from partnerface.data.drivers.performance import make_performance
from partnerface.errors import UserError
from tests.contracts.subjects import shared_head_model

HEAD = shared_head_model()
SIDES = [f"{name}{side}" for side in ("Left", "Right") for name in (
    *("EyeBlink", "EyeLookDown", "EyeLookIn", "EyeLookOut", "EyeLookUp", "EyeSquint", "EyeWide"),
)]  # fmt: skip
MIDDLE = [
    "JawForward",
    "JawRight",
    "JawLeft",
    "JawOpen",
    "MouthClose",
    "MouthFunnel",
    "MouthPucker",
    "MouthRight",
    "MouthLeft",
]
PAIRS = [
    f"Mouth{name}{side}" for name in ("Smile", "Frown", "Dimple", "Stretch") for side in ("Left", "Right")
]
MORE = ["MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper"]
LIPS = [f"Mouth{name}{side}" for name in ("Press", "LowerDown", "UpperUp") for side in ("Left", "Right")]
REST = [
    "BrowDownLeft",
    "BrowDownRight",
    "BrowInnerUp",
    "BrowOuterUpLeft",
    "BrowOuterUpRight",
    "CheekPuff",
    "CheekSquintLeft",
    "CheekSquintRight",
    "NoseSneerLeft",
    "NoseSneerRight",
    "TongueOut",
]
SHAPES = [*SIDES, *MIDDLE, *PAIRS, *MORE, *LIPS, *REST]
ANGLES = [f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")]
COLUMNS = ["Timecode", "BlendShapeCount", *SHAPES, *ANGLES]


def values(frames: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random expressions, and angles in radians of a size that heads have."""
    draws = np.random.default_rng(seed)
    table = {name: draws.uniform(0, 1, frames).round(6) for name in SHAPES}
    return table | {name: draws.uniform(-0.6, 0.6, frames).round(6) for name in ANGLES}


def timecodes(frames: int, rate: int = 60, start: float = 36000.0) -> list[str]:
    """HH:MM:SS:FF.sss, the frame number with a fraction."""
    lines = []
    for frame in range(frames):
        seconds, count = divmod(round(start * rate) + frame, rate)
        lines.append(f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{count:02}.000")
    return lines


def write(path, table, codes=None, columns=None, count=61, separator=",", end="\n"):
    codes = codes if codes is not None else timecodes(len(table["JawOpen"]))
    columns = columns or COLUMNS
    own = {"Timecode": codes, "BlendShapeCount": [count] * len(codes), **table}
    lines = [separator.join(columns)]
    lines += [separator.join(str(own[name][row]) for name in columns) for row in range(len(codes))]
    path.write_text(end.join(lines) + end)
    return path


def expected_expression(table) -> np.ndarray:
    names = [name[0].upper() + name[1:] for name in HEAD.asset.expression_names]
    return np.stack([table[name] for name in names], 1)


def test_the_header_is_the_apps():
    assert len(SHAPES) == 52
    assert len(COLUMNS) == 63
    assert sorted(name.lower() for name in HEAD.asset.expression_names) == sorted(map(str.lower, SHAPES))


def test_a_recording_as_the_app_writes_it(tmp_path):
    table = values(90)
    found = read_live_link_face(write(tmp_path / "take.csv", table), HEAD)
    assert found.fps == 60
    np.testing.assert_allclose(found.expression.numpy(), expected_expression(table), atol=1e-6)
    turns = np.stack([table["HeadYaw"], table["HeadPitch"], table["HeadRoll"]], 1)
    # Intrinsic turns about y, x and z, as scipy has them.
    expected = Rotation.from_euler("YXZ", turns).as_matrix()
    np.testing.assert_allclose(found.rotation.numpy(), expected, atol=1e-5)
    eye = Rotation.from_euler(
        "YXZ", np.stack([table["LeftEyeYaw"], table["LeftEyePitch"], 0 * turns[:, 0]], 1)
    )
    joint = found.joint_rotations[:, HEAD.joint("eye_left")].numpy()
    np.testing.assert_allclose(joint, eye.as_matrix(), atol=1e-5)
    assert any("radians" in note for note in found.notes)
    assert found.tracked.all()


def same(found, wanted):
    torch.testing.assert_close(found.expression, wanted.expression)
    torch.testing.assert_close(found.rotation, wanted.rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.joint_rotations, wanted.joint_rotations, atol=1e-5, rtol=0)
    assert found.fps == wanted.fps


def renamed(columns, change):
    return [change(name) if name in SHAPES else name for name in columns]


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name[0].lower() + name[1:],
        str.lower,
        str.upper,
        lambda name: re.sub("(?<!Jaw)(?<!Mouth)(Left|Right)$", lambda m: f"_{m[0][0]}", name),
        lambda name: re.sub("(?<!Jaw)(?<!Mouth)(Left|Right)$", lambda m: f"_{m[0][0].lower()}", name),
        lambda name: re.sub("(?<!Jaw)(?<!Mouth)(Left|Right)$", lambda m: m[0][0], name),
        lambda name: re.sub("([a-z])([A-Z])", r"\1_\2", name),
    ],
    ids=["camelCase", "lower", "upper", "_L", "_l", "L", "snake"],
)
def test_names_in_every_spelling(tmp_path, change):
    table = values(70)
    wanted = read_live_link_face(write(tmp_path / "a.csv", table), HEAD)
    path = write(tmp_path / "b.csv", table)
    header, _, rows = path.read_text().partition("\n")
    path.write_text(",".join(renamed(header.split(","), change)) + "\n" + rows)
    same(read_live_link_face(path, HEAD), wanted)


@pytest.mark.parametrize("seed", range(3))
def test_columns_in_any_order(tmp_path, seed):
    """The right side first, jawLeft before jawRight: the place says nothing."""
    table = values(70)
    wanted = read_live_link_face(write(tmp_path / "a.csv", table), HEAD)
    shuffled = [COLUMNS[i] for i in np.random.default_rng(seed).permutation(len(COLUMNS))]
    same(read_live_link_face(write(tmp_path / "b.csv", table, columns=shuffled), HEAD), wanted)


def test_degrees_are_found_out_and_an_argument_decides_otherwise(tmp_path):
    table = values(70)
    wanted = read_live_link_face(write(tmp_path / "a.csv", table), HEAD)
    degrees = table | {name: np.rad2deg(table[name]) for name in ANGLES}
    path = write(tmp_path / "b.csv", degrees)
    found = read_live_link_face(path, HEAD)
    same(found, wanted)
    assert any("read as degrees" in note for note in found.notes)
    small = write(tmp_path / "c.csv", table | {name: table[name] / 2 for name in ANGLES})
    assert any("read as radians" in note for note in read_live_link_face(small, HEAD).notes)
    forced = read_live_link_face(small, HEAD, angles="degrees").rotation
    turns = np.stack([table["HeadYaw"], table["HeadPitch"], table["HeadRoll"]], 1) / 2
    expected = Rotation.from_euler("YXZ", turns, degrees=True).as_matrix()
    np.testing.assert_allclose(forced.numpy(), expected, atol=1e-5)


def test_an_axis_that_turns_the_other_way(tmp_path):
    table = values(70)
    flipped = table | {"HeadYaw": -table["HeadYaw"], "HeadRoll": -table["HeadRoll"]}
    wanted = read_live_link_face(write(tmp_path / "a.csv", table), HEAD)
    same(read_live_link_face(write(tmp_path / "b.csv", flipped), HEAD, flip="yaw, roll"), wanted)
    with pytest.raises(UserError, match="--flip up"):
        read_live_link_face(tmp_path / "a.csv", HEAD, flip="up")


def test_what_may_be_missing_is_zero_and_said(tmp_path):
    """TongueOut and the eyes' roll, as some apps; 51 shapes counted."""
    table = values(70)
    gone = {"TongueOut", "LeftEyeRoll", "RightEyeRoll"}
    columns = [name for name in COLUMNS if name not in gone]
    found = read_live_link_face(write(tmp_path / "a.csv", table, columns=columns, count=51), HEAD)
    expected = expected_expression(table)
    expected[:, HEAD.expression_index("tongueOut")] = 0
    np.testing.assert_allclose(found.expression.numpy(), expected, atol=1e-6)
    assert any("tongueOut: taken as zero" in note for note in found.notes)


def test_without_angles_the_eyes_follow_the_looks(tmp_path):
    table = {name: np.zeros(70) for name in SHAPES}
    table["EyeLookOutLeft"] = table["EyeLookInRight"] = np.ones(70)
    path = write(tmp_path / "a.csv", table, columns=["Timecode", *SHAPES])
    found = read_live_link_face(path, HEAD)
    assert torch.equal(found.rotation, torch.eye(3).expand(70, 3, 3))
    for side in ("left", "right"):
        gaze = found.joint_rotations[0, HEAD.joint(f"eye_{side}")] @ torch.tensor([0.0, 0.0, 1.0])
        # x is the subject's left: both eyes look there.
        torch.testing.assert_close(gaze, torch.tensor([0.5, 0.0, math.cos(math.pi / 6)]), atol=1e-5, rtol=0)
    # Columns of zeros are as good as none.
    zeros = table | {name: np.zeros(70) for name in ANGLES}
    same(read_live_link_face(write(tmp_path / "b.csv", zeros), HEAD), found)


def clock(seconds: float) -> str:
    return f"{int(seconds // 3600):02}:{int(seconds // 60 % 60):02}:{int(seconds % 60):02}"


CODES = {
    "60": (timecodes(150, 60), 60),
    "30": (timecodes(150, 30), 30),
    "past midnight": (timecodes(150, 24, start=86399.0), 24),
    "fraction of a frame": ([f"{c[:-4]}.417" for c in timecodes(150, 60)], 60),
    "drop frame": ([code.replace(":", ";") for code in timecodes(150, 30)], 30),
    "within a second": (timecodes(40, 60), 60),
    "milliseconds": ([f"{clock(t / 60)}:{t % 60 * 1000 // 60:03}" for t in range(150)], 60),
    "seconds with a fraction": ([f"{clock(t / 30)}.{t % 30 * 1000 // 30:03}" for t in range(150)], 30),
}
NO_CODES = {
    "row numbers": [str(t) for t in range(150)],
    "all alike": ["00:00:00:00.000"] * 150,
    "words": ["nonsense"] * 150,
    "no such time": ["99:99:99:99.000"] * 150,
    "backwards": timecodes(150)[::-1],
}


@pytest.mark.parametrize("kind", CODES)
def test_rate_and_timecode(tmp_path, kind):
    codes, rate = CODES[kind]
    table = values(len(codes))
    found = read_live_link_face(write(tmp_path / "a.csv", table, codes), HEAD)
    assert found.fps == rate
    assert len(found.expression) == len(codes)
    np.testing.assert_allclose(found.expression.numpy(), expected_expression(table), atol=1e-6)
    assert not any("rows per second" in note for note in found.notes)


@pytest.mark.parametrize("kind", NO_CODES)
def test_where_the_timecode_is_none_rows_are_counted_and_it_is_said(tmp_path, kind):
    found = read_live_link_face(write(tmp_path / "a.csv", values(150), NO_CODES[kind]), HEAD)
    assert (found.fps, len(found.expression)) == (60, 150)
    assert any("60 rows per second assumed" in note for note in found.notes)


def test_a_rate_that_is_given_wins(tmp_path):
    path = write(tmp_path / "a.csv", values(80), timecodes(80, 60))
    assert read_live_link_face(path, HEAD, fps=30).fps == 30
    for wrong in (0.0, -5.0, math.nan, 1e6):
        with pytest.raises(UserError, match="--fps"):
            read_live_link_face(path, HEAD, fps=wrong)


def test_frames_that_the_timecode_leaves_out_are_interpolated_so_that_sound_stays_in_step(tmp_path):
    codes, table = timecodes(150, 60), values(150)
    kept = [row for row in range(150) if not 40 <= row < 45 and row != 100]
    dropped = {name: column[kept] for name, column in table.items()}
    found = read_live_link_face(write(tmp_path / "a.csv", dropped, [codes[r] for r in kept]), HEAD)
    assert (found.fps, len(found.expression)) == (60, 150)
    expected = expected_expression(table)
    np.testing.assert_allclose(found.expression[kept].numpy(), expected[kept], atol=1e-4)
    np.testing.assert_allclose(found.expression[100].numpy(), (expected[99] + expected[101]) / 2, atol=1e-4)
    assert any("144 frames unevenly spaced in time became 150" in note for note in found.notes)


def test_rows_without_numbers_are_frames_without_a_face(tmp_path):
    table = {name: column.astype(object) for name, column in values(60).items()}
    table["JawOpen"][10:13] = "nan"
    table["MouthClose"][20] = ""
    table["HeadYaw"][30] = "inf"
    found = read_live_link_face(write(tmp_path / "a.csv", table), HEAD)
    assert torch.where(~found.tracked)[0].tolist() == [10, 11, 12, 20, 30]
    performance = make_performance(found, HEAD)
    assert performance.expression.isfinite().all()
    assert any("5 frames without a face in 3 gaps" in note for note in performance.notes)


def test_a_column_of_angles_without_a_number_is_none(tmp_path):
    """With a timecode that drops frames, so that what is there is interpolated."""
    table = {name: column.astype(object) for name, column in values(60).items()}
    still = {**table, "HeadYaw": np.zeros(60)}
    wanted = read_live_link_face(write(tmp_path / "a.csv", still), HEAD)
    table["HeadYaw"][:] = ""
    same(read_live_link_face(write(tmp_path / "b.csv", table), HEAD), wanted)
    table["HeadYaw"][3], table["JawOpen"][3] = "1", ""
    with pytest.raises(UserError, match="no row has numbers in all columns"):
        read_live_link_face(write(tmp_path / "c.csv", table), HEAD)


def test_semicolons_decimal_commas_and_windows_line_ends(tmp_path):
    table = values(70)
    wanted = read_live_link_face(write(tmp_path / "a.csv", table), HEAD)
    comma = {name: [str(v).replace(".", ",") for v in column] for name, column in table.items()}
    path = write(tmp_path / "b.csv", comma, separator=";", end="\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    same(read_live_link_face(path, HEAD), wanted)


def test_a_row_that_repeats_a_timecode_is_left_out(tmp_path):
    """The rate was lost with it, and 30 rows a second were played as 60."""
    codes, table = timecodes(90, 30), values(90)
    order = [*range(40), 39, *range(40, 90)]
    repeated = {name: column[order] for name, column in table.items()}
    repeated["JawOpen"][40] = 0.123
    found = read_live_link_face(write(tmp_path / "a.csv", repeated, [codes[row] for row in order]), HEAD)
    assert (found.fps, len(found.expression)) == (30, 90)
    np.testing.assert_allclose(found.expression.numpy(), expected_expression(table), atol=1e-6)
    assert any("1 rows with the timecode of the row before" in note for note in found.notes)


@pytest.mark.parametrize(
    ("codes", "rate"),
    [
        ([code for code in timecodes(45, 30) for _ in range(2)], 60),
        ([clock(t // 50) for t in range(200)], 50),
        ([*timecodes(60, 24), *timecodes(60, 24, start=36000.5)], 24),
    ],
    ids=["two rows each", "whole seconds", "goes back once"],
)
def test_rows_that_a_timecode_does_not_tell_apart_are_counted_at_the_rate_of_its_steps(tmp_path, codes, rate):
    found = read_live_link_face(write(tmp_path / "a.csv", values(len(codes)), codes), HEAD)
    assert (found.fps, len(found.expression)) == (rate, len(codes))
    assert any(f"{rate} rows per second by its steps" in note for note in found.notes)


@pytest.mark.parametrize("roll", [math.pi / 2, -math.pi / 2, math.pi])
def test_the_angles_of_a_phone_on_its_side_or_upside_down_are_radians(tmp_path, roll):
    table = {name: column / 8 if name in ANGLES else column for name, column in values(70).items()}
    turned = roll + table["HeadRoll"]
    table["HeadRoll"] = (turned + math.pi) % (2 * math.pi) - math.pi
    found = read_live_link_face(write(tmp_path / "a.csv", table), HEAD)
    assert any("read as radians" in note for note in found.notes)
    degrees = {name: np.rad2deg(column) if name in ANGLES else column for name, column in table.items()}
    notes = read_live_link_face(write(tmp_path / "b.csv", degrees), HEAD).notes
    assert any("read as degrees" in note for note in notes)


def test_small_degrees_are_no_radians_for_they_turn_too_far(tmp_path):
    table = {name: 3 * np.sin(np.arange(70)) if name in ANGLES else col for name, col in values(70).items()}
    found = read_live_link_face(write(tmp_path / "a.csv", table), HEAD)
    assert any("read as degrees" in note for note in found.notes)


def test_a_last_row_that_is_cut_off_is_left_out(tmp_path):
    table = values(70)
    path = write(tmp_path / "a.csv", table)
    path.write_text(path.read_text().rsplit(",", 20)[0])
    found = read_live_link_face(path, HEAD)
    np.testing.assert_allclose(found.expression.numpy(), expected_expression(table)[:69], atol=1e-6)
    assert any("its last row is cut off" in note for note in found.notes)
