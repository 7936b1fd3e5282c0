import torch

from partnerface.data.batches.ray_batch import RayBatch
from tests.views import random_view, tensors_of


def batch(frames: list[int], seed: int) -> RayBatch:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.rand(len(frames), 3, *shape, generator=generator)

    return RayBatch(
        random_view(len(frames), seed),
        torch.tensor(frames),
        random(2),
        random(3),
        random(),
        random().byte(),
        random(3),
        torch.ones(len(frames), 3),
    )


def test_target_by_hand():
    rays = batch([0], 0)
    rays.rgb[0, 0], rays.background[0, 0] = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0.0, 0.5, 1.0])
    for alpha, expected in ((1.0, [1, 0.5, 0]), (0.0, [0, 0.5, 1]), (0.25, [0.25, 0.5, 0.75])):
        rays.alpha[0, 0] = alpha
        assert rays.target()[0, 0].tolist() == expected


def test_concatenation_keeps_frames_together():
    first, second = batch([4], 1), batch([7, 9], 2)
    joined = RayBatch.concatenate([first, second])
    assert joined.frame_index.tolist() == [4, 7, 9]
    assert torch.equal(joined.target()[1:], second.target())
    assert joined.region.dtype == torch.uint8


def test_to_moves_every_field():
    moved = batch([1], 0).to("meta")
    values = {**vars(moved), **tensors_of(moved.view)}
    del values["view"]
    assert all(value.device.type == "meta" for value in values.values())


def test_a_selection_undoes_a_concatenation():
    first, second = batch([4], 1), batch([7, 9], 2)
    joined = RayBatch.concatenate([first, second])
    for part, places in ((first, [0]), (second, [1, 2])):
        selected = joined.select(torch.tensor(places))
        for name, value in vars(part).items():
            if name != "view":
                assert torch.equal(getattr(selected, name), value), name
        # One person: the identity of the joined views is that of the first.
        for name, value in tensors_of(part.view).items():
            if name != "identity":
                assert torch.equal(tensors_of(selected.view)[name], value), name
