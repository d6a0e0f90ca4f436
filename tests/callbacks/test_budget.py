"""The ledger: what zeros would save, when a budget ends, what other work costs."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from overflowing import ScaledOnly, fit
from torch import nn

from boildown.callbacks.budget import ComputeBudget, inputs_of, progress_of
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.callbacks.prune import Prune
from boildown.callbacks.record import Record
from boildown.callbacks.save import SaveNewest
from boildown.schedule import Constant, Cubic, OneShot

PER_BATCH = 6 * 8 * (12 * 16 + 16 * 3) - 2 * 8 * 12 * 16  # all of it in the two matrices


def test_dense_training_credits_what_it_charges() -> None:
    budget = ComputeBudget(steps=10)
    fit([budget])
    assert budget.flops_credited == budget.flops == 10 * PER_BATCH
    assert (budget.skipped_steps, budget.wasted_flops) == (0, 0)


def test_a_tenth_of_the_weights_credits_a_tenth() -> None:
    budget = ComputeBudget(steps=10)
    fit([budget, Prune(sparsity=0.9, schedule=OneShot(), begin=0, end=0, scope="layer")])
    assert budget.flops == 10 * PER_BATCH
    assert budget.flops_credited == pytest.approx(0.1 * budget.flops, rel=0.01)


def test_credit_follows_the_masks_of_each_layer() -> None:
    budget = ComputeBudget(steps=40, phases={"dense": 0.0, "prune": 0.5})
    prune = Prune(keep={"0": 0.25}, schedule=OneShot(), begin=0.5, end=0.5)
    fit([budget, prune])
    first, second = 2 * 2 * 8 * 12 * 16, 3 * 2 * 8 * 16 * 3
    assert budget.by_phase["dense"]["flops_credited"] == 20 * PER_BATCH
    assert budget.by_phase["prune"]["flops_credited"] == 20 * (0.25 * first + second)


@pytest.mark.parametrize("total", [8448.0, 1e5, 333_333.3])
@pytest.mark.parametrize("bad", [(), (2, 3, 7)])
def test_a_run_ends_within_a_step_of_its_budget(total: float, bad: tuple[int, ...]) -> None:
    budget = ComputeBudget(flops=total)
    fit([budget, Prune(sparsity=0.9, schedule=Cubic(), begin=0, end=0.5)], bad)
    assert 0 <= budget.flops - total < PER_BATCH
    assert budget.progress == 1.0


def test_the_last_step_of_a_budget_may_be_a_skipped_one() -> None:
    budget = ComputeBudget(flops=10 * PER_BATCH)
    fit([budget], bad=(9,))
    assert (budget.flops, budget.progress) == (10 * PER_BATCH, 1.0)
    assert (budget.steps, budget.skipped_steps) == (9, 1)


class Plain(LightningModule):
    """Batches of inputs and targets, one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(12, 3)

    def forward(self, inputs: Any) -> torch.Tensor:
        logits: torch.Tensor = self.model(inputs)
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class OfBatch(Plain):
    """Its forward pass takes the whole batch."""

    def forward(self, batch: Any) -> torch.Tensor:
        inputs, _ = batch
        return super().forward(inputs)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self(batch), batch[1])


class OfNamed(Plain):
    """Its batches have names of samples before the tensors."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self(batch["x"]), batch["y"])


class Keeping(Plain):
    """Its forward pass keeps the logits, which a hook reads."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.logits = super().forward(inputs)
        return self.logits

    def on_train_batch_end(self, *_: Any) -> None:
        assert self.logits.sum().item() != 0.0


class Manual(Plain):
    """Steps by itself, each optimizer after every so many batches."""

    def __init__(self, every: int = 1, optimizers: int = 1) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.every, self.number = every, optimizers
        self.trained = 0

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        self.manual_backward(super().training_step(batch, batch_idx))
        self.trained += 1
        if self.trained % self.every == 0:
            own = self.optimizers()
            for optimizer in own if isinstance(own, list) else [own]:
                optimizer.step()
                optimizer.zero_grad()

    def configure_optimizers(self) -> Any:
        parts = (
            [[self.model.weight], [self.model.bias]] if self.number == 2 else [self.parameters()]
        )
        return [torch.optim.SGD(part, lr=0.1) for part in parts]


class Watch(Callback):
    """Progress before each batch, and at the end."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.seen.append(progress_of(trainer))

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        self.seen.append(progress_of(trainer))


def trainer_of(callbacks: list[Callback], **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        **({"max_epochs": -1, "enable_checkpointing": False} | options),
    )


NO_VALIDATION = "ignore:You defined a `validation_step` but"


class Batches(list[Any]):
    """A loader: Lightning takes a plain list for several."""


TENSORS = Batches([(torch.ones(8, 12), torch.zeros(8, dtype=torch.int64))] * 4)


@pytest.mark.filterwarnings(NO_VALIDATION)
def test_a_forward_that_cannot_be_counted_is_told_once() -> None:
    budget = ComputeBudget(steps=6)
    with pytest.warns(UserWarning, match="cannot count the FLOPs of OfBatch") as told:
        trainer_of([budget]).fit(OfBatch(), Batches([*TENSORS, tuple(t[:4] for t in TENSORS[0])]))
    assert len([w for w in told if "FLOPs" in str(w.message)]) == 1
    assert (budget.steps, budget.flops, budget.flops_credited) == (6, 0, 0)
    with pytest.raises(ValueError, match=r"cannot count.*alone.*steps or epochs"):
        trainer_of([ComputeBudget(flops=1e6)]).fit(OfBatch(), TENSORS)


@pytest.mark.filterwarnings(NO_VALIDATION)
def test_names_before_the_tensors_are_no_inputs() -> None:
    budget = ComputeBudget(steps=2)
    named = Batches({"id": ["s0", "s1"], "x": x, "y": y} for x, y in TENSORS)
    trainer_of([budget]).fit(OfNamed(), named)
    assert budget.flops == 2 * (2 * 2 * 8 * 12 * 3)


def test_a_batch_without_tensors_is_refused_by_its_type() -> None:
    for batch in ("text", ["a", {"b": b"c"}], 3, []):
        with pytest.raises(
            ValueError, match=f"no tensor in a batch of type {type(batch).__name__}"
        ):
            inputs_of(batch)


@pytest.mark.filterwarnings(NO_VALIDATION)
def test_counting_leaves_the_module_as_it_was() -> None:
    trainer_of([ComputeBudget(steps=2)]).fit(Keeping(), TENSORS)


def test_a_validation_of_its_own_leaves_nothing(tmp_path: Path) -> None:
    record, newest = Record(), SaveNewest(tmp_path / "newest.ckpt")
    callbacks = [
        ComputeBudget(epochs=2), ScheduleLearningRate(shape=Constant()), record, newest,
    ]  # fmt: skip
    trainer = trainer_of(callbacks, enable_checkpointing=True, default_root_dir=tmp_path)
    task = Plain()
    trainer.validate(task, TENSORS, verbose=False)
    assert record.rows == []
    assert not newest.path.exists()
    trainer.fit(task, TENSORS, TENSORS)
    rows, saved = list(record.rows), newest.path.read_bytes()
    trainer.validate(task, TENSORS, verbose=False)
    assert len(rows) == 2
    assert record.rows == rows
    assert newest.path.read_bytes() == saved


@pytest.mark.filterwarnings(NO_VALIDATION)
def test_a_second_fit_over_a_budget_is_refused_or_told_to_go_on() -> None:
    budget = ComputeBudget(steps=6)
    trainer_of([budget], max_steps=4).fit(Plain(), TENSORS)
    with pytest.raises(ValueError, match=r"paid for a fit already \(4 of 6 steps\).*go_on\(\)"):
        trainer_of([budget]).fit(Plain(), TENSORS)
    budget.go_on()
    trainer_of([budget]).fit(Plain(), TENSORS)
    assert (budget.steps, budget.progress) == (6, 1.0)


@pytest.mark.filterwarnings(NO_VALIDATION)
@pytest.mark.parametrize("task", [Manual(every=4), Manual(every=2, optimizers=2)])
def test_an_epoch_is_its_batches_whoever_steps(task: Manual) -> None:
    budget, watch = ComputeBudget(epochs=3), Watch()
    trainer_of([budget, watch]).fit(task, TENSORS)
    assert (task.trained, budget.epochs) == (12, 3.0)
    group = task.every
    assert watch.seen == pytest.approx([i // group * group / 12 for i in range(13)])


@pytest.mark.filterwarnings(NO_VALIDATION)
@pytest.mark.parametrize("budgeted", [True, False])
def test_accumulation_may_change_on_the_way(budgeted: bool) -> None:
    watch, grow = Watch(), GradientAccumulationScheduler({0: 1, 2: 3})
    callbacks = [*([ComputeBudget(epochs=4)] if budgeted else []), watch, grow]
    trainer_of(callbacks, max_epochs=-1 if budgeted else 4).fit(Plain(), TENSORS)
    done = [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 11, 12, 12, 12, 15, 16]
    assert watch.seen == pytest.approx([batches / 16 for batches in done])


@pytest.mark.filterwarnings(NO_VALIDATION)
@pytest.mark.parametrize("limits", [{"max_epochs": 4}, {"max_epochs": 9, "max_steps": 32}])
def test_without_a_budget_two_optimizers_do_not_halve_the_training(limits: dict[str, int]) -> None:
    watch = Watch()
    trainer_of([watch], **limits).fit(Manual(optimizers=2), TENSORS)
    assert watch.seen == pytest.approx([i / 16 for i in range(17)])


def test_without_a_length_epochs_are_no_end() -> None:
    class Endless(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(TENSORS)

    def fit_endless(**limits: int) -> list[float]:
        watch = Watch()
        loader = torch.utils.data.DataLoader(Endless(), batch_size=None)
        trainer_of([watch], **limits).fit(Plain(), loader)
        return watch.seen

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert fit_endless(max_epochs=2, max_steps=4)[-1] == 1.0
        assert fit_endless(max_epochs=2, limit_train_batches=2)[-1] == 1.0
        with pytest.raises(ValueError, match=r"loader has no length, so max_epochs=2"):
            fit_endless(max_epochs=2)
        with pytest.raises(ValueError, match="give max_steps or max_epochs"):
            fit_endless()


class Calibrate(Callback):
    """Does work of its own before the sixth batch."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == 5:
            clock = next(c for c in trainer.callbacks if isinstance(c, ComputeBudget))  # type: ignore[attr-defined]
            clock.charge(2 * PER_BATCH)


def test_other_work_is_booked_to_its_phase() -> None:
    budget = ComputeBudget(flops=20 * PER_BATCH, phases={"dense": 0.0, "rest": 0.25})
    fit([budget, Calibrate()])
    assert (budget.flops, budget.steps) == (20 * PER_BATCH, 18)
    assert budget.by_phase["rest"]["flops"] == 15 * PER_BATCH


def test_epochs_and_steps_do_not_count_skipped_steps() -> None:
    for unit in ({"epochs": 2.0}, {"steps": 16}):
        budget = ComputeBudget(**unit)  # type: ignore[arg-type]
        fit([budget], bad=(1, 5, 6), plugin=ScaledOnly())
        assert (budget.steps, budget.batches) == (16, 19)


def test_a_state_of_other_later_phases_is_gone_on_from() -> None:
    cut = ComputeBudget(steps=10, phases={"dense": 0.0, "factored": 0.3})
    cut.by_phase["dense"]["flops"] = 7.0
    pulled = ComputeBudget(steps=10, phases={"dense": 0.0, "lowrank": 0.3, "factored": 0.4})
    pulled.load_state_dict(cut.state_dict())
    assert list(pulled.by_phase) == ["dense", "lowrank", "factored"]
    assert pulled.by_phase["dense"]["flops"] == 7.0
    assert pulled.by_phase["lowrank"]["flops"] == 0.0
