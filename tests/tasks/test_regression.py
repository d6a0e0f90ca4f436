"""Regression: the figures against scikit-learn's, the data, and whole runs on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import composed, refused, result_of, train
from sklearn import metrics
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn

from boildown.data.diabetes import Diabetes
from boildown.run import run
from boildown.run.errors import ConfigError
from boildown.tasks.regression import Regression

SIZES: dict[str, Any] = {"batch_size": 32, "eval_batch_size": 64, "val_size": 70}
TINY = ("data=diabetes", "model=tabular", "model.width=16", "budget.epochs=20", "validations=5")


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def logged(task: Regression, batches: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    said: dict[str, float] = {}
    task.log = lambda name, value, **_: said.update({name: float(value)})  # type: ignore[method-assign]
    for batch in batches:
        task.test_step(batch, 0)
    task.on_test_epoch_end()
    return said


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_the_figures_are_of_all_samples_together(outputs: int, batch_size: int) -> None:
    g = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(40, 5, generator=g), torch.randn(40, outputs, generator=g)
    task = Regression(nn.Linear(5, outputs), optimizer=sgd)
    wanted = targets.squeeze(1) if outputs == 1 else targets
    pieces = zip(inputs.split(batch_size), wanted.split(batch_size), strict=True)
    said = logged(task, list(pieces))
    truth, guess = targets.numpy(), task(inputs).detach().numpy()
    assert said["test/mse"] == pytest.approx(metrics.mean_squared_error(truth, guess), rel=1e-5)
    assert said["test/mae"] == pytest.approx(metrics.mean_absolute_error(truth, guess), rel=1e-5)
    assert said["test/r2"] == pytest.approx(metrics.r2_score(truth, guess), abs=1e-5)
    assert said["test/loss"] == said["test/mse"]


def test_one_sample_has_no_variance_to_explain() -> None:
    said = logged(Regression(nn.Linear(5, 1), optimizer=sgd), [(torch.ones(1, 5), torch.ones(1))])
    assert np.isnan(said["test/r2"])
    assert np.isfinite(said["test/mae"])


def test_outputs_of_another_shape_are_refused() -> None:
    task = Regression(nn.Linear(5, 4), optimizer=sgd)
    with pytest.raises(ValueError, match=r"outputs are \(8, 4\), the targets \(8,\)"):
        task.training_step((torch.ones(8, 5), torch.ones(8)), 0)


def test_diabetes_is_scikit_learns() -> None:
    data = Diabetes(**SIZES, seed=0)
    parts = [list(getattr(data, f"{part}_dataloader")()) for part in ("train", "val", "test")]
    inputs = [torch.cat([x for x, _ in batches]) for batches in parts]
    targets = [torch.cat([y for _, y in batches]) for batches in parts]
    assert [len(y) for y in targets[1:]] == [70, 88]
    assert (data.input_shape, data.num_classes, inputs[2].shape[1:]) == ((10,), 1, (10,))
    assert targets[0].dtype == torch.float32
    measured, progression = load_diabetes(return_X_y=True)
    own = LinearRegression().fit(measured, progression).score(measured, progression)
    x, y = torch.cat(inputs).numpy(), torch.cat(targets).numpy()
    assert LinearRegression().fit(x, y).score(x, y) == pytest.approx(own, abs=0.01)


def test_a_run_on_it_needs_no_other_choice(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    train(directory, *TINY, "+compression=deep", "compression.ratio=4")
    result = result_of(directory)
    assert result["config"]["task"]["_target_"] == "boildown.tasks.regression.Regression"
    assert set(result["compressed"]["metrics"]) == {
        f"test/{n}" for n in ("mse", "mae", "r2", "loss")
    }
    assert result["compressed"]["metrics"]["test/r2"] > 0.2
    assert result["ratio"] >= 4


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("data=diabetes", "task=classification"), "not for data Diabetes; task=regression"),
        (("task=regression",), "Regression is not for data Digits; task=classification"),
        (("data=text", "task=regression"), "Regression is not for data Text; task=language"),
        (("data=diabetes", "model=gpt"), "GPT reads text, which data Diabetes is not; data=text"),
    ],
)
def test_what_does_not_belong_together(given: tuple[str, ...], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        run(composed(*given, "logger=none"), tmp_path)
    refused(error.value, [says])


@pytest.mark.parametrize(
    ("given", "task", "model"),
    [
        ("data=text", "Language", "GPT"),
        ("data=diabetes", "Regression", "LeNet300"),
        ("data=digits", "Classification", "LeNet300"),
    ],
)
def test_data_brings_the_task_along(given: str, task: str, model: str) -> None:
    cfg = composed(given)
    assert cfg.task._target_.endswith(f".{task}")
    assert cfg.model._target_.endswith(f".{model}")
    assert composed(given, "model=lenet5").model._target_.endswith(".LeNet5")
