"""`predict` writes a video of what it renders."""

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import torch

from partnerface.avatar.picture import Picture
from partnerface.cli.main import main
from partnerface.configuration.avatar_cli import AvatarCLI
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.data.synthetic.subject import subject_named
from partnerface.head_models.anny import AnnyHead
from partnerface.training.callbacks import write_video


def test_predict_writes_the_held_out_frames(trained_run: Path, tmp_path: Path, capsys) -> None:
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    arguments = ["predict", "--config", str(trained_run / "config.yaml"), f"--ckpt_path={checkpoint}"]
    assert main([*arguments, f"--run_dir={tmp_path}", "--data.predict_frames=temporal"]) == 0
    with av.open(str(tmp_path / "prediction.mp4")) as video:
        frames, comment = list(video.decode(video=0)), video.metadata["comment"]
    name = comment.removesuffix(", step 6")
    assert (tmp_path / name).resolve() == checkpoint
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


def test_a_long_film_is_not_held_in_memory(tmp_path: Path, monkeypatch) -> None:
    """40 pictures of 200 kB, each of a grey of its own, take less memory than ten of them."""
    monkeypatch.setattr(write_video, "say_other_head", lambda trainer, module: None)
    data = SimpleNamespace(prediction_driver=SimpleNamespace(fps=25.0))
    trainer = SimpleNamespace(
        default_root_dir=str(tmp_path), datamodule=data, ckpt_path="a.ckpt", is_global_zero=True
    )
    module, film = SimpleNamespace(trained_steps=6), write_video.WriteVideo("films/long.mkv")
    film.on_predict_start(trainer, module)
    tracemalloc.start()
    try:
        for number in range(40):
            grey = torch.full((256, 256), number / 50)
            film.on_predict_batch_end(trainer, module, Picture(grey.expand(3, -1, -1), grey * 0 + 1, grey))
        film.on_predict_end(trainer, module)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 256 * 256 * 3
    with av.open(str(tmp_path / "films" / "long.mkv")) as video:
        shown = [frame.to_ndarray(format="rgb24").mean() for frame in video.decode(video=0)]
    np.testing.assert_allclose(shown, 5.1 * np.arange(40), atol=2)
    assert [path.name for path in tmp_path.iterdir()] == ["films"]
