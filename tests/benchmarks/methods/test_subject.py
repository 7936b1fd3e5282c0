from pathlib import Path

import pytest

from partnerface.benchmarks.methods.subject import BenchmarkSubject, Resolution, parse_subjects, relative
from partnerface.errors import UserError

OUT = Path("out")


def _parse(text: str) -> list[BenchmarkSubject]:
    return parse_subjects(text, OUT, Resolution(128, 240, 256))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracked dataset and two videos in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets" / "me").mkdir(parents=True)
    (tmp_path / "sets" / "me" / "transforms.json").write_text("{}")
    for name in ("you.mp4", "sets/my clip.mov"):
        (tmp_path / name).write_bytes(b"")


def test_every_kind(tmp_path: Path) -> None:
    embedded, tracked, video = _parse(f"synthetic_b, {tmp_path}/sets/me,sets/my clip.mov")
    assert embedded.is_synthetic
    assert embedded.fit_flags() == [
        "--data.reader.init_args.root=out/datasets/synthetic_b",
        "--data.reader.init_args.subject=b",
        "--data.reader.init_args.frames=240",
        "--data.reader.init_args.size=128",
        "--data.image_size=128",
    ]
    assert not tracked.is_synthetic
    assert tracked.fit_flags() == ["--data.reader.init_args.root=sets/me", "--data.image_size=256"]
    assert tracked.track_words() == []
    assert video.name == "my_clip"
    assert video.track_words() == [
        *("partnerface", "track", "sets/my clip.mov", "--out", "out/datasets/my_clip")
    ]


def test_only_a_video_needs_a_command() -> None:
    ran: list[list[str]] = []
    for subject in _parse("sets/me,you.mp4"):
        subject.prepare(ran.append)
    assert ran == [["partnerface", "track", "you.mp4", "--out", "out/datasets/you"]]


def test_a_path_outside_keeps_its_name(tmp_path: Path) -> None:
    assert relative(Path("/etc/hosts")) == Path("/etc/hosts")
    assert relative(tmp_path / "sets") == Path("sets")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("synthetic_c", "'synthetic_c' is neither"),
        ("sets", "'sets' is neither"),
        ("", "'' is neither"),
        ("sets/me,sets/me", "both called me"),
    ],
)
def test_what_it_refuses(text: str, part: str) -> None:
    with pytest.raises(UserError, match="--subjects") as refused:
        _parse(text)
    assert part in str(refused.value)
