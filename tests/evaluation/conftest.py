"""The real AlexNet weights, where this machine has them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from partnerface.losses.lpips_network import FILE_NAME, load_lpips


@pytest.fixture
def fresh_lpips() -> Iterator[None]:
    """Forget which weights were found before and after a test."""
    load_lpips.cache_clear()
    yield
    load_lpips.cache_clear()


@pytest.fixture
def real_assets(fresh_lpips, monkeypatch) -> Path:
    folder = Path(__file__).parents[2] / ".." / "shared" / "data" / "models"
    if not (folder / FILE_NAME).is_file():
        pytest.skip(f"no {FILE_NAME} on this machine")
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(folder))
    return folder
