"""The choice of the device, on machines that are made up."""

from dataclasses import replace

import pytest
import torch

from partnerface.cli.main import main
from partnerface.compute.cuda_support import CudaFacts, chosen_accelerator
from partnerface.errors import UserError

GOOD = CudaFacts(
    driver=(13, 1),
    torch_build=(13, 0),
    torch_devices=1,
    capability=(9, 0),
    torch_capabilities=((7, 5), (9, 0)),
    warp_devices=1,
    warp_build=(13, 4),
    warp_needs=(13, 0),
)
CU126 = {
    "torch_build": (12, 6),
    "torch_capabilities": ((5, 0), (6, 0), (7, 0), (7, 5), (8, 0), (8, 6), (9, 0)),
}
OLD = {**CU126, "warp_devices": 0}
UNUSABLE = {
    "a driver of R550 with the wheels of PyPI": ({"driver": (12, 4), "torch_devices": 0}, "torch needs 13.0"),
    "a driver of R550 with an older torch": ({"driver": (12, 4), **OLD}, r"Warp needs 13.0: .*\+cu12"),
    "a V100": ({"capability": (7, 0), **OLD}, r"capability 7.0, Warp's build begins at 7.5: .*\+cu12"),
    "a V100 with the torch of PyPI": (
        {"capability": (7, 0)},
        "kernels for 7.5, 9.0: pip uninstall torch and pip install .*cu126",
    ),
    "an RTX 5090 with an older torch": (
        {"capability": (12, 0), "driver": (12, 8), **CU126},
        r"capability 12.0, .* 8.6, 9.0: update the driver to R580 or newer, then (?!.*cu126)",
    ),
    "a B200 with an older torch": (
        {"capability": (10, 0), **CU126},
        r"capability 10.0, .* 9.0: pip uninstall torch and pip install torch(?!.*cu126)",
    ),
    "a torch for CPUs": (
        {"torch_build": None, "torch_devices": 0},
        "build for CPUs: pip uninstall torch and pip install torch, or, for a GPU older than Turing .*cu126",
    ),
    "a torch for CPUs with a driver of R550": (
        {"torch_build": None, "torch_devices": 0, "driver": (12, 4)},
        "build for CPUs: update the driver .*, or, for a GPU older than Blackwell .*cu126",
    ),
    "a Warp for CPUs": ({"warp_build": None, "warp_devices": 0}, "Warp is a build for CPUs"),
    "a device that is hidden": ({"torch_devices": 0}, "CUDA_VISIBLE_DEVICES"),
    "a device that only torch finds": ({"warp_devices": 0}, "Warp finds no device"),
}
NONE = CudaFacts(warp_build=(13, 4), warp_needs=(13, 0))


def test_a_usable_gpu_is_taken():
    assert GOOD.obstacle() is None
    for asked in ("auto", "gpu", "cuda"):
        assert chosen_accelerator(asked, GOOD, apple=False) == "cuda"
    assert chosen_accelerator("cpu", GOOD) == "cpu"
    # The wheel of Warp for CUDA 12 runs with an older driver and on an older GPU.
    cu12 = {**CU126, "warp_build": (12, 9), "warp_needs": (12, 0)}
    older = replace(GOOD, driver=(12, 4), capability=(6, 1), **cu12)
    assert chosen_accelerator("auto", older, apple=False) == "cuda"


def test_kernels_serve_their_own_generation_and_portable_ones_all_that_follow():
    """By NVIDIA's rules: binaries of 8.6 run on 8.9 but not on 8.0, PTX of 9.0 is compiled for 12.0."""
    ada = replace(GOOD, capability=(8, 9), torch_capabilities=((8, 6), (9, 0)))
    assert ada.obstacle() is None
    assert "capability 8.0" in replace(ada, capability=(8, 0)).obstacle()
    blackwell = replace(GOOD, capability=(12, 0))
    assert "capability 12.0" in blackwell.obstacle()
    assert replace(blackwell, torch_portable=((9, 0),)).obstacle() is None
    assert "capability 7.0" in replace(GOOD, capability=(7, 0), torch_portable=((9, 0),)).obstacle()


def test_what_torch_says_of_its_build_is_read(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90a", "sm_120", "compute_120"])
    found = CudaFacts.found.__wrapped__(CudaFacts)
    assert found.torch_capabilities == ((7, 5), (12, 0))
    assert found.torch_portable == ((12, 0),)


@pytest.mark.parametrize(("changes", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_gpu_that_cannot_be_used_is_one_line(changes, reason, capsys):
    """Who asks for it gets an error, who does not gets the CPU; the line is said once."""
    facts = replace(GOOD, **changes)
    with pytest.raises(UserError, match=reason):
        chosen_accelerator("cuda", facts, apple=False)
    assert [chosen_accelerator("auto", facts, apple=False) for _ in range(2)] == ["cpu", "cpu"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "this runs on the CPU" in said


def test_without_a_gpu_the_cpu_needs_no_word(capsys):
    assert chosen_accelerator("auto", NONE, apple=False) == "cpu"
    assert not capsys.readouterr().err
    with pytest.raises(UserError, match="no NVIDIA driver was found; or choose cpu"):
        chosen_accelerator("gpu", NONE, apple=False)


def test_apple_gpus_are_left_alone(capsys):
    assert chosen_accelerator("auto", NONE, apple=True) == "cpu"
    assert chosen_accelerator("mps", NONE, apple=True) == "cpu"
    assert capsys.readouterr().err.count("Apple GPUs are not supported") == 1
    with pytest.raises(UserError, match="choose cpu or cuda"):
        chosen_accelerator("mps", NONE, apple=False)


def test_the_facts_of_this_machine_are_those_of_torch():
    assert (CudaFacts.found().obstacle() is None) <= torch.cuda.is_available()
    assert CudaFacts.found().warp_build is None or CudaFacts.found().warp_build > (11, 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("asked", ["cuda", "gpu", "tpu"])
def test_the_commands_say_it_in_one_line(asked, smoke_arguments, tmp_path, capsys):
    words = ["fit", *smoke_arguments, f"--trainer.accelerator={asked}", "--run_dir", str(tmp_path / "run")]
    assert main(words) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert f"--trainer.accelerator {asked}: " in error


def test_an_avatar_is_trained_on_the_cpu_from_a_checkpoint_of_another_device(
    trained_run, tmp_path, monkeypatch
):
    """Of a GPU, or of one with a higher number: tensors are always read to the host first."""
    from partnerface.training.resume.atomic_checkpoint import AtomicCheckpointIO

    asked = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: asked.append(k["map_location"]) or load(*a, **k))
    AtomicCheckpointIO().load_checkpoint(trained_run / "checkpoints" / "last.ckpt", map_location=None)
    assert [str(place) for place in asked] == ["cpu"]
