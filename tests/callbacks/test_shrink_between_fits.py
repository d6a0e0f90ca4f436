"""Structured pruning inside Lightning: what goes when, what holds, exact resume."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from omegaconf import OmegaConf
from torch import Tensor, nn

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.constraint import BrokenConstraintError
from boildown.callbacks.shrink import Shrink
from boildown.data.loader import TensorLoader
from boildown.flops import forward_flops
from boildown.models.resnet import ResNet
from boildown.prune.criteria import taylor
from boildown.tasks.classification import Classification

STEPS = 20
EXAMPLE = torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(5))


def network() -> nn.Module:
    torch.manual_seed(0)
    return ResNet((2, 8, 8), 4, 8, 8)


def loader(batch: int = 8) -> TensorLoader:
    make = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(96, 2, 8, 8, generator=make), torch.arange(96) % 4
    return TensorLoader(inputs, targets, batch, shuffle=True, seed=0, drop_last=True)


def fit(
    technique: Shrink,
    *extra: Callback,
    model: nn.Module | None = None,
    resume: Path | None = None,
    example: Tensor | None = EXAMPLE,
) -> nn.Module:
    seed_everything(0, verbose=False)
    task = Classification(
        model or network(), optimizer=lambda p: torch.optim.AdamW(p, lr=0.01), num_classes=4
    )
    task.example_input_array = example
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=-1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ComputeBudget(steps=STEPS), technique, *extra],
    )
    trainer.fit(task, loader(), loader(), ckpt_path=resume, weights_only=True)
    return task.get_submodule("model")


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def assert_same(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(one.eval()(EXAMPLE), other.eval()(EXAMPLE), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scope", ["group", "global"])
@pytest.mark.parametrize("example", [EXAMPLE, None])
def test_so_many_parameters_are_left(scope: Any, example: Tensor | None) -> None:
    technique = Shrink(parameters=0.5, at=0.5, scope=scope)
    model = fit(technique, example=example)
    smaller = technique.restructure(model)
    assert 0.4 < parameters(smaller) / parameters(model) <= 0.5
    assert_same(smaller, model)
    assert all(0 < row["left"] <= row["units"] for row in technique.report)
    assert {row["name"] for row in technique.report} >= {"conv1", "layer1.0.conv1"}
    rebuilt = technique.rebuild(network())
    rebuilt.load_state_dict(smaller.state_dict())
    assert_same(rebuilt, smaller)


def test_so_many_operations_are_left() -> None:
    technique = Shrink(flops=0.5, at=1.0)
    model = fit(technique)
    smaller = technique.restructure(model)
    left = forward_flops(smaller, EXAMPLE) / forward_flops(model, EXAMPLE)
    assert 0.4 < left <= 0.5


def test_channels_stay_a_multiple() -> None:
    technique = Shrink(parameters=0.6, at=1.0, multiple=4)
    smaller = technique.restructure(fit(technique))
    widths = {m.out_channels for m in smaller.modules() if isinstance(m, nn.Conv2d)}
    assert all(width % 4 == 0 for width in widths)
    assert parameters(smaller) <= 0.6 * parameters(network())


def test_a_criterion_is_asked_with_evidence_and_charged() -> None:
    judged: list[list[str]] = []

    def criterion(weights: Any, evidence: Any) -> Any:
        judged.append(list(weights))
        return taylor(weights, evidence)

    budgets: list[float] = []

    class Watch(Callback):
        def on_train_end(self, trainer: Trainer, *_: Any) -> None:
            budgets.append(next(c for c in trainer.callbacks if isinstance(c, ComputeBudget)).flops)

    technique = Shrink(
        parameters=0.5, at=1.0, criterion=criterion, calibration=lambda: loader(16), samples=32
    )
    fit(technique, Watch())
    fit(Shrink(parameters=0.5, at=1.0), Watch())
    assert len(judged) == 1
    assert "model.conv1.weight" in judged[0]
    assert budgets[0] > budgets[1]


def test_groups_are_left_alone_by_their_names() -> None:
    technique = Shrink(parameters=0.7, at=1.0, exclude=["*layer3*"])
    smaller = technique.restructure(fit(technique))
    assert smaller.layer3[0].conv1.out_channels == 32
    assert smaller.layer1[0].conv1.out_channels < 8


def test_what_is_frozen_stays_as_it_is() -> None:
    model = network()
    model.layer1.requires_grad_(False)
    technique = Shrink(parameters=0.7, at=1.0)
    smaller = technique.restructure(fit(technique, model=model))
    assert smaller.layer1[0].conv1.weight.shape == model.layer1[0].conv1.weight.shape
    assert smaller.layer3[0].conv1.out_channels < 32


def test_it_resumes_exactly(tmp_path: Path) -> None:
    class StopAt(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 5:
                trainer.save_checkpoint(tmp_path / "stopped.ckpt")
                trainer.should_stop = True

    straight = Shrink(parameters=0.5, at=0.5)
    expected = straight.restructure(fit(straight))
    with pytest.warns(UserWarning, match="before Shrink reached its target"):
        fit(Shrink(parameters=0.5, at=0.5), StopAt())
    resumed = Shrink(parameters=0.5, at=0.5)
    smaller = resumed.restructure(fit(resumed, resume=tmp_path / "stopped.ckpt"))
    assert resumed.plan == straight.plan
    for key, value in smaller.state_dict().items():
        assert torch.equal(value, expected.state_dict()[key])


def test_a_weight_that_comes_back_is_named() -> None:
    technique = Shrink(parameters=0.5, at=1.0)

    class Disturb(Callback):
        def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
            with torch.no_grad():
                pl_module.model.conv1.weight.add_(1.0)
            technique.verify(pl_module)

    with pytest.raises(BrokenConstraintError, match=r"model\.conv1\.weight: what is to go"):
        fit(technique, Disturb())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameters": 1.0}, r"shrink.parameters must be the fraction .* got 1.0"),
        ({"flops": 0}, r"shrink.flops must be the fraction .* got 0"),
        ({"flops": True}, r"shrink.flops must be the fraction .* got True"),
        ({"parameters": 0.5, "flops": 0.5}, "either parameters or flops"),
        ({"parameters": 0.5, "scope": "layer"}, "shrink.scope must be 'global' or 'group'"),
        ({"parameters": 0.5, "otherwise": "hope"}, "shrink.otherwise must be 'refuse' or 'mask'"),
        ({"parameters": 0.5, "multiple": 0.5}, "shrink.multiple must be a whole number"),
        ({"parameters": 0.5, "samples": 0}, "shrink.samples must be a whole number"),
        ({"parameters": 0.5, "at": 1.5}, "shrink"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shrink(**settings)


class Counting(nn.Module):
    """Code that counts on how many channels there are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.fc = nn.Linear(6 * 36, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).relu().view(-1, 216))


@pytest.mark.parametrize(
    ("technique", "model", "message"),
    [
        (Shrink(), None, "how much is to go"),
        (Shrink(parameters=0.001), None, r"shrink.parameters=0.001: .* is out of reach"),
        (Shrink(flops=0.001), None, r"shrink.flops=0.001: .* is out of reach"),
        (Shrink(parameters=0.5, exclude=["nothing"]), None, "shrink.exclude"),
        (Shrink(parameters=0.5), Counting(), r"no units that may go \(model.conv: .* does not run"),
        (Shrink(parameters=0.5), nn.Linear(3, 3), "forward pass of Classification cannot be"),
    ],
)
def test_what_cannot_be_shrunk_is_refused_before_the_training(
    technique: Shrink, model: nn.Module | None, message: str
) -> None:
    class Never(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            raise AssertionError("the training began")

    with pytest.raises(ValueError, match=message):
        fit(technique, Never(), model=model)


@pytest.mark.parametrize("model", [Counting(), nn.Sequential(Counting())])
def test_rows_are_held_at_zero_where_nothing_can_be_removed(
    model: nn.Module, tmp_path: Path
) -> None:
    def masking() -> Shrink:
        return Shrink(parameters=0.95, at=0.5, otherwise="mask")

    technique = masking()
    with pytest.warns(UserWarning, match=r"Rows of model.*conv are set to zero instead: the file"):
        first = fit(technique, model=model)
    assert technique.masks
    second = technique.restructure(first)
    conv = next(m for m in second.modules() if isinstance(m, nn.Conv2d))
    dead = conv.weight.flatten(1).eq(0.0).all(1)
    assert 0 < int(dead.sum()) < 6

    class Save(Callback):
        def on_train_end(self, trainer: Trainer, *_: Any) -> None:
            trainer.save_checkpoint(tmp_path / "second.ckpt")

    fit(technique, Save(), model=second)  # the second fit: they stay there, and others train
    assert conv.weight.flatten(1).eq(0.0).all(1).equal(dead)
    state = torch.load(tmp_path / "second.ckpt", weights_only=True)["callbacks"]["Shrink"]
    resumed = masking()
    resumed.load_state_dict(state)
    fit(resumed, model=resumed.rebuild(model))
    assert resumed.groups
    assert resumed.describe({"_target_": "some.Model"}) == {"_target_": "some.Model"}
    with pytest.raises(ValueError, match="no units that may go"):
        fit(Shrink(flops=0.5, otherwise="mask"), model=Counting())


def test_without_units_chosen_there_is_no_smaller_network() -> None:
    with pytest.raises(RuntimeError, match="no units were chosen"):
        Shrink(parameters=0.5).restructure(network())


def test_the_recipe_repeats_the_defaults() -> None:
    recipe = OmegaConf.load(Path(__file__).parents[2] / "conf/compression/structured.yaml")
    node = OmegaConf.to_container(recipe["shrink"], resolve=False)
    assert isinstance(node, dict)
    defaults = {n: p.default for n, p in inspect.signature(Shrink).parameters.items()}
    for name, value in node.items():
        if name not in ("_target_", "parameters", "flops", "criterion"):
            assert value == (list(defaults[name]) if name == "exclude" else defaults[name])
