"""Kernels write into torch's memory."""

import pytest
import torch
import warp as wp

from partnerface.compute import warp_launch
from partnerface.compute.warp_launch import as_ids, as_mat33, as_vec3, as_vec4, launch


@wp.kernel(enable_backward=False)
def _add_rows(
    threes: wp.array(dtype=wp.vec3),
    fours: wp.array(dtype=wp.vec4),
    scale: float,
    total: wp.array(dtype=wp.float32, ndim=2),
):
    i = wp.tid()
    total[i, 1] = scale * (threes[i][0] + threes[i][1] + threes[i][2] + fours[i][3])


def test_a_kernel_reads_and_writes_torch_tensors():
    threes = torch.rand(5, 3, requires_grad=True)
    fours = torch.rand(5, 4)
    total = torch.zeros(5, 2)
    launch(_add_rows, 5, [as_vec3(threes), as_vec4(fours), 2.0, total], total.device)
    torch.testing.assert_close(total[:, 1], (2 * (threes.sum(1) + fours[:, 3])).detach())
    assert not total[:, 0].any()


@wp.kernel(enable_backward=False)
def _turn(
    ids: wp.array(dtype=wp.uint64),
    turns: wp.array(dtype=wp.mat33),
    points: wp.array(dtype=wp.vec3, ndim=2),
    turned: wp.array(dtype=wp.vec3, ndim=2),
    found: wp.array(dtype=wp.bool),
):
    frame, i = wp.tid()
    turned[frame, i] = turns[frame] * points[frame, i]
    found[frame] = ids[frame] == wp.uint64(0xF000000000000003)


def test_vectors_and_matrices_keep_their_frames_and_ids_their_bits():
    turns, points = torch.rand(2, 3, 3), torch.rand(2, 5, 3)
    turned, found = torch.zeros(2, 5, 3), torch.zeros(2, dtype=torch.bool)
    # As a number with a sign the second is negative.
    ids = torch.tensor([3, 0xF000000000000003 - 2**64])
    inputs = [as_ids(ids), as_mat33(turns), as_vec3(points), as_vec3(turned), found]
    launch(_turn, (2, 5), inputs, turned.device)
    torch.testing.assert_close(turned, torch.einsum("fij,fnj->fni", turns, points))
    assert found.tolist() == [False, True]


def test_launching_over_nothing_does_nothing():
    total = torch.zeros(0, 2)
    empty = [as_vec3(torch.zeros(0, 3)), as_vec4(torch.zeros(0, 4)), 1.0, total]
    launch(_add_rows, 0, empty, total.device)


def test_a_strided_tensor_is_refused_rather_than_misread():
    with pytest.raises(RuntimeError):
        as_vec3(torch.rand(3, 5).T)


def test_kernels_that_are_not_in_the_cache_are_announced(tmp_path, monkeypatch):
    """Warp's cache has a folder for each version of a module, with files for each kind of device."""
    monkeypatch.setattr(wp.config, "kernel_cache_dir", str(tmp_path))
    monkeypatch.setattr(warp_launch, "compiles", warp_launch.compiles.__wrapped__)
    (tmp_path / "wp_partnerface.fields.hash_field_0123abc").mkdir()
    assert warp_launch.compiles("partnerface.fields.hash_field", cpu=True)
    (tmp_path / "wp_partnerface.fields.hash_field_0123abc" / "x.cpu115a1a1f.o").touch()
    assert not warp_launch.compiles("partnerface.fields.hash_field", cpu=True)
    assert warp_launch.compiles("partnerface.fields.hash_field", cpu=False)
    (tmp_path / "wp_partnerface.fields.hash_field_0123abc" / "x.sm90.cubin").touch()
    assert not warp_launch.compiles("partnerface.fields.hash_field", cpu=False)
