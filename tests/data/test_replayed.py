"""boildown.data.replayed: one order for each seed and epoch, gone on with in the middle."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from boildown.data.replayed import Replayed

NUMBERS = TensorDataset(torch.arange(23))


def replayed(seed: int = 0, **options: Any) -> Replayed:
    return Replayed(DataLoader(NUMBERS, **({"batch_size": 4, "shuffle": True} | options)), seed)


def numbers(loader: Any) -> list[list[int]]:
    return [batch.tolist() for (batch,) in loader]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"drop_last": True},
        {"shuffle": False},
        {"num_workers": 1, "multiprocessing_context": "fork"},
        {"shuffle": False, "sampler": RandomSampler(NUMBERS, replacement=True, num_samples=23)},
    ],
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_epoch_goes_on_where_it_was(options: dict[str, Any]) -> None:
    whole = replayed(**options)
    epochs = [numbers(whole) for _ in range(2)]
    assert epochs[0] != epochs[1] or options.get("shuffle") is False
    torch.manual_seed(5)  # whatever else draws
    begun = replayed(**options)
    batches = iter(begun)
    first = [next(batches)[0].tolist() for _ in range(3)]
    again = replayed(**options)
    again.load_state_dict(begun.state_dict())
    torch.manual_seed(6)
    before = torch.get_rng_state()
    assert first + numbers(again) == epochs[0]
    assert torch.equal(torch.get_rng_state(), before)
    assert numbers(again) == epochs[1]
    assert numbers(replayed(1, **options)) != epochs[0] or options.get("shuffle") is False


class Noisy(Dataset[Any]):
    """Draws from the global generator for each sample."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        return index + torch.rand(())


def test_random_transforms_go_on_too() -> None:
    def drawn(loader: Replayed, count: int) -> list[list[float]]:
        batches = iter(loader)
        return [next(batches).tolist() for _ in range(count)]

    def make() -> Replayed:
        return Replayed(DataLoader(Noisy(), batch_size=3, shuffle=True), 0)

    torch.manual_seed(0)
    whole = drawn(make(), 4)
    torch.manual_seed(0)
    begun = make()
    first = drawn(begun, 2)
    state, random = begun.state_dict(), torch.get_rng_state()
    again = make()
    torch.manual_seed(1)
    again.load_state_dict(state)
    torch.set_rng_state(random)
    assert first + drawn(again, 2) == whole


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batches(world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = numbers(replayed())
    for rank in range(world):
        monkeypatch.setattr(
            "boildown.data.replayed.rank_and_world", lambda rank=rank: (rank, world)
        )
        assert numbers(replayed()) == whole[rank::world][: len(whole) // world]
        own = DistributedSampler(NUMBERS, world, rank)
        assert len(replayed(shuffle=False, sampler=own)) == len(DataLoader(NUMBERS, 4, sampler=own))


def test_loaders_without_a_length_or_batches_are_refused() -> None:
    class Endless(IterableDataset[Any]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(5))

    with pytest.raises(ValueError, match="needs a length"):
        Replayed(DataLoader(Endless(), batch_size=2), 0)
    with pytest.raises(ValueError, match="at least one batch"):
        Replayed(DataLoader(TensorDataset(torch.ones(2)), batch_size=4, drop_last=True), 0)
