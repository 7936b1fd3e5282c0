"""A failed write leaves the earlier checkpoint and nothing else."""

import errno
from pathlib import Path

import pytest
import torch

from partnerface.training.atomic_checkpoint import AtomicCheckpointIO
from partnerface.user_error import UserError


def test_round_trip_leaves_one_file(tmp_path: Path) -> None:
    target = tmp_path / "checkpoints" / "last.ckpt"
    for value in (1, 2):
        AtomicCheckpointIO().save_checkpoint({"step": value, "w": torch.ones(3)}, target)
    assert torch.load(target, weights_only=True)["step"] == 2
    assert [p.name for p in target.parent.iterdir()] == ["last.ckpt"]


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, target)

    def full_disk(checkpoint: dict, file) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(
        UserError, match=r"last\.ckpt cannot be written \(No space left on device\)"
    ) as caught:
        AtomicCheckpointIO().save_checkpoint({"step": 2}, target)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert torch.load(target, weights_only=True) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_what_is_no_checkpoint_gives_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"last\.ckpt: not readable") as caught:
        AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --run_dir"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "file" / "last.ckpt")
