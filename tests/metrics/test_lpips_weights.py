import io
import logging
import urllib.error

import pytest
import torch

from partnerface.metrics import lpips_weights
from partnerface.metrics.lpips import CONVOLUTIONS
from partnerface.metrics.lpips_weights import FILE_NAME, load_lpips


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, fresh_lpips):
    """An empty home, no assets and no network."""

    def no_network(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PARTNERFACE_ASSETS", raising=False)
    monkeypatch.setattr(lpips_weights.urllib.request, "urlopen", no_network)
    return tmp_path


def features(value: float) -> dict[str, torch.Tensor]:
    weights = {}
    for number, (out, inputs, kernel, _, _) in CONVOLUTIONS.items():
        weights[f"features.{number}.weight"] = torch.full((out, inputs, kernel, kernel), value)
        weights[f"features.{number}.bias"] = torch.full((out,), value)
    return weights


def test_without_weights_it_is_missing_by_name_and_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        first, second = load_lpips(), load_lpips()
    assert first.metric is None
    assert second is first
    assert "no network" in first.missing
    assert FILE_NAME in first.missing
    assert len(caplog.records) == 1


def test_assets_come_before_the_cache(home, monkeypatch):
    (home / ".cache" / "partnerface").mkdir(parents=True)
    torch.save(features(1.0), home / ".cache" / "partnerface" / FILE_NAME)
    assert load_lpips().metric.bias_0[0] == 1
    (home / "assets").mkdir()
    torch.save(features(2.0), home / "assets" / FILE_NAME)
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(home / "assets"))
    load_lpips.cache_clear()
    assert load_lpips().metric.bias_0[0] == 2


PICKLED_CALL = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"0" * 3000, PICKLED_CALL])
def test_a_damaged_or_hostile_file_is_missing_not_an_error(home, monkeypatch, content):
    (home / FILE_NAME).write_bytes(content)
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(home))
    network = load_lpips()
    assert network.metric is None
    assert str(home / FILE_NAME) in network.missing
    assert "\n" not in network.missing


@pytest.mark.parametrize("saved", [{"other": torch.zeros(1)}, [1, 2], {"features.0.weight": 3}])
def test_a_file_of_another_model_is_missing(home, monkeypatch, saved):
    torch.save(saved, home / FILE_NAME)
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(home))
    assert load_lpips().metric is None


def served(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(lpips_weights.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(content))


def test_a_download_keeps_the_convolutions_only(home, monkeypatch):
    buffer = io.BytesIO()
    torch.save({**features(3.0), "classifier.1.weight": torch.zeros(5)}, buffer)
    served(monkeypatch, buffer.getvalue())
    monkeypatch.setattr(lpips_weights, "SHA256_PREFIX", "")
    assert load_lpips().metric.bias_3[0] == 3
    (kept,) = (home / ".cache" / "partnerface").iterdir()
    assert torch.load(kept, weights_only=True).keys() == features(0).keys()


def test_a_download_with_another_hash_is_refused(home, monkeypatch):
    served(monkeypatch, b"something else")
    network = load_lpips()
    assert network.metric is None
    assert "hash" in network.missing
    assert list((home / ".cache" / "partnerface").iterdir()) == []
