"""`predict` writes a video of what it renders."""

from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from partnerface.cli.main import main
from partnerface.data.batches.datasets import EvaluationFrame
from partnerface.evaluation.pictures import RenderedFrame
from partnerface.training.callbacks.write_video import WriteVideo

RED, GREEN, ERROR = (230, 0, 0), (0, 230, 0), (255, 255, 0)


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def test_predict_writes_the_held_out_frames(trained_run: Path, tmp_path: Path, capsys) -> None:
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    arguments = ["predict", "--config", str(trained_run / "config.yaml"), f"--ckpt_path={checkpoint}"]
    assert main([*arguments, f"--run_dir={tmp_path}", "--data.predict_frames=temporal"]) == 0
    frames = frames_of(tmp_path / "prediction.mp4")
    assert frames[0].shape == (32, 32, 3)
    assert f"{len(frames)} frames" in capsys.readouterr().out


@pytest.mark.parametrize(("beside_target", "panels"), [(False, [RED]), (True, [GREEN, RED, ERROR])])
def test_the_render_alone_or_between_target_and_error(
    tmp_path: Path, beside_target: bool, panels: list[tuple[int, int, int]]
) -> None:
    """A red render of a green target, panel by panel."""
    red, green = (torch.tensor(c).view(3, 1, 1).expand(3, 32, 32) / 255 for c in (RED, GREEN))
    ones = torch.ones(32, 32)
    rendered = RenderedFrame(EvaluationFrame(0, green, ones, ones.byte(), []), red, ones, ones)
    sequence = SimpleNamespace(fps=25.0)
    trainer = SimpleNamespace(default_root_dir=tmp_path, datamodule=SimpleNamespace(sequence=sequence))
    callback = WriteVideo("shown.mp4", beside_target)
    callback.on_predict_start(trainer, None)
    for _ in range(3):
        callback.on_predict_batch_end(trainer, None, rendered)
    callback.on_predict_end(trainer, None)
    frames = frames_of(tmp_path / "shown.mp4")
    assert len(frames) == 3
    assert frames[0].shape == (32, 32 * len(panels), 3)
    for place, colour in enumerate(panels):
        shown = frames[0][16, 32 * place + 16].astype(int)
        assert np.abs(shown - colour).max() < 16, place


def test_an_unknown_choice_of_frames_gives_one_line(trained_run: Path, tmp_path: Path, capsys) -> None:
    checkpoint = trained_run / "checkpoints" / "last.ckpt"
    arguments = ["predict", "--config", str(trained_run / "config.yaml"), f"--ckpt_path={checkpoint}"]
    assert main([*arguments, f"--run_dir={tmp_path}", "--data.predict_frames=never"]) == 2
    assert "--data.predict_frames" in capsys.readouterr().err
