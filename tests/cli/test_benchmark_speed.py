"""The command: what it refuses, and that it builds every method on the embedded subject."""

from pathlib import Path

import pytest
import torch

from partnerface.benchmarks.method_under_test import HEAD_RAYS, MethodBuilder, method_names
from partnerface.cli.main import main


def _one_line(capsys, arguments: list[str]) -> str:
    assert main(["benchmark", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_an_unknown_suite(capsys, tmp_path: Path) -> None:
    line = _one_line(capsys, ["beauty", "--out", str(tmp_path / "out")])
    assert "no such suite" in line
    assert "speed" in line
    assert not (tmp_path / "out").exists()


def test_a_misspelt_suite(capsys) -> None:
    assert "no such suite; did you mean speed? choose methods, speed" in _one_line(capsys, ["sped"])


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["speed", "--seeds", "0"], "seeds"),
        (["methods", "--threads", "1"], "threads"),
        (["--memory", "true"], "memory"),
    ],
)
def test_a_flag_of_the_other_suite(capsys, tmp_path: Path, arguments: list[str], flag: str) -> None:
    assert f"'{flag}'" in _one_line(capsys, [*arguments, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_written(capsys, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    json = tmp_path / "file" / "speed.json"
    line = _one_line(capsys, ["speed", "--out", str(tmp_path / "out"), "--json", str(json)])
    assert f"--json {json}: cannot be written" in line
    assert [p.name for p in (tmp_path / "out").iterdir()] == []


def test_a_folder_that_cannot_be_written(capsys, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in _one_line(capsys, ["speed", "--out", str(tmp_path / "file" / "out")])


@pytest.mark.parametrize("threads", ["0", "-2"])
def test_no_threads(capsys, tmp_path: Path, threads: str) -> None:
    assert "--threads" in _one_line(capsys, ["speed", "--out", str(tmp_path / "out"), f"--threads={threads}"])


def test_a_wrong_flag(capsys) -> None:
    assert "did you mean 'threads'" in _one_line(capsys, ["speed", "--thread", "2"])


def test_every_method_is_built_on_rays_that_hit_the_head(synthetic_dataset: Path) -> None:
    from partnerface.data.regions import Region

    assert method_names()[0] == "part_deformation"
    assert {"nerface", "skinning_only", "global_deformation"} <= {*method_names()}
    method = MethodBuilder(synthetic_dataset, HEAD_RAYS)("nerface", "--data.image_size=32")
    batch = next(iter(method.data.train_dataloader()))
    on_head = torch.tensor([Region.FACE, Region.EYES, Region.MOUTH, Region.HAIR], dtype=torch.uint8)
    assert torch.isin(batch.region, on_head).all()
    avatar = method.module.avatar
    assert (avatar.sampler.samples, avatar.importance) == (64, 64)
