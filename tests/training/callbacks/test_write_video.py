"""`predict` writes a video of what it renders."""

from pathlib import Path

import av

from partnerface.cli.main import main


def test_predict_writes_the_held_out_frames(trained_run: Path, tmp_path: Path, capsys) -> None:
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    arguments = ["predict", "--config", str(trained_run / "config.yaml"), f"--ckpt_path={checkpoint}"]
    assert main([*arguments, f"--run_dir={tmp_path}", "--data.predict_frames=temporal"]) == 0
    with av.open(str(tmp_path / "prediction.mp4")) as video:
        frames = list(video.decode(video=0))
    assert (frames[0].width, frames[0].height) == (32, 32)
    assert f"{len(frames)} frames" in capsys.readouterr().out


def test_an_unknown_choice_of_frames_gives_one_line(trained_run: Path, tmp_path: Path, capsys) -> None:
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    arguments = ["predict", "--config", str(trained_run / "config.yaml"), f"--ckpt_path={checkpoint}"]
    assert main([*arguments, f"--run_dir={tmp_path}", "--data.predict_frames=never"]) == 2
    assert "--data.predict_frames" in capsys.readouterr().err
