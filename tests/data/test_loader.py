"""boildown.data.loader: every order is a function of seed and epoch, and resumes exactly."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from boildown.data.loader import TensorLoader
from boildown.seeds import generator


def loader(n: int = 20, batch_size: int = 4, **changes: Any) -> TensorLoader:
    settings: dict[str, Any] = {"shuffle": True, "seed": 0, "drop_last": True} | changes
    return TensorLoader(torch.arange(n).float()[:, None], torch.arange(n), batch_size, **settings)


def seen(batches: Any) -> list[list[int]]:
    return [y.tolist() for _, y in batches]


def test_inputs_and_targets_stay_together_and_an_epoch_covers_the_set() -> None:
    batches = list(loader())
    assert all(torch.equal(x[:, 0].long(), y) for x, y in batches)
    assert sorted(chain(*seen(batches))) == list(range(20))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    a, b, other = loader(), loader(), loader(seed=1)
    first, second = seen(a), seen(a)
    assert first != second
    assert (seen(b), seen(b)) == (first, second)
    assert seen(other) != first


@pytest.mark.parametrize(
    ("n", "drop_last", "sizes"),
    [
        (10, True, [4, 4]),
        (10, False, [4, 4, 2]),
        (3, True, [3]),
        (3, False, [3]),
        (8, True, [4, 4]),
    ],
)
def test_batch_sizes(n: int, drop_last: bool, sizes: list[int]) -> None:
    batches = loader(n, drop_last=drop_last)
    assert len(batches) == len(sizes)
    assert [len(y) for _, y in batches] == sizes


def test_subset_and_numpy_inputs() -> None:
    inputs = np.arange(12, dtype=np.uint8)[:, None]
    inputs.setflags(write=False)
    subset = torch.tensor([1, 5, 7, 9])
    batches = TensorLoader(
        inputs, torch.arange(12), 3, shuffle=False, seed=0, drop_last=False, subset=subset
    )
    assert seen(batches) == [[1, 5, 7], [9]]
    assert all(x.dtype == torch.uint8 and torch.equal(x[:, 0].long(), y) for x, y in batches)


@pytest.mark.parametrize("at", range(11))
def test_state_names_the_next_batch(at: int) -> None:
    """Stopping at any batch of two epochs, the last of an epoch included."""
    straight = loader()
    expected = seen(straight) + seen(straight)
    stopped = loader()
    got, batches = [], iter(stopped)
    for _ in range(at):
        y = next(batches, None)
        if y is None:
            batches = iter(stopped)
            y = next(batches)
        got.append(y[1].tolist())
    state = stopped.state_dict()
    assert (state["epoch"], state["batch"]) == (at // 5, at % 5)
    resumed = loader()
    resumed.load_state_dict(state)
    while len(got) < 10:
        got += seen(resumed)
    assert got == expected


def test_an_abandoned_epoch_is_not_taken_up_again() -> None:
    a, b = loader(), loader()
    next(iter(a))
    seen(b)
    assert seen(a) == seen(b)


def test_an_unshuffled_loader_always_starts_at_the_front() -> None:
    evaluation = loader(shuffle=False)
    next(iter(evaluation))
    assert seen(evaluation)[0] == [0, 1, 2, 3]


def test_set_epoch_keeps_the_place_within_that_epoch() -> None:
    a, b = loader(), loader()
    expected = seen(a)
    b.load_state_dict({"epoch": 0, "batch": 2})
    batches = iter(b)
    b.batch_sampler.sampler.set_epoch(0)
    assert seen(batches) == expected[2:]
    c = loader()
    c.set_epoch(1)
    assert seen(c) == seen(a)


def test_randomness_of_the_transform_resumes_too() -> None:
    def noise(x: Tensor, g: torch.Generator) -> Tensor:
        return x + torch.rand(x.shape, generator=g)

    straight = [x for x, _ in loader(transform=noise)]
    resumed = loader(transform=noise)
    resumed.load_state_dict({"epoch": 0, "batch": 3})
    assert all(map(torch.equal, (x for x, _ in resumed), straight[3:]))
    assert not torch.equal(straight[0] - straight[0].floor(), straight[1] - straight[1].floor())


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("drop_last", [True, False])
def test_ranks_share_one_order(
    world: int, drop_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = []
    for rank in range(world):
        monkeypatch.setattr("boildown.data.loader.rank_and_world", lambda rank=rank: (rank, world))
        share = loader(22, drop_last=drop_last)
        shares.append(seen(share))
        assert len(share) == len(shares[-1])
    assert len({len(share) for share in shares}) == 1
    assert len({tuple(map(len, share)) for share in shares}) == 1
    everything = [sample for share in shares for batch in share for sample in batch]
    if drop_last:
        assert len(everything) == len(set(everything))
    else:
        assert set(everything) == set(range(22))
        assert len(everything) - 22 < world


def test_more_ranks_than_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boildown.data.loader.rank_and_world", lambda: (0, 4))
    with pytest.raises(ValueError, match="4 ranks cannot each have one of 3 samples"):
        len(loader(3))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="2 inputs but 3 targets"):
        TensorLoader(torch.zeros(2), torch.zeros(3), 1, shuffle=True, seed=0, drop_last=True)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        loader(batch_size=0)
    with pytest.raises(ValueError, match="at least one sample"):
        loader(0)
    with pytest.raises(ValueError, match="batch 5 of epoch 0: this loader has 5"):
        loader().load_state_dict({"epoch": 0, "batch": 5})
    with pytest.raises(ValueError, match="non-negative"):
        generator(-1)


class Recorder(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[list[int]] = []
        self.validated: list[list[int]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        self.seen.append(batch[1].tolist())
        return self.layer(batch[0]).mean()

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.validated.append(batch[1].tolist())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class SaveAt(Callback):
    """Saves a checkpoint in one hook, when `steps` batches have been trained on, and stops."""

    def __init__(self, hook: str, steps: int, path: Path) -> None:
        self.steps, self.path = steps, path
        setattr(self, hook, self.save)

    def save(self, trainer: Trainer, module: Recorder, *_: Any) -> None:
        if trainer.global_step == self.steps and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def fit(
    callbacks: list[Callback], limits: dict[str, Any], resume: Path | None = None
) -> tuple[list[list[int]], list[list[int]]]:
    module = Recorder()
    trainer = Trainer(
        callbacks=callbacks,
        accelerator="cpu",
        num_sanity_val_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        **limits,
    )
    trainer.fit(module, loader(), loader(6, shuffle=False, drop_last=False), ckpt_path=resume)
    return module.seen, module.validated


EVERY = {"check_val_every_n_epoch": None, "val_check_interval": 1}
CASES = {
    "epochs": {"max_epochs": 4},
    "steps": {"max_epochs": -1, "max_steps": 20},
    "short epochs": {"max_epochs": 5, "limit_train_batches": 4},
    "short epochs, steps": {"max_epochs": -1, "max_steps": 20, "limit_train_batches": 4},
}


@pytest.mark.parametrize("limits", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize(
    ("hook", "steps"),
    [
        *(("on_validation_end", steps) for steps in (2, 4, 5, 7, 8, 10)),
        *(("on_train_batch_end", steps) for steps in (2, 4, 5, 7, 8, 10)),
    ],
)
def test_lightning_resumes_with_the_very_next_batch(
    tmp_path: Path, hook: str, steps: int, limits: dict[str, Any]
) -> None:
    straight, validated = fit([], limits | EVERY)
    assert len(straight) == 20
    assert all(batch in ([0, 1, 2, 3], [4, 5]) for batch in validated)
    path = tmp_path / "stopped.ckpt"
    before, _ = fit([SaveAt(hook, steps, path)], limits | EVERY)
    after, _ = fit([], limits | EVERY, path)
    assert before + after == straight
    assert len(before) == steps


@pytest.mark.parametrize("limits", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("epochs", [1, 2])
def test_lightning_resumes_after_a_whole_epoch(
    tmp_path: Path, epochs: int, limits: dict[str, Any]
) -> None:
    straight, _ = fit([], limits)
    path = tmp_path / "stopped.ckpt"
    before, _ = fit(
        [SaveAt("on_train_epoch_end", epochs * limits.get("limit_train_batches", 5), path)], limits
    )
    after, _ = fit([], limits, path)
    assert before + after == straight


def test_lightning_resumes_from_a_resumed_fit(tmp_path: Path) -> None:
    """Its epoch numbers are then ahead of the epochs trained."""
    limits = CASES["short epochs, steps"]
    straight, _ = fit([], limits)
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    got, _ = fit([SaveAt("on_train_epoch_end", 4, first)], limits)
    got += fit([SaveAt("on_train_batch_end", 10, second)], limits, first)[0]
    got += fit([], limits, second)[0]
    assert got == straight


def test_each_epoch_of_a_fit_has_its_own_order() -> None:
    straight, _ = fit([], {"max_epochs": 4})
    assert len({tuple(map(tuple, straight[i : i + 5])) for i in range(0, 20, 5)}) == 4
    assert all(sorted(chain(*straight[i : i + 5])) == list(range(20)) for i in range(0, 20, 5))
