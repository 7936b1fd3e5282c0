import pytest
import torch
from torch.utils.data import Dataset

from partnerface.data.batches.frame_samplers import FrameVisit, ShuffledFrames
from partnerface.data.batches.loader import ResumableLoader


class Echo(Dataset):
    """Serves the visit itself, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __getitem__(self, visit: FrameVisit) -> torch.Tensor:
        self.asked.append(visit.number)
        return torch.tensor([visit.frame, visit.number])


def loader(workers: int) -> ResumableLoader:
    sampler = ShuffledFrames(list(range(5)), visits=14, batch_size=2, seed=3)
    return ResumableLoader(Echo(), sampler, 2, num_workers=workers, persistent_workers=workers > 0)


def epoch_of(source: ResumableLoader, epoch: int) -> list:
    source.batch_sampler.sampler.set_epoch(epoch)
    return [batch.tolist() for batch in source]


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_equals_the_uninterrupted_order(workers):
    whole = loader(workers)
    expected = [epoch_of(whole, epoch) for epoch in range(3)]
    stopped = loader(workers)
    assert epoch_of(stopped, 0) == expected[0]
    stopped.batch_sampler.sampler.set_epoch(1)
    batches = iter(stopped)
    head = [next(batches).tolist() for _ in range(3)]
    state = stopped.state_dict()
    resumed = loader(workers)
    resumed.load_state_dict(state)
    assert head + epoch_of(resumed, 1) == expected[1]
    assert epoch_of(resumed, 2) == expected[2]


def test_what_is_skipped_is_not_loaded():
    resumed = loader(0)
    resumed.load_state_dict({"position": 5})
    epoch_of(resumed, 0)
    assert resumed.dataset.asked == [10, 11, 12, 13]


def test_a_state_from_the_end_of_an_epoch_starts_the_next():
    first = loader(0)
    epoch_of(first, 0)
    resumed = loader(0)
    resumed.load_state_dict(first.state_dict())
    assert epoch_of(resumed, 1) == epoch_of(loader(0), 1)
