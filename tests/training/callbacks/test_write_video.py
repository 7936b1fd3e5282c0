"""`predict` writes a video of what it renders."""

from pathlib import Path

import av
import numpy as np
import torch

from partnerface.cli.main import main
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.data.synthetic.subject import subject_named
from partnerface.head_models.anny import AnnyHead


def test_predict_writes_the_held_out_frames(trained_run: Path, tmp_path: Path, capsys) -> None:
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    arguments = ["predict", "--config", str(trained_run / "config.yaml"), f"--ckpt_path={checkpoint}"]
    assert main([*arguments, f"--run_dir={tmp_path}", "--data.predict_frames=temporal"]) == 0
    with av.open(str(tmp_path / "prediction.mp4")) as video:
        frames = list(video.decode(video=0))
    assert (frames[0].width, frames[0].height) == (32, 32)
    printed = capsys.readouterr()
    assert f"{len(frames)} frames of {checkpoint}, step 6" in printed.out
    assert "from the avatar's" not in printed.err
    # Each is what the avatar shows of its frame, but for the codec.
    flags = [f"--run_dir={tmp_path}", "--data.predict_frames=temporal"]
    cli = AvatarCLI([*arguments, *flags], execute=False)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    cli.model.load_state_dict(state)
    driver = cli.datamodule.prediction_driver
    assert len(driver) == len(frames)
    for place in (0, len(frames) - 1):
        shown = cli.model.avatar.eval().render(driver[place]).to_bytes()
        assert np.abs(frames[place].to_ndarray(format="rgb24").astype(int) - shown).mean() < 8


def test_the_dataset_of_another_person_is_named(trained_run: Path, tmp_path: Path, capsys) -> None:
    """Another seed of the subject's identity: its distance, worked out by the head model."""
    other = SyntheticReader(tmp_path / "b", subject="b", frames=4, size=32).read()
    arguments = ["predict", "--config", str(trained_run / "config.yaml"), f"--run_dir={tmp_path / 'run'}"]
    arguments += [f"--ckpt_path={trained_run / 'checkpoints' / 'last.ckpt'}", "--data.predict_frames=all"]
    changed = ["subject=b", "frames=4", f"root={tmp_path / 'b'}"]
    assert main([*arguments, *(f"--data.reader.init_args.{flag}" for flag in changed)]) == 0
    anny, own = AnnyHead(), subject_named("a").identity(AnnyHead().num_identity)
    moved = torch.tensordot(own - other.head.identity, anny.identity_basis, 1).norm(dim=1).mean()
    assert f"{1000 * moved:.1f} mm from the avatar's" in capsys.readouterr().err


def test_an_unknown_choice_of_frames_gives_one_line(trained_run: Path, tmp_path: Path, capsys) -> None:
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    arguments = ["predict", "--config", str(trained_run / "config.yaml"), f"--ckpt_path={checkpoint}"]
    assert main([*arguments, f"--run_dir={tmp_path}", "--data.predict_frames=never"]) == 2
    assert "--data.predict_frames" in capsys.readouterr().err


def test_predictions_may_be_transparent(trained_run: Path, tmp_path: Path, capsys) -> None:
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    arguments = ["predict", "--config", str(trained_run / "config.yaml"), f"--ckpt_path={checkpoint}"]
    writer = "--trainer.callbacks+=partnerface.training.callbacks.write_video.WriteVideo"
    flags = [f"--run_dir={tmp_path}", "--data.predict_frames=temporal", writer]
    clear = "--trainer.callbacks.background=transparent"
    assert main([*arguments, *flags, "--trainer.callbacks.file_name=clear.webm", clear]) == 0
    with av.open(str(tmp_path / "clear.webm")) as video:
        codec = av.CodecContext.create("libvpx-vp9", "r")
        frame = next(f for packet in video.demux(video=0) for f in codec.decode(packet))
    alpha = frame.to_ndarray(format="rgba")[..., 3]
    assert alpha.min() < 20
    assert alpha.max() > 235
    assert main([*arguments, *flags, "--trainer.callbacks.file_name=clear.mp4", clear]) == 2
    assert ".mp4 has no transparency" in capsys.readouterr().err
