from pathlib import Path

import pytest
import torch

from partnerface.data.formats.layout import flip_camera_axes, resolve_inside
from partnerface.errors import UserError


def test_flipping_axes_against_the_matrix_product():
    """OpenCV axes in OpenGL camera space are diag(1, -1, -1); the camera's place stays."""
    pose = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    flipped = flip_camera_axes(pose)
    assert torch.equal(flipped, pose @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])))
    assert torch.equal(flip_camera_axes(flipped), pose)


def test_resolve_inside(tmp_path):
    source = tmp_path / "transforms.json"
    assert resolve_inside(tmp_path, "images/a.png", source) == tmp_path / "images" / "a.png"
    assert resolve_inside(tmp_path, "images/../a.png", source).resolve() == tmp_path / "a.png"
    (tmp_path / "loop").symlink_to("loop")
    assert not resolve_inside(tmp_path, "loop/x", source).is_file()
    sibling = f"../{tmp_path.name}-other/a.png"
    for relative in ("/etc/passwd", "..", "../a", "a/../../b", sibling, None, 3, ["a"], "", "a\0b"):
        with pytest.raises(UserError, match=r"transforms\.json"):
            resolve_inside(tmp_path, relative, source)


def test_a_relative_root(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_inside(Path("set"), "a.png", Path("set/x")) == Path("set/a.png")
    with pytest.raises(UserError):
        resolve_inside(Path("set"), "../a.png", Path("set/x"))
