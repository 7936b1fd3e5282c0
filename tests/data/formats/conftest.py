"""A head model in the form of FLAME's files, with random bases."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.formats import peers


@pytest.fixture(scope="module")
def flame() -> dict[str, np.ndarray]:
    return peers.flame_form()


@pytest.fixture(scope="module")
def flame_file(flame, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(path, **flame)
    return path
