"""Prune and ShareWeights in anybody's Trainer: what they hold, what they refuse, who may win."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import fits
import pytest
import torch
from fits import drawn, layers
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from safetensors.torch import load_file
from torch import nn

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.constraint import BrokenConstraintError
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.callbacks.prune import Prune
from boildown.callbacks.save import SaveDense
from boildown.callbacks.share import ShareWeights
from boildown.data.loader import TensorLoader
from boildown.prune.criteria import taylor, wanda
from boildown.schedule import Constant, Cubic, OneShot, Rounds
from boildown.tasks.classification import Classification

fit = partial(fits.fit, max_epochs=4)
CUT: dict[str, Any] = {"schedule": OneShot(), "begin": 0.5, "end": 0.5}


def zeros(model: nn.Module) -> float:
    weights = torch.cat([p.detach().flatten() for p in model.parameters() if p.ndim > 1])
    return float((weights == 0).float().mean())


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.5),
    ],
)
def test_zeros_hold_through_momentum_and_decay(optimizer: Callable[..., Any]) -> None:
    prune = Prune(sparsity=0.75, schedule=Cubic(), begin=0.2, end=0.8, check="step")
    _, model = fit([prune], optimizer)
    assert zeros(model) == 0.75 == prune.sparsity
    assert (model[0].bias != 0).all()  # type: ignore[index]


@pytest.mark.parametrize("hook", ["setup", "configure_model"])
def test_a_network_that_is_built_when_the_fit_begins(hook: str) -> None:
    class Late(Classification):
        def build(self, **_: Any) -> None:
            self.model.extend(layers() if not len(self.model) else [])  # type: ignore[operator]

    setattr(Late, hook, Late.build)
    _, model = fit(
        [Prune(sparsity=0.5, **CUT), ShareWeights(bits=2, begin=0.5)],
        make=Late,
        model=nn.Sequential(),
    )
    assert zeros(model) == 0.5
    assert all(len(p.unique()) <= 4 + 1 for p in model.parameters() if p.ndim > 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda exclude: Prune(sparsity=0.5, exclude=exclude, **CUT),
        lambda exclude: ShareWeights(bits=2, begin=0.5, exclude=exclude),
    ],
)
@pytest.mark.parametrize(
    ("exclude", "frozen", "says"),
    [
        (["*"], [], r"model\.0\.weight, model\.2\.weight \(\w+\.exclude\)$"),
        (["2"], [0], r"2\.weight \(\w+\.exclude\), model\.0\.weight \(no optimizer trains it\)"),
        ([], [0, 2], r"model\.0\.weight, model\.2\.weight \(no optimizer trains it\)"),
    ],
)
def test_nothing_left_to_hold_is_refused(
    make: Callable[..., Callback], exclude: list[str], frozen: list[int], says: str
) -> None:
    model = nn.Sequential(*layers())
    for index in frozen:
        model[index].weight.requires_grad_(False)
    with pytest.raises(ValueError, match=rf"no weight is left.*{says}"):
        fit([make(exclude)], model=model)


@pytest.mark.filterwarnings("ignore:.*weights_only.*")
def test_two_of_a_kind_hold_different_tensors(tmp_path: Path) -> None:
    rewound: dict[str, Any] = {"rewind": "weights", "schedule": OneShot(), "end": 0.8}
    prunes = [
        Prune(keep={"0": 0.5}, begin=0.2, end=0.2, schedule=OneShot(), check="step"),
        Prune(keep={"2": 0.25}, begin=0.5, name="late", **rewound),
    ]
    shares = [
        ShareWeights(bits={"0": 1}, begin=0.8),
        ShareWeights(bits={"2.weight": 2}, begin=0.9, name="late"),
    ]

    class Look(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            prunes[0].verify(pl_module)  # after the other has rewound, before the step

    trainer, model = fit([*prunes, *shares, Look()])
    assert [prune.sparsity for prune in prunes] == [0.5, 0.75]
    assert {"prune/sparsity", "prune/late/sparsity"} <= set(trainer.callback_metrics)
    assert [len(model[i].weight.unique()) for i in (0, 2)] == [2 + 1, 4 + 1]  # type: ignore[index]
    trainer.save_checkpoint(tmp_path / "both.ckpt")
    states = torch.load(tmp_path / "both.ckpt", weights_only=True)["callbacks"]
    assert set(states) >= {"Prune", "Prune(late)", "ShareWeights", "ShareWeights(late)"}
    for make in (
        lambda **name: Prune(sparsity=0.5, **CUT, **name),
        lambda **name: ShareWeights(bits=2, begin=0.5, **name),
    ):
        with pytest.raises(ValueError, match=r"model\.0\.weight would be held by two"):
            fit([make(), make(name="other")])


def test_scores_may_be_negative() -> None:
    prune = Prune(
        sparsity=0.5,
        schedule=Cubic(),
        begin=0.0,
        end=0.9,
        criterion=lambda weights, _: {n: -100 * w.detach().abs() for n, w in weights.items()},
    )
    fit([prune])
    assert prune.sparsity == 0.5


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
@pytest.mark.parametrize("criterion", [taylor, wanda])
def test_evidence_is_taken_in_the_dtype_of_the_training(criterion: Any, precision: str) -> None:
    prune = Prune(sparsity=0.5, criterion=criterion, calibration=lambda: [drawn()], **CUT)
    _, model = fit([prune], precision=precision)
    assert prune.reached
    assert zeros(model) == pytest.approx(0.5, abs=0.01)


def test_layers_by_pattern() -> None:
    _, model = fit([Prune(keep={"0": 0.25, "2": 0.5}, **CUT)])
    assert float((model[0].weight != 0).float().mean()) == 0.25  # type: ignore[index]
    assert float((model[2].weight != 0).float().mean()) == 0.5  # type: ignore[index]


class Noise(Callback):
    """Writes to a weight behind everybody's back, after the last step before a validation."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == 24:
            pl_module.model[0].weight.data += torch.rand(16, 12)


@pytest.mark.parametrize(
    "technique", [lambda: Prune(sparsity=0.5, **CUT), lambda: ShareWeights(bits=2, begin=0.5)]
)
def test_a_break_stops_the_run_and_names_the_layer(technique: Callable[[], Callback]) -> None:
    with pytest.raises(BrokenConstraintError, match=r"model\.0\.weight"):
        fit([technique(), Noise()])


def test_a_divergence_after_clustering_is_called_one() -> None:
    class Diverge(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == 20:
                pl_module.model[0].weight.grad.fill_(torch.nan)

    says = r"model\.0\.weight holds NaN or infinity: the training has diverged; lower"
    with pytest.raises(ValueError, match=says):
        fit([ShareWeights(bits=2, begin=0.5), Diverge()])
    model = nn.Sequential(*layers())
    model[0].weight.data[0, 0] = torch.nan  # type: ignore[operator]
    with pytest.raises(ValueError, match=says):
        fit([ShareWeights(bits=2, begin=0.0)], model=model)


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: Prune(sparsity=0.5, **CUT, **k),
        lambda **k: ShareWeights(bits=2, begin=0.5, **k),
    ],
)
def test_sparse_gradients_are_refused(make: Callable[..., Callback]) -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.EmbeddingBag(10, 8, sparse=True), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.words(x.abs().long()))

    def sgd(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1)

    with pytest.raises(ValueError, match=r"model\.words\.weight is a sparse.*sparse=False"):
        fit([make()], sgd, model=Bag())
    fit([make(exclude=["model.words.weight"])], sgd, model=Bag())


HOLDING = [
    lambda: Prune(sparsity=0.5, **CUT),
    lambda: ShareWeights(bits=2, begin=0.5, rounds=2, dtype="float16"),
]


@pytest.mark.parametrize("technique", HOLDING)
def test_another_network_is_validated_in_peace(technique: Callable[[], Callback]) -> None:
    trainer, _ = fit([technique()])
    dense = Classification(nn.Sequential(*layers()), optimizer=torch.optim.Adam, num_classes=3)
    inputs, targets = drawn()
    loader = TensorLoader(inputs, targets, 64, shuffle=False, seed=0, drop_last=False)
    assert "val/loss" in trainer.validate(dense, loader, verbose=False)[0]


@pytest.mark.parametrize("technique", HOLDING)
def test_another_network_needs_another_callback(technique: Callable[[], Callback]) -> None:
    constraint = technique()
    _, model = fit([constraint])
    fit([constraint], model=model)
    narrow = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    unlike = nn.Sequential(nn.ReLU(), nn.Linear(12, 3))
    for other in (None, narrow, unlike):
        with pytest.raises(ValueError, match=r"does not fit the weights .*give each network a new"):
            fit([constraint], model=other)


@pytest.mark.parametrize(
    "average", [lambda: EMAWeightAveraging(), lambda: StochasticWeightAveraging(swa_lrs=0.1)]
)
def test_averaging_is_refused_with_the_reason(average: Callable[[], Callback]) -> None:
    with pytest.raises(ValueError, match="averages weights from before and after a cut"):
        fit([Prune(sparsity=0.5, **CUT), average()])


@pytest.mark.filterwarnings("ignore:.*weights_only.*")
def test_the_best_model_is_a_compressed_one(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, monitor="val/loss", save_last=True)
    prune = Prune(sparsity=0.9, **(CUT | {"begin": 0.6, "end": 0.6}))
    fit([prune, best], enable_checkpointing=True, max_epochs=8)
    for path in (best.best_model_path, best.last_model_path):
        weight = torch.load(path, weights_only=True)["state_dict"]["model.0.weight"]
        assert (weight == 0).float().mean() > 0.8


def test_early_stopping_waits_for_the_target() -> None:
    stop = EarlyStopping("val/loss", patience=1, min_delta=10.0)  # nothing is ever good enough
    prune = Prune(sparsity=0.5, **CUT)
    trainer, model = fit([prune, stop], max_epochs=20)
    assert zeros(model) == 0.5
    assert 10 <= trainer.current_epoch < 20


def test_a_threshold_counts_again_once_both_constraints_hold() -> None:
    stop = EarlyStopping("val/loss", patience=1000, stopping_threshold=1e9)  # met at once
    trainer, _ = fit(
        [Prune(sparsity=0.5, **CUT), ShareWeights(bits=2, begin=0.7), stop], max_epochs=20
    )
    assert stop.stopping_threshold == 1e9
    assert 14 <= trainer.current_epoch < 20


@pytest.mark.parametrize("kind", ["mean", "sum"])
def test_a_centroid_learns_like_one_parameter(kind: Literal["mean", "sum"]) -> None:
    weight = torch.tensor([1.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    gradient = torch.tensor([0.1, 0.2, -0.3, 0.4, 0.5, 9.0])
    codes = torch.tensor([0, 0, 1, 1, 1])

    class Pulled(Classification):
        def training_step(self, *_: Any) -> torch.Tensor:
            loss: torch.Tensor = (self.model.weight * gradient).sum()  # type: ignore[operator]
            return loss

    def adam(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=0.1)

    module = nn.Linear(6, 1, bias=False)
    module.weight.data.copy_(weight[None])
    fit(
        [ShareWeights(bits=1, begin=0.0, gradient=kind)],
        adam, Pulled, module, max_epochs=-1, max_steps=5, limit_val_batches=0,
    )  # fmt: skip

    alone = nn.Parameter(torch.tensor([1.0, 2.0]))
    reference = adam([alone])
    for _ in range(5):
        alone.grad = torch.zeros(2).index_add_(0, codes, gradient[:5])
        if kind == "mean":
            alone.grad /= torch.tensor([2.0, 3.0])
        reference.step()
    expected = torch.cat([alone.detach()[codes], torch.zeros(1)])
    torch.testing.assert_close(module.weight.detach()[0], expected, rtol=0, atol=0)


def test_a_tensor_that_is_zero_when_clustered_stays_zero() -> None:
    model = nn.Sequential(*layers())
    nn.init.zeros_(model[0].weight)  # type: ignore[arg-type]
    nn.init.ones_(model[0].bias)  # type: ignore[arg-type]
    share = ShareWeights(bits=2, begin=0.0, check="step")
    fit([share], model=model)
    assert share.reached
    assert not model[0].weight.count_nonzero()  # type: ignore[operator]


def test_centroids_that_are_not_tuned_stay_through_decay() -> None:
    seen = []

    class Look(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            if share.reached:
                seen.append(pl_module.model[0].weight.detach().clone())

    share = ShareWeights(bits=2, begin=0.5, tune=False)
    _, model = fit([share, Look()], lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.5))
    assert len(seen) == 16
    assert all(torch.equal(weight, model[0].weight) for weight in seen)


def test_clusters_that_the_file_cannot_tell_apart_are_one() -> None:
    model = nn.Sequential(*layers())
    weight = model[0].weight
    nn.init.trunc_normal_(weight, 1.0, 0.02)  # type: ignore[arg-type]
    share = ShareWeights(bits=6, begin=0.0, dtype="bfloat16", check="step")
    foreseen = share.preview({"weight": weight})["weight"].unique()  # type: ignore[dict-item]
    assert len(foreseen) < 2**6
    fit([share], model=model)
    assert len(share.ties["model.0.weight"].keepers) == len(foreseen)
    assert len(weight.unique()) <= len(foreseen)  # type: ignore[operator]


def test_rounds_let_go_and_cluster_again() -> None:
    tied: dict[int, bool] = {}

    class Look(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            weight = pl_module.model[0].weight
            tied[trainer.global_step] = len(weight.unique()) <= 4

    fit([ShareWeights(bits=2, begin=0.2, end=1.0, rounds=2, free=0.5), Look()])
    # 32 steps: the first round from 0.2, free from 0.4, the second round from 0.6
    assert [step for step, held in tied.items() if held] == [*range(8, 14), *range(21, 33)]


def test_survivors_are_rewound_to_their_early_values() -> None:
    early: dict[str, torch.Tensor] = {}

    class Look(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == 8:
                early["then"] = pl_module.model[0].weight.detach().clone()
            if trainer.global_step == 16:
                early["after"] = pl_module.model[0].weight.detach().clone()

    look = Look()
    fit([Prune(sparsity=0.5, rewind="weights", rewind_to=0.25, **CUT), look])
    kept = early["after"] != 0
    assert 0 < int(kept.sum()) < kept.numel()
    assert torch.equal(early["after"][kept], early["then"][kept])


@pytest.mark.filterwarnings("ignore:.*weights_only.*")
def test_one_shot_cuts_once_at_the_beginning(tmp_path: Path) -> None:
    model = nn.Sequential(*layers())
    start = model[0].weight.detach().clone()  # type: ignore[operator]
    best = ModelCheckpoint(tmp_path, monitor="val/loss")
    prune = Prune(sparsity=0.5, schedule=OneShot(), begin=0.25, end=1.0, rewind="weights")
    fit([prune, best], model=model, enable_checkpointing=True)
    kept = model[0].weight != 0
    assert prune.sparsity == 0.5
    assert not torch.equal(model[0].weight[kept], start[kept])  # type: ignore[index]
    weight = torch.load(best.best_model_path, weights_only=True)["state_dict"]["model.0.weight"]
    assert torch.equal(weight != 0, kept)


def test_learning_rate_rewinding_restarts_at_each_round() -> None:
    rates = ScheduleLearningRate(shape=Constant())
    prune = Prune(sparsity=0.5, schedule=Rounds(2), begin=0.5, end=1.0, rewind="learning_rate")
    fit([rates, prune])
    assert rates.restarts == [0.5, 0.75]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Prune(sparsity=1.5, **CUT), "sparsity must be a number in"),
        (lambda: Prune(keep={"fc1": 1.5}, **CUT), r"keep\['fc1'\] must be in \(0, 1\], got 1.5"),
        (lambda: Prune(sparsity=0.5, keep={"a": 0.5}, **CUT), "and not both"),
        (
            lambda: Prune(sparsity=0.5, schedule=Cubic(), begin=0.9, end=0.1),
            "begin = 0.9 must lie from 0",
        ),
        (
            lambda: Prune(sparsity=0.5, schedule=Cubic(), begin=0.2, end=1.0, rewind="weights"),
            "needs training after the last cut, .* begin=0.2 end=1.0; give an earlier",
        ),
        (lambda: ShareWeights(bits=0, begin=0.5), "from 1 to 16, got 0"),
        (lambda: ShareWeights(bits={"a": 40}, begin=0.5), "got 40 for 'a'"),
        (lambda: ComputeBudget(steps=3, epochs=1), "exactly one of"),
        (lambda: ComputeBudget(epochs=0), "must be positive"),
        (lambda: ComputeBudget(steps=3, phases={"a": 0.0, "b": 0.5, "c": 0.2}), "overlap"),
        (lambda: fit([Prune(keep={"nosuch": 0.5}, **CUT)]), "'nosuch' matches no tensor"),
        (
            lambda: fit([Prune(sparsity=0.5, **CUT), ShareWeights(bits=4, begin=0.4)]),
            "the phases overlap",
        ),
        (
            lambda: fit([ShareWeights(bits=4, begin=0.5), Prune(sparsity=0.5, **CUT)]),
            "comes before Prune in the list of callbacks.* list Prune first",
        ),
    ],
)
def test_bad_settings_are_named(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_the_dense_file_is_of_this_training(tmp_path: Path) -> None:
    path = tmp_path / "dense.safetensors"
    path.write_bytes(b"left by another run")
    fit([ComputeBudget(steps=4), SaveDense(path, 0.5)], max_epochs=-1)
    assert set(load_file(path)) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_a_lost_dense_file_is_not_made_up(tmp_path: Path) -> None:
    saved = SaveDense(tmp_path / "dense.safetensors", 0.5)
    fit([ComputeBudget(steps=4), saved], max_epochs=-1)
    saved.path.unlink()
    with pytest.raises(FileNotFoundError, match=r"dense\.safetensors.*another directory"):
        SaveDense(saved.path, 0.5).load_state_dict(saved.state_dict())


@pytest.mark.parametrize(("accumulate", "steps"), [(3, 9), (16, 3)])
def test_an_epochs_incomplete_last_step_counts(accumulate: int, steps: int) -> None:
    budget = ComputeBudget(epochs=3)
    trainer, _ = fit([budget], max_epochs=-1, accumulate_grad_batches=accumulate)
    assert budget.steps == steps
    assert budget.batches == 3 * 8
    assert trainer.current_epoch == 3


@pytest.mark.parametrize(
    ("unit", "steps"), [({"steps": 13}, 13), ({"epochs": 1.5}, 12), ({"flops": 1e5}, None)]
)
def test_the_budget_ends_the_training(unit: dict[str, Any], steps: int | None) -> None:
    budget = ComputeBudget(**unit, phases={"one": 0.0, "two": 0.5})
    fit([budget], max_epochs=-1)
    assert steps is None or budget.steps == steps
    per_step = 6 * 8 * (12 * 16 + 16 * 3) - 2 * 8 * 12 * 16  # no gradient of the inputs
    assert budget.flops == budget.steps * per_step
    if "flops" in unit:
        assert 0 <= budget.flops - unit["flops"] < per_step
    assert sum(costs["flops"] for costs in budget.by_phase.values()) == budget.flops
    assert sum(costs["steps"] for costs in budget.by_phase.values()) == budget.steps
