"""Kernels write into torch's memory."""

import pytest
import torch
import warp as wp

from partnerface.compute.warp_launch import as_vec3, as_vec4, launch


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


def test_launching_over_nothing_does_nothing():
    total = torch.zeros(0, 2)
    empty = [as_vec3(torch.zeros(0, 3)), as_vec4(torch.zeros(0, 4)), 1.0, total]
    launch(_add_rows, 0, empty, total.device)


def test_a_strided_tensor_is_refused_rather_than_misread():
    with pytest.raises(RuntimeError):
        as_vec3(torch.rand(3, 5).T)
