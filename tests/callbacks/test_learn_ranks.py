"""Learning ranks inside Lightning: what is pulled where, what holds at the end, exact resume."""

import inspect
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import DataLoader

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.constraint import BrokenConstraintError
from boildown.callbacks.learn_ranks import LearnRanks
from boildown.data.loader import TensorLoader
from boildown.lowrank.costs import cost_of, dense_cost_of
from boildown.lowrank.learning_compression import State
from boildown.lowrank.svd import decompose
from boildown.schedule import Cubic, OneShot
from boildown.tasks.classification import Classification

STEPS = 40
SETTINGS: dict[str, Any] = {
    "begin": 0.2,
    "end": 1.0,
    "steps": 8,
    "mu": (1.0, 100.0),
    "schedule": OneShot(),
    "multipliers": True,
}


class StopAt(Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 30), nn.ReLU(), nn.Linear(30, 4)
    )


def fit(
    technique: LearnRanks,
    *extra: Callback,
    resume: Path | None = None,
    before: Sequence[Callback] = (),
    model: nn.Sequential | None = None,
    precision: Any = "32-true",
    kind: type[Classification] = Classification,
) -> nn.Sequential:
    seed_everything(0, verbose=False)
    make = torch.Generator().manual_seed(0)
    inputs = torch.randn(96, 2, 5, 5, generator=make)
    targets = torch.randint(0, 4, (96,), generator=make)
    task = kind(
        model or network(), optimizer=lambda p: torch.optim.AdamW(p, lr=0.01), num_classes=4
    )
    trainer = Trainer(
        accelerator="cpu",
        precision=precision,
        max_epochs=-1,
        val_check_interval=5,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ComputeBudget(steps=STEPS), *before, technique, *extra],
    )
    trainer.fit(
        task,
        TensorLoader(inputs, targets, 8, shuffle=True, seed=0, drop_last=True),
        TensorLoader(inputs, targets, 96, shuffle=False, seed=0, drop_last=False),
        ckpt_path=resume,
        weights_only=True,
    )
    assert isinstance(task.model, nn.Sequential)
    return task.model


def rank_of(weight: torch.Tensor) -> int:
    s = torch.linalg.svdvals(weight.detach().double().flatten(1))
    return int((s > 1e-6 * s[0]).sum())


@pytest.mark.parametrize("choose", ["joint", "energy"])
@pytest.mark.parametrize("unit", ["parameters", "flops", "bytes"])
@pytest.mark.parametrize("scheme", ["channel", "spatial"])
def test_the_ranks_stay_within_the_share(choose: Any, unit: Any, scheme: str) -> None:
    technique = LearnRanks(factors=0.4, choose=choose, unit=unit, scheme=scheme, **SETTINGS)
    model = fit(technique)
    after = technique.restructure(model)
    rows = technique.ranks_report
    assert sum(r["cost"] for r in rows) <= 0.4 * sum(r["dense_cost"] for r in rows)
    assert any(row["rank"] for row in rows)
    inputs = torch.randn(5, 2, 5, 5)
    torch.testing.assert_close(after(inputs), model(inputs), rtol=1e-3, atol=1e-4)
    for row in rows:
        if row["rank"] is not None and row["scheme"] != "spatial":
            assert rank_of(model.get_submodule(row["name"]).weight) <= row["rank"]
    assert technique.rebuild(network())(inputs).shape == after(inputs).shape
    wanted = {name: value.shape for name, value in after.state_dict().items()}
    assert {n: v.shape for n, v in technique.rebuild(network()).state_dict().items()} == wanted


def batches() -> list[torch.Tensor]:
    return [torch.randn(32, 2, 5, 5, generator=torch.Generator().manual_seed(1))]


def by_outputs(**change: Any) -> LearnRanks:
    return LearnRanks(
        **{"factors": 0.3, "metric": "outputs", "calibration": batches, **SETTINGS, **change}
    )


@pytest.mark.parametrize("target", [{"factors": 0.3}, {"energy": 0.7}, {"price": 1e-4}])
def test_the_schedule_tightens_the_target_step_by_step(target: dict[str, float]) -> None:
    seen: list[int] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if technique.learned.ranks:
                seen.append(cost_of(technique.layers, technique.learned.ranks))

    free = {"factors": None}
    technique = by_outputs(**(free | target), schedule=Cubic())
    fit(technique, Watch())
    assert seen[0] == dense_cost_of(technique.layers)
    assert len(set(seen)) > 2
    assert seen[-1] < seen[0]
    once = by_outputs(**(free | target))
    seen.clear()
    technique, easing = once, technique
    fit(once, Watch())
    assert seen[0] < dense_cost_of(once.layers)
    if "factors" in target:
        assert cost_of(easing.layers, easing.learned.ranks) <= 0.3 * dense_cost_of(easing.layers)


def test_the_metric_of_the_outputs_spares_the_layer_that_matters() -> None:
    """Ten times the weights that no output sees do not take the ranks of those that it sees."""

    class Deaf(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.relu(self[0](x.flatten(1)))
            return self[1](hidden) + 1e-4 * self[2](x.flatten(1))

    def ranks(metric: str) -> dict[str, int | None]:
        technique = by_outputs(metric=metric, begin=0.0, end=0.5, mu=(1e-6, 1e-6))
        torch.manual_seed(0)
        model = Deaf(nn.Linear(50, 40), nn.Linear(40, 4), nn.Linear(50, 4))
        with torch.no_grad():
            model[2].weight.mul_(100.0)
        fit(technique, model=model)
        return technique.learned.ranks

    assert ranks("weights")["model.2"] is None
    assert ranks("outputs")["model.2"] == 1


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed"])
def test_the_metric_is_measured_in_the_precision_of_the_training(precision: Any) -> None:
    technique = by_outputs()
    fit(technique, precision=precision)
    assert technique.reached


@pytest.mark.filterwarnings("ignore:cannot count the FLOPs")
def test_a_forward_of_several_inputs_is_told_what_to_do() -> None:
    class Two(nn.Sequential):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return super().forward(x + y)

    class Task(Classification):
        def training_step(self, batch: Any, *_: Any) -> torch.Tensor:
            return nn.functional.cross_entropy(self.model(batch[0], batch[0]), batch[1])

        def validation_step(self, *_: Any) -> None: ...

    with pytest.raises(ValueError, match=r"takes the inputs alone.*metric=weights"):
        fit(by_outputs(begin=0.0), model=Two(*network()), kind=Task)


def test_without_a_window_it_truncates_and_no_more() -> None:
    seen = []

    class Watch(Callback):
        def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
            seen.append(pl_module.model[3].weight.detach().clone())

    technique = LearnRanks(ranks={"model.3": 5}, begin=0.5, end=0.5)
    model = fit(technique, before=[Watch()])
    assert technique.reached
    torch.testing.assert_close(
        model[3].weight.detach(), decompose(seen[0]).truncate(5).product(), rtol=1e-5, atol=1e-6
    )


def test_a_step_of_another_optimizer_does_not_pull() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    optimizers = [torch.optim.SGD(model[i].parameters(), 0.1) for i in range(2)]
    task: Any = model
    task.example_input_array = None
    technique = LearnRanks(factors=0.5, mu=(1.0, 1.0))
    technique.learned = State(step=0, ranks={"0": 1}, nearest={"0": torch.zeros(3, 4)})
    technique.structure = {}  # nothing to find
    technique.on_train_start(SimpleNamespace(optimizers=optimizers), task)  # type: ignore[arg-type]
    technique.structure = None
    before = model[0].weight.detach().clone()
    technique.hold(task, optimizers[1])
    assert torch.equal(model[0].weight, before)
    technique.hold(task, optimizers[0])
    torch.testing.assert_close(model[0].weight.detach(), before / 1.1)


@pytest.mark.filterwarnings("ignore:the training ended at")
def test_resume_with_a_calibration_that_draws_its_order(tmp_path: Path) -> None:
    def shuffled() -> DataLoader[torch.Tensor]:
        made = torch.randn(64, 2, 5, 5, generator=torch.Generator().manual_seed(1))
        return DataLoader(made, 16, shuffle=True)  # type: ignore[arg-type]

    def make() -> LearnRanks:
        return by_outputs(calibration=shuffled, samples=32)

    straight = fit(make())
    fit(make(), StopAt(20, tmp_path / "stopped.ckpt"))
    resumed = fit(make(), resume=tmp_path / "stopped.ckpt")
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


@pytest.mark.filterwarnings("ignore:the training ended at")
@pytest.mark.parametrize("stop", [5, 10, 20, 30])
@pytest.mark.parametrize("eased", [False, True])
def test_resume_equals_never_stopping(eased: bool, stop: int, tmp_path: Path) -> None:
    make = partial(by_outputs, schedule=Cubic()) if eased else by_outputs
    make = partial(make, metric="outputs" if eased else "weights")
    straight = fit(make())
    fit(make(), StopAt(stop, tmp_path / "stopped.ckpt"))
    resumed = fit(make(), resume=tmp_path / "stopped.ckpt")
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)


def test_it_draws_the_weights_to_low_rank() -> None:
    """The weight that the final C step replaces is near what replaces it."""
    seen = {}

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            for name, nearest in technique.learned.nearest.items():
                weight = pl_module.get_parameter(f"{name}.weight").detach()
                seen[name, trainer.global_step] = float((weight - nearest).norm() / weight.norm())

    technique = LearnRanks(factors=0.3, **SETTINGS)
    fit(technique, Watch())
    layer = "model.3"
    assert seen[layer, STEPS] < 0.1 * seen[layer, 10]


def test_a_rank_that_breaks_is_noticed() -> None:
    class Break(Callback):
        def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
            with torch.no_grad():
                pl_module.model[3].weight[0, 0] += 1.0
            technique.verify(pl_module)

    technique = LearnRanks(factors=0.3, **SETTINGS)
    with pytest.raises(BrokenConstraintError, match=r"model\.3.*rank"):
        fit(technique, Break())


def test_c_steps_are_charged() -> None:
    free = ComputeBudget(steps=STEPS)
    paid = ComputeBudget(steps=STEPS)
    for clock, technique in ((free, None), (paid, LearnRanks(factors=0.3, **SETTINGS))):
        task = Classification(
            network(), optimizer=lambda p: torch.optim.AdamW(p, lr=0.01), num_classes=4
        )
        loader = TensorLoader(
            torch.randn(96, 2, 5, 5), torch.randint(0, 4, (96,)), 8,
            shuffle=False, seed=0, drop_last=True,
        )  # fmt: skip
        Trainer(
            accelerator="cpu", max_epochs=-1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
            callbacks=[clock, *([technique] if technique else [])],
        ).fit(task, loader, loader)  # fmt: skip
    assert paid.flops > free.flops


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"factors": 1.5}, r"lowrank\.factors.*1\.5"),
        ({"energy": 0.5}, "factors"),
        ({"factors": None, "energy": 0.0}, r"lowrank\.energy.*0\.0"),
        ({"factors": None, "price": -1.0}, r"lowrank\.price.*-1"),
        ({"steps": 0}, r"lowrank\.steps.*0"),
        ({"mu": (2.0, 1.0)}, r"lowrank\.mu.*2\.0"),
        ({"mu": (1.0,)}, r"lowrank\.mu"),
        ({"scheme": "tucker"}, r"lowrank\.scheme.*tucker"),
        ({"unit": "bits"}, r"lowrank\.unit.*bits"),
        ({"dtype": "half8"}, r"lowrank\.dtype.*half8"),
        ({"metric": "loss"}, r"lowrank\.metric.*loss"),
        ({"samples": 0}, r"lowrank\.samples.*0"),
        ({"choose": "best"}, r"lowrank\.choose.*best"),
        ({"begin": 0.9, "end": 0.1}, "lowrank"),
    ],
)
def test_bad_settings(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LearnRanks(**{"factors": 0.5, **SETTINGS, **change})


def test_without_an_amount_or_a_size_nothing_is_trained() -> None:
    with pytest.raises(ValueError, match=r"how much is to be saved\? give factors"):
        fit(LearnRanks())


@pytest.mark.parametrize(("dtype", "size"), [(None, 4), ("float16", 2)])
def test_bytes_are_those_of_the_file(dtype: str | None, size: int) -> None:
    by_bytes = LearnRanks(price=0.03 / size, unit="bytes", dtype=dtype, **SETTINGS)
    by_count = LearnRanks(price=0.03, unit="parameters", **SETTINGS)
    fit(by_bytes)
    fit(by_count)
    assert by_bytes.learned.ranks == by_count.learned.ranks
    assert any(by_bytes.learned.ranks.values())
    assert cost_of(by_bytes.layers, by_bytes.learned.ranks) == size * cost_of(
        by_count.layers, by_count.learned.ranks
    )


class Attending(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(*network())
        self.attention = nn.MultiheadAttention(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for module in list(self)[:-1]:
            inputs = module(inputs)
        return inputs


def test_a_layer_that_cannot_have_a_rank_is_named_with_the_reason() -> None:
    technique = LearnRanks(ranks={"model.attention": 2}, **SETTINGS)
    with pytest.raises(ValueError, match=r"model\.attention.*MultiheadAttention uses its weights"):
        fit(technique, model=Attending())


@pytest.mark.parametrize("what", [{"factors": 0.5}, {"price": 0.1}, {"energy": 0.5}])
def test_a_layer_that_has_diverged_is_named(what: dict[str, float]) -> None:
    model = network()
    model[3].weight.data[0, 0] = math.nan
    with pytest.raises(ValueError, match=r"lowrank: model\.3: its weight holds NaN.*weights from"):
        fit(LearnRanks(**what, **SETTINGS), model=model)


def test_alone_it_halves_what_the_layers_cost_by_their_weights() -> None:
    alone, by_weights = LearnRanks(factors=0.5), LearnRanks(factors=0.5, metric="weights")
    models = [fit(technique) for technique in (alone, by_weights)]
    assert alone.reached
    assert cost_of(alone.layers, alone.learned.ranks) <= 0.5 * dense_cost_of(alone.layers)
    for one, other in zip(*(m.parameters() for m in models), strict=True):
        assert torch.equal(one, other)


def test_the_recipe_repeats_the_defaults_of_the_signature() -> None:
    recipe = OmegaConf.load(Path(__file__).parents[2] / "conf/compression/lowrank.yaml").lowrank
    defaults = inspect.signature(LearnRanks).parameters
    said = OmegaConf.to_container(recipe, resolve=False)
    assert isinstance(said, dict)
    of_the_run = {"_target_", "factors", "energy", "ranks", "price", "dtype"}
    for key in said.keys() - of_the_run:
        default = defaults[key].default
        if key == "schedule":
            path = f"{type(default).__module__}.{type(default).__qualname__}"
            assert said[key] == {"_target_": path}
        else:
            assert said[key] == (list(default) if isinstance(default, tuple) else default), key


def test_the_fraction_has_the_name_of_the_first_version_too() -> None:
    assert LearnRanks(share=0.3).algorithm.target == LearnRanks(factors=0.3).algorithm.target


def test_a_share_that_rank_one_exceeds_is_refused_before_the_training() -> None:
    with pytest.raises(
        ValueError, match=r"lowrank\.factors=0\.01 .* 0\.0828.*rank 1 .*model\.3.*; raise it"
    ):
        fit(LearnRanks(factors=0.01, **SETTINGS))


@pytest.mark.parametrize(
    ("ranks", "says"),
    [
        ({"model.3": 3, "model.5": 3}, r"model\.5: factors of any rank cost as much as the layer"),
        ({"model.5": 3}, r"model\.5: factors of any rank cost as much as the layer"),
        ({"model.4": 3}, r"model\.4: cannot be factorised: ReLU is not one of"),
        ({"model.9": 3}, r"'model\.9' matches no tensor; there are model\.0, model\.3"),
    ],
)
def test_ranks_for_what_can_have_none(ranks: dict[str, int], says: str) -> None:
    model = network()
    model[5] = nn.Linear(30, 1, bias=False)
    model.append(nn.Linear(1, 4))
    with pytest.raises(ValueError, match=says):
        fit(LearnRanks(ranks=ranks, **SETTINGS), model=model)


class TiedDecoder(nn.Module):
    """Computes with the weight of one of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Linear(72, 30)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.code(inputs), self.code.weight.T)


def test_a_layer_whose_weight_is_read_elsewhere_stays() -> None:
    model = network()
    model.insert(3, TiedDecoder())
    technique = by_outputs(factors=0.5)
    after = technique.restructure(fit(technique, model=model))
    assert {row["name"] for row in technique.ranks_report} == {"0", "4", "6"}
    assert after(torch.zeros(1, 2, 5, 5)).shape == (1, 4)
    with pytest.raises(ValueError, match=r"model\.3\.code: .* reads its weight"):
        fit(by_outputs(factors=None, ranks={"*.code": 3}), model=model)
