"""The command: what it refuses, that it continues, and that one section that fails costs no other."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from partnerface.benchmarks.gpu import sections
from partnerface.benchmarks.gpu.sections import SECTIONS, SectionRun, planned_sections
from partnerface.benchmarks.sections import GPU_SECTION, markers, read_section
from partnerface.cli.main import main
from partnerface.compute.cuda_support import CudaFacts

ROW = {"name": "speed", "value": 3.0, "unit": "x", "target": None, "holds": None, "note": ""}
PROGRAM = """
import json, os, pathlib, signal, sys, time
name, out = sys.argv[1:3]
folder = pathlib.Path(out) / name
with (folder / "starts").open("a") as starts:
    starts.write("x")
what = json.loads((pathlib.Path(out).parent / "behaviour.json").read_text()).get(name)
if what == "raises":
    print("Traceback")
    sys.exit("OutOfMemoryError: CUDA out of memory")
if what == "is killed":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "hangs":
    time.sleep(60)
found = {"rows": [ROW], "done": True, "commit": "abc1234", "device": {"name": what or "cpu"}, "command": "c"}
(folder / "result.json").write_text(json.dumps(found | {"version": "1", "machine": {}}))
"""
WITHOUT_GPU = CudaFacts()


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CudaFacts, "found", classmethod(lambda cls: WITHOUT_GPU))


@pytest.fixture
def behave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lets a small program take the place of every section, and says what it does in each."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("ROW", repr(ROW)))

    def words(run: SectionRun) -> list[str]:
        return [sys.executable, "-S", "-E", str(program), run.name, str(run.out)]

    monkeypatch.setattr(SectionRun, "remaining_command", property(words))
    hangs = {"profile": 1.0}
    monkeypatch.setattr(SectionRun, "limit_seconds", property(lambda run: hangs.get(run.name, 30.0)))
    (tmp_path / "out").mkdir()

    def set_behaviour(**of_sections: str) -> None:
        (tmp_path / "out" / "behaviour.json").write_text(json.dumps(of_sections))

    return set_behaviour


def _rehearse(tmp_path: Path, *flags: str) -> int:
    return main(["benchmark", "gpu", "--device", "cpu", "--out", str(tmp_path / "out"), *flags])


def _sections(tmp_path: Path, name: str = "rehearsal.json") -> dict:
    return json.loads((tmp_path / "out" / name).read_text())["sections"]


def test_sections_fail_for_themselves_and_a_second_call_continues(behave, tmp_path, capsys) -> None:
    behave(training="raises", rendering="is killed", profile="hangs")
    assert _rehearse(tmp_path) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "3 of 6 runs failed" in error
    found = _sections(tmp_path)
    failed = {name: s["reason"] for name, s in found.items() if s["state"] == "failed"}
    assert failed["training"] == "OutOfMemoryError: CUDA out of memory"
    assert failed["rendering"].startswith("ended by SIGKILL")
    assert failed["profile"].startswith("stopped after 1 s")
    done = ["nerface", "convergence_gpu", "convergence_gpu_full"]
    assert [name for name, s in found.items() if s["state"] == "finished"] == done
    behave()
    assert _rehearse(tmp_path) == 0
    assert {s["state"] for s in _sections(tmp_path).values()} == {"finished"}
    starts = {name: (tmp_path / "out/cpu" / name / "starts").read_text() for name in found}
    assert starts == {name: "xx" if name in failed else "x" for name in found}


def test_results_of_another_device_are_not_mixed(behave, tmp_path, capsys) -> None:
    behave(nerface="NVIDIA X")
    assert _rehearse(tmp_path) == 0
    capsys.readouterr()
    assert _rehearse(tmp_path) == 2
    assert "holds results of NVIDIA X, this is cpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--device", "cuda"], "--device cuda: no NVIDIA driver was found; or choose cpu"),
        (["--minutes", "0"], "--minutes 0: must be more than 0"),
        (["--minutes", "nan"], "minutes: expected float"),
        (["--device", "cpu", "--readme", "x.md"], "--readme: the figures of --device cpu mean nothing"),
        (["--readme", "no/such/file.md"], "cannot be read"),
        (["--device", "tpu"], "device"),
    ],
)
def test_what_it_refuses_is_one_line(tmp_path, capsys, flags, line) -> None:
    assert main(["benchmark", "gpu", "--out", str(tmp_path / "out"), *flags]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert line in lines[0]
    assert not (tmp_path / "out").exists()


def test_without_a_gpu_the_block_says_so(tmp_path, capsys) -> None:
    readme = tmp_path / "speed.md"
    readme.write_text("before\n{}\nold\n{}\n".format(*markers(GPU_SECTION)))
    assert main(["benchmark", "gpu", "--out", str(tmp_path / "out"), "--readme", str(readme)]) == 0
    block = read_section(readme, GPU_SECTION)
    assert "not measured: no GPU was at hand" in block
    assert all(name in block for name in SECTIONS)
    assert {s["state"] for s in _sections(tmp_path, "gpu.json").values()} == {"waiting"}
    assert "no GPU was used: no NVIDIA driver was found" in capsys.readouterr().out


def test_what_was_measured_on_a_gpu_is_written_without_one(tmp_path, capsys) -> None:
    """The folder was copied from a machine with a GPU: two commits were measured, one section hung."""
    device = {"name": "NVIDIA X", "driver": "580.1", "torch": "2.13", "warp": "1.19"}
    stages = [{"stage": "backward", "milliseconds": 1.5, "share": 1.0, "points": None}]
    rows = {
        "rendering": ROW | {"name": "fps", "target": ">= 200", "holds": False},
        "training": ROW | {"name": "large", "value": None, "note": "the GPU's memory is full"},
        "profile": ROW | {"name": "stages_of_a_step", "details": {"stages": stages}},
        "convergence_gpu": ROW | {"name": "until_near", "details": {"curve": [[5, 20.0], [60, 29.96]]}},
    }
    for name, row in rows.items():
        folder = tmp_path / "out" / "cuda" / name
        folder.mkdir(parents=True)
        commit = "bbbbbbb" if name == "profile" else "aaaaaaa"
        found = {"rows": [row], "done": True, "commit": commit, "device": device, "command": "c"}
        (folder / "result.json").write_text(json.dumps(found))
        (folder / "run.json").write_text(json.dumps({"exit_code": 0, "seconds": 9.0}))
    hung = tmp_path / "out" / "cuda" / "waits"
    hung.mkdir()
    (hung / "log.txt").write_text("begun\nstopped after 45 s, which is as long as it may take\n")
    (hung / "run.json").write_text(json.dumps({"exit_code": -9, "seconds": 45.0}))
    readme = tmp_path / "speed.md"
    readme.write_text("{}\n{}\n".format(*markers(GPU_SECTION)))
    assert main(["benchmark", "gpu", "--out", str(tmp_path / "out"), "--readme", str(readme)]) == 0
    block = read_section(readme, GPU_SECTION)
    assert (
        "commit aaaaaaa (training, rendering, convergence_gpu) and commit bbbbbbb (profile), NVIDIA X"
        in block
    )
    assert "| fps | 3 |  | x | >= 200: missed |" in block
    assert "large: not measured: the GPU's memory is full." in block
    assert "| backward | 1.5 | 100% |  |" in block
    assert "| until near | 5 s | 60 s |" in block
    assert "waits: stopped after 45 s" in block
    assert "cuda_graphs, nerface, memory, convergence_gpu_full: not measured: no GPU was at hand." in block
    assert "waits" in capsys.readouterr().out


def test_what_takes_long_leaves_less_to_the_others_and_nobody_exceeds_the_minutes(monkeypatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(sections.time, "monotonic", lambda: now[0])
    runs = {run.name: run for run in planned_sections(Path("out"), "cuda", minutes=6)}
    assert list(runs) == list(SECTIONS)
    assert runs["tests"].limit_seconds == SECTIONS["tests"].seconds < 360
    now[0] += 150
    assert runs["convergence_gpu"].limit_seconds == pytest.approx(70)
    now[0] += 70
    assert runs["convergence_gpu_full"].limit_seconds == pytest.approx(140)
    now[0] += 130
    assert runs["equality"].limit_seconds == pytest.approx(10)
    now[0] += 100
    assert {run.limit_seconds for run in runs.values()} == {0}


@pytest.mark.slow
def test_sections_run_in_processes_of_their_own(tmp_path, synthetic_dataset, monkeypatch) -> None:
    """For real, at the sizes of a rehearsal: those of which one needs what the other leaves."""
    for name in [name for name in SECTIONS if name not in ("training", "rendering")]:
        monkeypatch.delitem(SECTIONS, name)
    shutil.copytree(synthetic_dataset, tmp_path / "out" / "cpu" / "subject")
    assert _rehearse(tmp_path) == 0
    found = _sections(tmp_path)
    assert {s["state"] for s in found.values()} == {"finished"}
    assert all(row["value"] > 0 for s in found.values() for row in s["rows"])
    assert [row["name"] for row in found["rendering"]["rows"]] == ["rendering_16x16", "rendering_32x32"]
