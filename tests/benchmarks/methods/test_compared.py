"""Variants and subjects, as the command line names them."""

import json
from pathlib import Path

import numpy as np
import pytest

from partnerface.benchmarks.methods.compared import (
    BenchmarkSubject,
    MethodVariant,
    Resolution,
    parse_subjects,
    parse_variants,
    relative,
)
from partnerface.data.protocols import PROTOCOLS
from partnerface.errors import UserError
from tests.data.formats import peers

KNOWN = ["part_deformation", "skinning_only", "nerface"]


def test_a_grid_of_variants_without_repetitions() -> None:
    found = parse_variants(
        "skinning_only,part_deformation:parts=1/8:temperature=0.1/0.2,skinning_only", KNOWN
    )
    assert [str(variant) for variant in found] == [
        "skinning_only",
        "part_deformation:parts=1:temperature=0.1",
        "part_deformation:parts=1:temperature=0.2",
        "part_deformation:parts=8:temperature=0.1",
        "part_deformation:parts=8:temperature=0.2",
    ]


def test_a_name_without_a_dot_is_the_deformations() -> None:
    variant = MethodVariant("part_deformation", (("parts", "4"), ("model.gradient_clip", "0.5")))
    assert variant.fit_flags() == [
        "--model.avatar.deformation.init_args.parts=4",
        "--model.gradient_clip=0.5",
    ]
    assert variant.test_flags(5) == ["--data.sample_frames=5"]


def test_the_method_that_renders_slowly_is_tested_on_samples_alone() -> None:
    flags = MethodVariant("nerface").test_flags(3)
    assert flags == [
        "--data.sample_frames=3",
        "--data.test_splits=[temporal_sample,unseen_expression_sample]",
    ]


def test_a_person_with_other_splits_is_sampled_in_those() -> None:
    splits = {subject.name: subject.sampled_splits for subject in _parse("synthetic_a,synthetic_c,sets/me")}
    assert splits == {
        "synthetic_a": ("temporal", "unseen_expression"),
        "synthetic_c": ("temporal", "unseen_combination", "larger"),
        "me": ("temporal", "unseen_expression"),
    }
    flags = MethodVariant("nerface").test_flags(3, splits["synthetic_c"])
    assert flags[1] == "--data.test_splits=[temporal_sample,unseen_combination_sample,larger_sample]"
    assert MethodVariant("skinning_only").test_flags(3, splits["synthetic_c"]) == flags[:1]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("part_deformatoin", "did you mean 'part_deformation'?"),
        ("", "no method ''; choose from"),
        ("skinning_only,", "no method ''"),
        ("skinning_only:parts", "'parts' of skinning_only is not key=value"),
        ("skinning_only:parts=", "not key=value"),
        ("skinning_only:parts=1//2", "not key=value"),
        ("skinning_only:=4", "not key=value"),
    ],
)
def test_methods_that_it_refuses(text: str, part: str) -> None:
    with pytest.raises(UserError, match="--methods") as refused:
        parse_variants(text, KNOWN)
    assert part in str(refused.value)


OUT = Path("out")


def _parse(text: str) -> list[BenchmarkSubject]:
    return parse_subjects(text, OUT, Resolution(128, 240, 256))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracked dataset and two videos in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets" / "me").mkdir(parents=True)
    record = {"format": "partnerface", "head_model": {"name": "anny"}}
    (tmp_path / "sets" / "me" / "transforms.json").write_text(json.dumps(record))
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


def test_a_dataset_of_another_system_finds_its_reader_and_head_model(tmp_path: Path) -> None:
    flame = peers.flame_form()
    np.savez(tmp_path / "flame.npz", **flame)
    peers.write_insta(tmp_path / "obama", flame)
    peers.write_metrical(tmp_path / "duda", flame)
    given = Path("flame.npz")
    insta, tracker = parse_subjects("obama,duda", OUT, Resolution(), head_model=given)
    assert insta.data_config == tracker.data_config == "data/auto"
    assert insta.fit_flags() == ["--data.reader.init_args.root=obama", "--data.image_size=256"]
    assert tracker.fit_flags() == [
        "--data.reader.init_args.root=duda",
        "--data.reader.init_args.head_model=flame.npz",
        "--data.image_size=256",
    ]
    # INSTA has a test of its own; metrical-tracker divides nothing, so that we do.
    assert (insta.sampled_splits, tracker.sampled_splits) == (("test",), ("temporal", "unseen_expression"))
    # One of ours that was tracked with another head model than Anny finds that too.
    other = {"format": "partnerface", "head_model": {"name": "ict_facekit"}}
    (tmp_path / "sets" / "me" / "transforms.json").write_text(json.dumps(other))
    [ours] = parse_subjects("sets/me", OUT, Resolution(), head_model=given)
    assert (ours.data_config, ours.head_model) == ("data/auto", None)


def test_datasets_of_different_versions_of_flame(tmp_path: Path) -> None:
    """NeRFace's expressions are of another tracker, meshes say themselves what the head looks like."""
    flame = peers.flame_form()
    for name in ("flame2020.npz", "flame2023.npz"):
        np.savez(tmp_path / name, **flame)
    peers.write_imavatar(tmp_path / "yufeng", flame)
    peers.write_vhap(tmp_path / "074", flame)
    peers.write_vhap(tmp_path / "meshes", flame, meshes=True)
    peers.write_nerface(tmp_path / "person_1", flame)
    text = "yufeng:head_model=flame2020.npz,074,meshes,person_1"
    subjects = parse_subjects(text, OUT, Resolution(), head_model=Path("flame2023.npz"))
    assert [(s.name, s.spec, s.head_model and s.head_model.stem) for s in subjects] == [
        ("yufeng", "yufeng", "flame2020"),
        ("074", "074", "flame2023"),
        ("meshes", "meshes", None),
        ("person_1", "person_1", None),
    ]
    for name in ("meshes", "person_1", "sets/me"):
        with pytest.raises(UserError, match=f"{name} is read without a FLAME file; leave out"):
            _parse(f"{name}:head_model=flame2020.npz")
    for file in ("", "none.npz"):
        with pytest.raises(UserError, match=r"yufeng: there is no head model file (none\.npz|\.)$"):
            _parse(f"yufeng:head_model={file}")


def test_an_export_that_is_not_divided_is_divided_by_us(tmp_path: Path) -> None:
    """VHAP writes its files of splits in a step of their own; without them there is no split named test."""
    peers.write_vhap(tmp_path / "074", peers.flame_form())
    [divided] = _parse("074")
    for split in ("train", "val", "test"):
        (tmp_path / f"074/transforms_{split}.json").unlink()
    [whole] = _parse("074")
    assert (divided.sampled_splits, whole.sampled_splits) == (("test",), ("temporal", "unseen_expression"))


def test_a_converted_dataset_is_tested_on_its_systems_split(tmp_path: Path) -> None:
    path = tmp_path / "sets/me/transforms.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "splits": {"train": [0], "test": [1]}}))
    [converted] = _parse("sets/me")
    assert converted.sampled_splits == ("test",)


def test_a_protocol_decides_about_size_length_and_test() -> None:
    insta = PROTOCOLS["insta"]
    resolution = Resolution().under(insta)
    embedded, clip = parse_subjects("synthetic_a,sets/me", OUT, resolution, insta)
    flags = embedded.fit_flags()
    assert "--data.reader.init_args.size=512" in flags
    assert "--data.reader.init_args.frames=540" in flags
    assert flags[-1] == "--protocol=insta"
    assert not any("image_size" in flag for flag in [*flags, *clip.fit_flags()])
    assert embedded.sampled_splits == clip.sampled_splits == ("test",)
    variant = MethodVariant("skinning_only")
    assert variant.test_flags(9, ("test",), alone=True) == [
        "--data.sample_frames=9",
        "--data.test_splits=[test_sample]",
    ]
    assert Resolution().under(PROTOCOLS["strict"]) == Resolution()
    assert Resolution().under(PROTOCOLS["nerface"]).frames > 1000


def test_the_benchmark_that_keeps_its_tests_is_sent_elsewhere(tmp_path: Path) -> None:
    peers.write_nersemble(tmp_path / "393", peers.flame_form())
    with pytest.raises(UserError, match=r"393 has no frames to test on.*partnerface export nersemble"):
        _parse("393")


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
        ("synthetic_d", "'synthetic_d' is neither synthetic_a, synthetic_b, synthetic_c, a tracked"),
        ("sets", "'sets' is neither"),
        ("", "'' is neither"),
        ("sets/me,sets/me", "both called me"),
        ("you.mp4:head_model=flame.npz", "'you.mp4:head_model=flame.npz' is neither"),
    ],
)
def test_subjects_that_it_refuses(text: str, part: str) -> None:
    with pytest.raises(UserError, match="--subjects") as refused:
        _parse(text)
    assert part in str(refused.value)


def test_settings_of_an_embedded_subject() -> None:
    [plain, noisy, short] = _parse(
        "synthetic_c,synthetic_c:tracking_noise=0.1,synthetic_c:frames=100:coupling=1"
    )
    assert (noisy.name, noisy.spec) == ("synthetic_c_tracking_noise=0.1", "synthetic_c:tracking_noise=0.1")
    assert noisy.fit_flags()[1:] == [
        *plain.fit_flags()[1:-1],
        "--data.reader.init_args.tracking_noise=0.1",
        "--data.image_size=256",
    ]
    assert noisy.sampled_splits == plain.sampled_splits
    assert noisy.root != plain.root
    assert (short.frames, short.size, short.options) == (100, 256, (("coupling", 1.0),))


@pytest.mark.parametrize("setting", ["noise=0.1", "coupling", "coupling=much", "frames=1.5"])
def test_settings_that_an_embedded_subject_does_not_have(setting: str) -> None:
    with pytest.raises(
        UserError, match=f"--subjects synthetic_c:{setting}: '{setting}' is not NAME=NUMBER of"
    ):
        _parse(f"synthetic_c:{setting}")
