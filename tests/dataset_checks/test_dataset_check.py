"""What the command's test does not show: FLAME, impossible folders, the record."""

import json
import shutil

import pytest

from partnerface.dataset_checks.dataset_check import DatasetCheck, check_dataset
from partnerface.dataset_checks.sequence_checks import Finding
from partnerface.errors import UserError


def test_the_verdict_follows_from_the_findings(tmp_path):
    doubtful = [Finding("camera", "doubt", "a"), Finding("mattes", "ok", "b")]
    check = DatasetCheck("x", doubtful, {}, [])
    assert (check.record()["verdict"], check.doubts, check.reasons) == ("fit", ["camera: a"], [])
    check = DatasetCheck("x", [*doubtful, Finding("splits", "unfit", "c")], {}, [])
    assert (check.record()["verdict"], check.reasons) == ("unfit", ["splits: c"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flame", "tracked with FLAME; give its file as --head_model FILE"),
        ("ict", "tracked with the head model 'ict', which partnerface does not have; those it has are"),
    ],
)
def test_a_dataset_of_another_head_model(synthetic_dataset, tmp_path, name, message):
    root = tmp_path / "set"
    shutil.copytree(synthetic_dataset, root)
    record = json.loads((root / "transforms.json").read_text())
    record["head_model"]["name"] = name
    (root / "transforms.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=message):
        check_dataset(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made(synthetic_dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out .*file/out: cannot be written"):
        check_dataset(synthetic_dataset, tmp_path / "file" / "out")
