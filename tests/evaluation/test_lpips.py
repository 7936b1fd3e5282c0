import hashlib
import io
import logging
import urllib.error
import urllib.request

import pytest
import torch
from torch.nn import functional

from partnerface.evaluation.lpips import LPIPS
from partnerface.losses import lpips_network
from partnerface.losses.lpips_network import CONVOLUTIONS, FILE_NAME, LPIPSNetwork, load_lpips
from tests.contracts.metric_contract import ImageMetricContract, cropped
from tests.losses.alexnet_twin import random_features, slow_twin


def random_images(height=70, width=90, count=2):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_random_weights_against_the_slow_twin():
    features, (first, second) = random_features(), random_images()
    found = LPIPSNetwork(features)(first[None], second[None])
    assert found.item() == pytest.approx(slow_twin(features, first, second), rel=1e-4)


def test_a_batch_is_its_images_one_by_one():
    metric, images = LPIPSNetwork(random_features()), random_images(count=4)
    together = metric(images[:2], images[2:])
    apart = torch.cat([metric(images[i : i + 1], images[i + 2 : i + 3]) for i in range(2)])
    assert torch.allclose(together, apart, rtol=1e-4)


def test_what_always_holds():
    metric, (first, second) = LPIPSNetwork(random_features()), random_images()[:, None]
    assert metric(first, first).item() == 0
    assert metric(first, second).item() == pytest.approx(metric(second, first).item(), rel=1e-5)
    black = torch.zeros_like(first)
    assert torch.isfinite(metric(black, black + 1)).all()


class TestLPIPS(ImageMetricContract):
    @pytest.fixture(autouse=True)
    def weights(self, home, monkeypatch):
        torch.save(random_features(), home / FILE_NAME)
        monkeypatch.setenv("PARTNERFACE_ASSETS", str(home))

    def metric(self):
        return LPIPS()

    def reference(self, rendered, target, mask):
        crops = (torch.from_numpy(cropped(image, mask, 64)).float() for image in (rendered, target))
        return slow_twin(random_features(), *crops)


def test_weights_stay_out_of_checkpoints():
    metric = LPIPSNetwork(random_features())
    assert metric.state_dict() == {}
    assert list(metric.parameters()) == []


@pytest.mark.parametrize("key", ["features.0.weight", "features.10.bias"])
def test_wrong_weights_are_named(key):
    for change in (lambda f: f.pop(key), lambda f: f.update({key: torch.zeros(2)})):
        features = random_features()
        change(features)
        with pytest.raises(ValueError, match=key.replace(".", r"\.")):
            LPIPSNetwork(features)


def test_real_weights(real_assets):
    """The distance grows with noise and with blur, and published scale holds: about 0.1 to 0.8."""
    del real_assets
    metric = load_lpips().network
    generator = torch.Generator().manual_seed(0)
    smooth = functional.interpolate(
        torch.rand(1, 3, 8, 8, generator=generator), size=(128, 128), mode="bicubic", align_corners=False
    ).clamp(0, 1)
    noise = torch.randn(smooth.shape, generator=generator)
    distances = [metric(smooth, (smooth + s * noise).clamp(0, 1)).item() for s in (0, 0.02, 0.05, 0.1, 0.3)]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert 0.1 < distances[-1] < 2


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, fresh_lpips):
    """An empty home, no assets and no network."""

    def no_network(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PARTNERFACE_ASSETS", raising=False)
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
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
    assert first.network is None
    assert second is first
    assert "no network" in first.missing
    assert FILE_NAME in first.missing
    assert LPIPS().missing() == first.missing
    assert len(caplog.records) == 1


def test_training_fetches_nothing(home, monkeypatch, caplog):
    monkeypatch.setattr(torch.hub, "urlopen", lambda *_, **__: pytest.fail("a download"))
    found = load_lpips(fetch=False)
    assert found.network is None
    assert FILE_NAME in found.missing
    assert not caplog.records
    torch.save(features(1.0), home / FILE_NAME)
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(home))
    load_lpips.cache_clear()
    assert load_lpips(fetch=False).network.bias_0[0] == 1


def test_what_a_test_has_loaded_can_be_trained_with(home, monkeypatch):
    torch.save(random_features(), home / FILE_NAME)
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(home))
    with torch.inference_mode():
        network = load_lpips().network
    first, second = random_images()[:, None]
    network(first.requires_grad_(), second).sum().backward()
    assert first.grad.isfinite().all()
    assert first.grad.any()


def test_a_test_on_another_device_leaves_a_network_to_train_with(home, monkeypatch):
    """Moved in inference mode, its tensors would be of a kind that no gradient may pass."""
    torch.save(random_features(), home / FILE_NAME)
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(home))
    pictures = random_images().to("meta")
    with torch.inference_mode():
        LPIPS().per_image(*pictures, None)
    network = load_lpips().network
    assert {buffer.device.type for buffer in network.buffers()} == {"meta"}
    assert not any(buffer.is_inference() for buffer in network.buffers())
    first, second = pictures[:, None]
    network(first.requires_grad_(), second).sum().backward()
    assert first.grad.shape == first.shape


def test_assets_come_before_the_cache(home, monkeypatch):
    (home / ".cache" / "partnerface").mkdir(parents=True)
    torch.save(features(1.0), home / ".cache" / "partnerface" / FILE_NAME)
    assert load_lpips().network.bias_0[0] == 1
    (home / "assets").mkdir()
    torch.save(features(2.0), home / "assets" / FILE_NAME)
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(home / "assets"))
    load_lpips.cache_clear()
    assert load_lpips().network.bias_0[0] == 2


PICKLED_CALL = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"0" * 3000, PICKLED_CALL])
def test_a_damaged_or_hostile_file_is_missing_not_an_error(home, monkeypatch, content):
    (home / FILE_NAME).write_bytes(content)
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(home))
    network = load_lpips()
    assert network.network is None
    assert str(home / FILE_NAME) in network.missing
    assert "\n" not in network.missing


@pytest.mark.parametrize("saved", [{"other": torch.zeros(1)}, [1, 2], {"features.0.weight": 3}])
def test_a_file_of_another_model_is_missing(home, monkeypatch, saved):
    torch.save(saved, home / FILE_NAME)
    monkeypatch.setenv("PARTNERFACE_ASSETS", str(home))
    assert load_lpips().network is None


def served(home, monkeypatch, content: bytes) -> None:
    (home / "served.pth").write_bytes(content)
    monkeypatch.setattr(torch.hub, "urlopen", urllib.request.urlopen)
    monkeypatch.setattr(lpips_network, "URL", (home / "served.pth").as_uri())


def test_a_download_keeps_the_convolutions_only(home, monkeypatch):
    buffer = io.BytesIO()
    torch.save({**features(3.0), "classifier.1.weight": torch.zeros(5)}, buffer)
    served(home, monkeypatch, buffer.getvalue())
    monkeypatch.setattr(lpips_network, "SHA256_PREFIX", hashlib.sha256(buffer.getvalue()).hexdigest()[:8])
    assert load_lpips().network.bias_3[0] == 3
    (kept,) = (home / ".cache" / "partnerface").iterdir()
    assert torch.load(kept, weights_only=True).keys() == features(0).keys()


def test_a_download_with_another_hash_is_refused(home, monkeypatch):
    served(home, monkeypatch, b"something else")
    network = load_lpips()
    assert network.network is None
    assert "another sha256" in network.missing
    assert list((home / ".cache" / "partnerface").iterdir()) == []
