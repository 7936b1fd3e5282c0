import hashlib
import socket
import urllib.error
from pathlib import Path

import pytest
import torch

from partnerface.errors import UserError
from partnerface.files import downloads
from partnerface.files.downloads import ModelFile, download, model_file, stored_file

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache, and no folder of assets."""
    monkeypatch.setattr(downloads, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv(downloads.ASSETS_VARIABLE, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def source(cache, tmp_path) -> Path:
    """What the model's address leads to."""
    path = tmp_path / "source.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def model(source) -> ModelFile:
    return ModelFile("net.bin", source.as_uri(), SHA256, "tests")


def test_file_is_downloaded_once(cache, source, model):
    assert model_file(model).read_bytes() == CONTENT
    source.unlink()
    assert model_file(model) == cache / "net.bin"
    assert [p.name for p in cache.iterdir()] == ["net.bin"]


def test_file_in_the_named_folder_needs_no_network(monkeypatch, cache, source, model, tmp_path):
    source.unlink()
    (tmp_path / "net.bin").write_bytes(CONTENT)
    monkeypatch.setenv(downloads.ASSETS_VARIABLE, str(tmp_path))
    assert model_file(model) == tmp_path / "net.bin"


def test_the_named_folder_comes_before_the_cache(monkeypatch, cache, tmp_path):
    assert stored_file("net.bin") is None
    cache.mkdir()
    (cache / "net.bin").touch()
    monkeypatch.setenv(downloads.ASSETS_VARIABLE, str(tmp_path))
    assert stored_file("net.bin") == cache / "net.bin"
    (tmp_path / "net.bin").touch()
    assert stored_file("net.bin") == tmp_path / "net.bin"


def test_wrong_file_in_the_named_folder_is_refused(monkeypatch, model, tmp_path):
    (tmp_path / "net.bin").write_bytes(b"something else")
    monkeypatch.setenv(downloads.ASSETS_VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"net\.bin: not the expected file"):
        model_file(model)


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("unreachable"),
        urllib.error.HTTPError("u", 404, "unreachable", None, None),
        TimeoutError("unreachable"),
        ConnectionResetError(104, "unreachable"),
    ],
)
def test_no_network_says_where_to_put_the_file(monkeypatch, cache, model, error):
    def refused(*_):
        raise error

    monkeypatch.setattr(torch.hub, "urlopen", refused)
    with pytest.raises(UserError, match=r"net\.bin .*missing.*source\.bin.*unreachable.*PARTNERFACE_ASSETS"):
        model_file(model)
    assert list(cache.iterdir()) == []


def test_a_server_that_falls_silent_is_given_up(monkeypatch, tmp_path):
    before = socket.getdefaulttimeout()
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/net.bin"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(UserError, match=r"cannot be downloaded .*timed out"):
            download(url, tmp_path / "net.bin", SHA256)
    assert socket.getdefaulttimeout() == before
    assert list(tmp_path.iterdir()) == []


def test_download_with_another_hash_is_thrown_away(cache, source, model):
    source.write_bytes(b"tampered")
    with pytest.raises(UserError, match="another sha256"):
        model_file(model)
    assert list(cache.iterdir()) == []


def test_damaged_cache_is_downloaded_again(cache, model):
    cache.mkdir()
    (cache / "net.bin").write_bytes(b"half")
    assert model_file(model).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_named(cache, model):
    cache.write_text("a file")
    with pytest.raises(UserError, match=r"cache/net\.bin: cannot be written .*PARTNERFACE_ASSETS"):
        model_file(model)
