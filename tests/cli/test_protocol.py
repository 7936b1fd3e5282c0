"""``--protocol``: one word for fit and test, in every number; a run keeps the one of its training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from partnerface.cli.main import main
from partnerface.data import protocols
from partnerface.files.plain_values import read_yaml

SMALL = {
    "insta": replace(protocols.PROTOCOLS["insta"], tested=5, image_size=32),
    "nerface": replace(protocols.PROTOCOLS["nerface"], tested=9, image_size=32),
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """The protocols as they are, on fewer frames of fewer pixels."""
    for name, protocol in SMALL.items():
        monkeypatch.setitem(protocols.PROTOCOLS, name, protocol)


@pytest.fixture(scope="module")
def run(tmp_path_factory, smoke_arguments) -> Path:
    """Folder of a run that was trained and tested by the protocol."""
    folder = tmp_path_factory.mktemp("protocol") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(protocols.PROTOCOLS, "insta", SMALL["insta"])
        flags = ["--protocol", "insta", "--trainer.max_steps=2", f"--run_dir={folder}"]
        assert main(["fit", *smoke_arguments, *flags]) == 0
        test = ["test", "--config", str(folder / "config.yaml"), "--result_page=true"]
        assert main([*test, "--trainer.limit_test_batches=5"]) == 0
    return folder


def test_fit_and_test_are_divided_by_it(run):
    assert read_yaml(run / "config.yaml")["data"]["image_size"] == 32
    report = json.loads((run / "metrics.json").read_text())
    protocol = report["protocol"]
    assert (protocol["name"], protocol["scored"]["picture"]) == ("insta", "without_torso")
    assert protocol["scored"]["metrics"] == ["psnr", "ssim", "lpips"]
    assert protocol["num_frames"] == {"test": 5}
    assert protocol["num_train_frames"] == 19
    assert report["splits"]["test"]["without_torso"]["psnr"] > report["splits"]["test"]["head_mask"]["psnr"]
    page = (run / "report.html").read_text()
    assert "insta, that of INSTA" in page
    assert "last 5 frames in which the head was tracked" in page


def refusal(capsys, *words: str) -> str:
    capsys.readouterr()
    assert main([*words]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_run_is_tested_by_the_protocol_that_it_was_trained_with(run, trained_run, capsys):
    message = refusal(capsys, "test", "--config", str(run / "config.yaml"), "--protocol=nerface")
    assert "--protocol nerface: the avatar was trained with insta" in message
    message = refusal(capsys, "test", "--config", str(trained_run / "config.yaml"), "--protocol=insta")
    assert "--protocol insta: the avatar was trained with none" in message
    # The division of `strict` is the dataset's own.
    assert main(["test", "--config", str(trained_run / "config.yaml"), "--protocol=strict"]) == 0


def test_what_is_refused(run, trained_run, smoke_arguments, capsys, tmp_path):
    fit = ["fit", *smoke_arguments, f"--run_dir={tmp_path / 'new'}"]
    for flags, part in (
        (["--protocol=instta"], "--protocol instta: there is no such protocol; did you mean 'insta'?"),
        (["--protocol=insta", "--data.image_size=64"], "--data.image_size 64: protocol insta has 32"),
        (["--protocol=pointavatar"], "--protocol pointavatar: is measured at 512 pixels"),
    ):
        assert part in refusal(capsys, *fit, *flags)
    strict = ["--protocol=strict", "--model.test_parameters=refined"]
    message = refusal(capsys, "test", "--config", str(trained_run / "config.yaml"), *strict)
    assert "--protocol strict does not" in message
    assert not (tmp_path / "new" / "checkpoints").exists()
