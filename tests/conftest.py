"""The default head model, heads in strong poses, a tiny rendered subject and an avatar trained on it."""

import gc
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from partnerface.compute.threads import usable_cores
from partnerface.configuration.config_files import config_arguments
from partnerface.head_models.anny import AnnyHead
from partnerface.head_models.head_parameters import HeadParameters
from partnerface.losses import perceptual
from partnerface.losses.lpips_network import LoadedLPIPS, LPIPSNetwork
from tests.checked_records import check_records
from tests.contracts.subjects import strong_parameters
from tests.losses.alexnet_twin import random_features

check_records()

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    # They share the cores, and so do the programs that they start. Small tensors on two threads of two busy
    # cores take five times as long as on one: the threads wait for each other.
    share = max(1, usable_cores() // int(workers))
    torch.set_num_threads(share)
    os.environ["OMP_NUM_THREADS"] = str(share)

# The same examples in every run, none remembered, no clock.
settings.register_profile(
    "seeded",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("seeded")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker is left alone with them at the end.

    The others come in reverse: the longest are those of tracking and training.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    place = {path: k for k, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (item.path not in slow, -place[item.path]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """A file's tests run in one worker, which makes its fixtures once, and files in their order."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_finish() -> None:
    """What is imported by now stays: Python need not look for garbage in it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def random_lpips(monkeypatch: pytest.MonkeyPatch) -> LPIPSNetwork:
    """Training's perceptual loss gets random weights: those of the real network are not everywhere."""
    network = LPIPSNetwork(random_features())
    monkeypatch.setattr(perceptual, "load_lpips", lambda fetch: LoadedLPIPS(network))
    return network


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heeded() -> Iterator[None]:
    """A shell starts its background jobs with SIGINT ignored, and so their children; tests send it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _no_downloads() -> Iterator[None]:
    """Tests fetch nothing: the weights of LPIPS alone are 230 MB."""
    original = urllib.request.urlopen  # torch.hub holds a name of its own for it

    def local_only(url, *args, **kwargs):
        address = url if isinstance(url, str) else url.full_url
        if address.startswith(("http://127.0.0.1", "http://localhost", "file:")):
            return original(url, *args, **kwargs)
        raise urllib.error.URLError("tests do not download")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urllib.request, "urlopen", local_only)
        patch.setattr(torch.hub, "urlopen", local_only)
        yield


@pytest.fixture(scope="session")
def anny() -> AnnyHead:
    return AnnyHead()


@pytest.fixture(scope="session")
def random_head_parameters(anny: AnnyHead) -> Callable[..., HeadParameters]:
    """Makes F frames of strong expressions, turned heads, turned eyes and a torso of its own."""
    return partial(strong_parameters, anny)


@pytest.fixture(scope="session")
def synthetic_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames of subject a at 32 px on disk."""
    from partnerface.data.synthetic.reader import SyntheticReader

    root = tmp_path_factory.mktemp("synthetic") / "dataset"
    SyntheticReader(root, frames=24, size=32).read()
    return root


@pytest.fixture(scope="session")
def smoke_arguments(synthetic_dataset: Path) -> list[str]:
    """Configuration of a run of a few seconds."""
    return [
        *config_arguments(
            "base", "method/part_deformation", "head_model/anny", "data/synthetic", "scale/smoke"
        ),
        f"--data.reader.init_args.root={synthetic_dataset}",
        "--data.reader.init_args.frames=24",
        "--data.reader.init_args.size=32",
        "--model.avatar.sampler.init_args.cells=32",
        "--model.avatar.field.init_args.log2_table_size=12",
        "--trainer.accelerator=cpu",
        "--result_page=false",
    ]


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, smoke_arguments: list[str]) -> Path:
    """Folder of a run of six steps, tested."""
    from partnerface.cli.main import main

    run = tmp_path_factory.mktemp("runs") / "smoke"
    flags = ["--trainer.max_steps=6", "--trainer.val_check_interval=3", "--trainer.log_every_n_steps=1"]
    assert main(["fit", *smoke_arguments, *flags, "--run_dir", str(run)]) == 0
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    test = ["test", "--config", str(run / "config.yaml"), "--result_page=true"]
    assert main([*test, "--ckpt_path", checkpoint]) == 0
    return run
