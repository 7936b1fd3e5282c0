"""The pretended device sees what a GPU would refuse, and lets pass what it would not."""

import copy
import threading

import pytest
import torch

from partnerface import load_avatar
from partnerface.meshes.bvh import cast_rays
from partnerface.meshes.normals import posed_normals
from tests.cuda.pretended_device import pretended_cuda
from tests.cuda.pretended_tensor import DeviceTensor

TRIANGLE = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
FACE = torch.tensor([[0, 1, 2]])


def on_cuda(*size: int) -> torch.Tensor:
    return torch.ones(*size, device="cuda:0")


def test_tensors_lie_on_the_device(cuda):
    made = on_cuda(3)
    assert isinstance(made, DeviceTensor)
    assert made.is_cuda
    for tensor in (made, torch.ones(3).cuda(), made + 1, made.new_zeros(2), torch.arange(3, device="cuda")):
        assert tensor.device == torch.device("cuda:0")
    assert made.cpu().device.type == "cpu"
    torch.testing.assert_close((made.cumsum(0) * torch.tensor(2.0)).cpu(), torch.tensor([2.0, 4.0, 6.0]))


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda x: x * torch.ones(3), id="a tensor made without its device"),
        pytest.param(lambda x: torch.cat([x, torch.ones(1)]), id="one of a list"),
        pytest.param(lambda x: torch.ones(3)[x.long()], id="an index of the device"),
        pytest.param(lambda x: x.index_add(0, torch.tensor([0, 1, 2]), x), id="an index of the CPU"),
        pytest.param(lambda x: torch.rand(3, device="cuda", generator=torch.Generator()), id="a generator"),
        pytest.param(lambda x: x.add_(torch.ones(3)), id="in place"),
        pytest.param(lambda x: posed_normals(x * TRIANGLE.cuda()[None], FACE.int()), id="an array of Warp"),
        pytest.param(
            lambda x: cast_rays(TRIANGLE, FACE, 0.1 * x[None], TRIANGLE[:1].cuda()), id="a mesh of Warp"
        ),
    ],
)
def test_what_does_not_lie_there_is_refused(work):
    with pretended_cuda(), pytest.raises(RuntimeError, match=r"cpu|CPU|elsewhere"):
        work(on_cuda(3))


def test_numpy_is_refused():
    with pretended_cuda(), pytest.raises(TypeError, match="numpy"):
        on_cuda(3).numpy()


def test_where_it_only_notes_work_goes_on(noting_cuda):
    on_cuda(3) + torch.ones(3)
    (_, where), count = noting_cuda.mixing.popitem()
    assert where.startswith("test_what_it_notices.py:")
    assert count == 1


def test_what_belongs_together_is_launched(cuda):
    origins, directions = torch.tensor([[0.1, 0.1, 0.0]]).cuda(), torch.tensor([[0.0, 0.0, 1.0]]).cuda()
    assert cast_rays(TRIANGLE.cuda(), FACE.cuda(), origins, directions).tolist() == [1.0]
    assert posed_normals(TRIANGLE.cuda()[None], FACE.int().cuda()).cpu()[0, 0].tolist() == [0.0, 0.0, 1.0]
    assert cuda.launches.total() == 3


@pytest.mark.parametrize(
    ("work", "waits"),
    [
        (lambda x: float(x.sum()), 1),
        (lambda x: bool((x > 0).all()), 1),
        (lambda x: x.nonzero(), 1),
        (lambda x: x[x > 0.5], 1),
        (lambda x: x[torch.tensor([0])], 1),
        (lambda x: torch.bincount(x.long()), 2),
        (lambda x: x.long().unique(), 1),
        (lambda x: x.repeat_interleave(x.long()), 1),
        (lambda x: torch.linalg.solve(x.diag(), x), 1),
        (lambda x: x.tolist(), 1),
        (lambda x: x.cpu(), 1),
        (lambda x: torch.ones(3).to(x), 1),
        (lambda x: torch.ones(3).pin_memory().to("cuda", non_blocking=True), 0),
        (lambda x: x[torch.zeros(1, dtype=torch.long, device="cuda")] + x.argsort().cumsum(0), 0),
        (lambda x: x.repeat_interleave(x.long(), output_size=3), 0),
        (lambda x: torch.cuda.synchronize(), 1),
    ],
)
def test_waits_are_counted(cuda, work, waits):
    work(on_cuda(3))
    assert cuda.waits.total() == waits


def test_operations_are_counted_that_need_a_kernel(cuda):
    made = torch.empty(3, 2, device="cuda")
    made.view(6)[1:].t().detach()
    assert not cuda.operations
    made.zero_().add(1).sum()
    assert [name for name, _ in cuda.operations] == ["zero_", "add", "sum"]


def test_backward_runs_in_a_thread_of_its_own(cuda):
    threads = []

    class Identity(torch.autograd.Function):
        @staticmethod
        def forward(context, values):
            return values.clone()

        @staticmethod
        def backward(context, gradient):
            threads.append(threading.get_ident())
            return gradient

    values = on_cuda(3).requires_grad_()
    Identity.apply(values).square().sum().backward()
    assert values.grad.cpu().tolist() == [2.0, 2.0, 2.0]
    assert threads != [threading.get_ident()]


def test_work_of_another_stream_needs_a_wait(noting_cuda):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        made = on_cuda(3)
    made + 1
    assert noting_cuda.races.total() == 1
    stream.synchronize()
    made + 1
    assert noting_cuda.races.total() == 1


def test_a_kernel_on_another_stream_than_torch(noting_cuda):
    with torch.cuda.stream(torch.cuda.Stream()):
        vertices, corners = TRIANGLE[None].cuda(), FACE.int().cuda()
        posed_normals(vertices, corners)
    assert not noting_cuda.races
    posed_normals(vertices, corners)
    assert noting_cuda.races


def test_a_tensor_made_without_its_device_deep_inside(fitted, monkeypatch):
    """Warp would hand the host's pointer to the GPU."""
    checkpoint = fitted()
    with pretended_cuda():
        avatar = load_avatar(checkpoint, device="cuda:0")
        view = avatar.default_view().resized(16, 16)
        copy.deepcopy(avatar).render(view)
        full = torch.full
        monkeypatch.setattr(torch, "full", lambda *values, device=None, **options: full(*values, **options))
        with pytest.raises(RuntimeError, match="_sample on cuda:0: jitter lies elsewhere"):
            avatar.render(view)
