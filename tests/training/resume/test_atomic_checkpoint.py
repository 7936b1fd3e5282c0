import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from partnerface.avatar_files.checkpoint_file import check_contents
from partnerface.errors import UserError
from partnerface.training.resume.atomic_checkpoint import AtomicCheckpointIO

WHOLE = {
    **{"state_dict": {}, "loops": {}, "epoch": 0, "global_step": 3},
    **{"pytorch-lightning_version": "2.6.0", "partnerface_version": "0.2.0", "hyper_parameters": {}},
}


def test_a_whole_checkpoint_passes() -> None:
    state = {"w": torch.ones(2), "n": torch.tensor([1]), "visited": torch.tensor([True, False])}
    check_contents({**WHOLE, "state_dict": state}, "a.ckpt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_must_be_finite(value: float) -> None:
    with pytest.raises(UserError, match=r"a\.ckpt: state_dict\['w'\] holds values that are not finite"):
        check_contents({**WHOLE, "state_dict": {"w": torch.tensor([1.0, value])}}, "a.ckpt")


def test_round_trip_leaves_one_file(tmp_path: Path) -> None:
    target = tmp_path / "checkpoints" / "last.ckpt"
    for value in (1, 2):
        AtomicCheckpointIO().save_checkpoint({"step": value, "w": torch.ones(3)}, target)
    assert torch.load(target, weights_only=True)["step"] == 2
    assert [p.name for p in target.parent.iterdir()] == ["last.ckpt"]


class State:
    """What a callback of somebody's might keep."""


@pytest.mark.parametrize("value", [State(), [State], lambda: 1, open])
def test_what_could_not_be_loaded_again_is_not_saved(tmp_path: Path, value) -> None:
    """Found at the first checkpoint, not after hours when the run is resumed."""
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, target)
    with pytest.raises(UserError, match=r"last\.ckpt: .*; states and hyper-parameters may hold tensors"):
        AtomicCheckpointIO().save_checkpoint({"callbacks": {"Own": {"state": value}}}, target)
    assert torch.load(target, weights_only=True) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, target)

    def full_disk(checkpoint: dict, file) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(
        UserError, match=r"last\.ckpt: cannot be written \(No space left on device\)"
    ) as caught:
        AtomicCheckpointIO().save_checkpoint({"step": 2}, target)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert torch.load(target, weights_only=True) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_file_that_may_not_grow_keeps_the_earlier_checkpoint(tmp_path: Path) -> None:
    """A quota, met in the middle of a real write."""
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, target)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"last\.ckpt: cannot be written") as caught:
            AtomicCheckpointIO().save_checkpoint({"step": 2, "w": torch.ones(100_000)}, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    _holds_the_first(target)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Another file system, with room for 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "partnerface-test", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root and leave to mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    target = small_disk / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1, "w": torch.ones(100_000)}, target)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        AtomicCheckpointIO().save_checkpoint({"step": 2, "w": torch.ones(200_000)}, target)
    _holds_the_first(target)
    AtomicCheckpointIO().save_checkpoint({"step": 3, "w": torch.ones(100_000)}, target)
    assert torch.load(target, weights_only=True)["step"] == 3


def test_a_disk_that_turned_read_only(small_disk: Path) -> None:
    target = small_disk / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, target)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\)"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, target)
    _holds_the_first(target)


def test_what_a_killed_write_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".last.ckpt.1234.partial").write_bytes(b"half")
    (tmp_path / "last.ckpt.1234.partial").write_bytes(b"of somebody else")
    AtomicCheckpointIO().save_checkpoint({"step": 1}, tmp_path / "last.ckpt")
    assert {p.name for p in tmp_path.iterdir()} == {"last.ckpt", "last.ckpt.1234.partial"}


def test_file_and_folder_are_synced_before_the_call_returns(tmp_path: Path, monkeypatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    AtomicCheckpointIO().save_checkpoint({"step": 1}, tmp_path / "last.ckpt")
    assert synced == [str(tmp_path / f".last.ckpt.{os.getpid()}.partial"), str(tmp_path)]


def _holds_the_first(target: Path) -> None:
    assert torch.load(target, weights_only=True)["step"] == 1
    assert [p.name for p in target.parent.iterdir()] == ["last.ckpt"]


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
