import hashlib
import io
import urllib.error

import pytest

from partnerface.errors import UserError
from partnerface.files import downloads as model_files
from partnerface.files.downloads import ModelFile, model_file

CONTENT = b"weights"
MODEL = ModelFile("net.bin", "https://example.invalid/net.bin", hashlib.sha256(CONTENT).hexdigest(), "tests")


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(model_files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv(model_files.ASSETS_VARIABLE, raising=False)


def serve(monkeypatch, content):
    calls = []

    def urlopen(url, timeout):
        calls.append(url)
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr(model_files.urllib.request, "urlopen", urlopen)
    return calls


def test_file_is_downloaded_once(monkeypatch, tmp_path):
    calls = serve(monkeypatch, CONTENT)
    assert model_file(MODEL) == model_file(MODEL) == tmp_path / "cache" / "net.bin"
    assert calls == [MODEL.url]
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["net.bin"]


def test_file_in_the_named_folder_needs_no_network(monkeypatch, tmp_path):
    serve(monkeypatch, AssertionError("no download expected"))
    (tmp_path / "net.bin").write_bytes(CONTENT)
    monkeypatch.setenv(model_files.ASSETS_VARIABLE, str(tmp_path))
    assert model_file(MODEL) == tmp_path / "net.bin"


def test_wrong_file_in_the_named_folder_is_refused(monkeypatch, tmp_path):
    (tmp_path / "net.bin").write_bytes(b"something else")
    monkeypatch.setenv(model_files.ASSETS_VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"net\.bin: not the expected file"):
        model_file(MODEL)


def test_no_network_says_where_to_put_the_file(monkeypatch, tmp_path):
    serve(monkeypatch, urllib.error.URLError("unreachable"))
    with pytest.raises(UserError, match=r"net\.bin .*missing.*PARTNERFACE_ASSETS"):
        model_file(MODEL)
    assert not (tmp_path / "cache" / "net.bin").exists()


def test_download_with_another_hash_is_thrown_away(monkeypatch, tmp_path):
    serve(monkeypatch, b"tampered")
    with pytest.raises(UserError, match="another sha256"):
        model_file(MODEL)
    assert not (tmp_path / "cache" / "net.bin").exists()


def test_damaged_cache_is_downloaded_again(monkeypatch, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "net.bin").write_bytes(b"half")
    serve(monkeypatch, CONTENT)
    assert model_file(MODEL).read_bytes() == CONTENT
