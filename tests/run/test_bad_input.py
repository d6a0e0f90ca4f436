"""What cannot be run is answered by one line with its place, its value and the remedy."""

import copy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from runs import call_here, composed, refused, train
from torch import nn

from boildown.run.build import build_task
from boildown.run.errors import expected
from boildown.run.trial import check_fit

OWN = """
import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from boildown.data.digits import Digits

class Net(nn.Module):
    def __init__(self, outputs: int = 10, inputs: int = 64):
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)
    def forward(self, x):
        return self.fc(x.flatten(1))

class Silent(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 10)

class Pair(Net):
    def forward(self, x):
        return super().forward(x), x

class Nothing(Net):
    def forward(self, x):
        pass

class Broken(nn.Module):
    def __init__(self, depth=3):
        raise KeyError("boo")

class Unset(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(64, 10)

class Empty(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10]

class Lazy(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.LazyLinear(10)

class Module(LightningDataModule):
    def __init__(self, batch_size, eval_batch_size, val_size, seed):
        super().__init__()

class Few(Digits):
    num_classes = 3

class Damaged(Digits):
    def _read(self):
        raise KeyError("gone")

def text():
    return "a text"
"""
NET = "model._target_=bad_input."
DATA = "data._target_=bad_input."

CASES: list[tuple[str, Sequence[str]]] = [  # overrides, what the line must say
    # the trainer
    ("trainer.accelerator=nosuch", ["trainer.accelerator=nosuch", "trainer.accelerator=auto"]),
    ("trainer.accelerator=tpu", ["trainer.accelerator=tpu", "trainer.accelerator=auto"]),
    ("trainer.accelerator=cpu trainer.devices=-3", ["trainer.devices=-3", "devices=auto"]),
    ("trainer.devices=null", ["trainer.devices", "whole number", "got None"]),
    ("trainer.strategy=nonsense", ["trainer.strategy=nonsense", "trainer.strategy=auto"]),
    ("trainer.precision=17", ["trainer.precision", "32-true", "got 17"]),
    ("trainer.gradient_clip_val=abc", ["trainer.gradient_clip_val", "a number", "'abc'"]),
    ("+trainer.limit_train_batches=7.5", ["trainer.limit_train_batches=7.5"]),
    ("trainer._target_=torch.nn.Identity", ["trainer._target_", "Identity", "Trainer"]),
    # the model
    (f"{NET}Silent", ["model: bad_input.Silent", "forward", "Digits"]),
    (f"{NET}Net +model.outputs=5", ["model: bad_input.Net", "(2, 5)", "10 classes", "(2, 10)"]),
    (f"{NET}Net +model.outputs=50", ["model: bad_input.Net", "(2, 50)", "(2, 10)"]),
    (f"{NET}Net +model.inputs=63", ["bad_input.Net", "(1, 8, 8)", "bad_input.py, line"]),
    (f"{NET}Net +model.inputs=few", ["model.inputs", "a whole number", "'few'"]),
    (f"{NET}Pair", ["bad_input.Pair", "a tuple", "one tensor of logits"]),
    (f"{NET}Nothing", ["bad_input.Nothing", "None", "one tensor of logits"]),
    (f"{NET}Broken +model.depth=4", ["bad_input.Broken(depth=4)", "KeyError: 'boo'", "line"]),
    (f"{NET}Unset", ["bad_input.Unset", "AttributeError"]),
    (f"{NET}Empty", ["model._target_", "bad_input.Empty", "no parameters"]),
    (f"{NET}Lazy", ["model._target_", "bad_input.Lazy", "lazy layers"]),
    (f"{NET}text", ["model._target_", "bad_input.text", "a str", "torch.nn.Module"]),
    (f"{NET}Nett", ["model._target_", "do you mean bad_input.Net?"]),
    ("model._target_=torch.relu", ["model: torch.relu"]),
    ("model=mlp model.width=big", ["model.width", "a whole number", "'big'"]),
    ("model=mlp model.widths=300", ["model.widths", "a list of whole numbers", "300"]),
    # the data
    (
        f"{DATA}Module",
        ["data._target_", "Module", "no train_dataloader()"],
    ),
    (f"{DATA}Few", ["data: Few", "target 9", "num_classes is 3"]),
    (f"{DATA}Damaged", ["data: bad_input.Damaged", "KeyError: 'gone'"]),
    # the budget and the optimizer
    *((f"budget.epochs={v}", ["budget.epochs", "positive"]) for v in ("inf", "nan", "-1", "0")),
    ("budget.epochs=1e400", ["budget.epochs", "finite", "inf"]),
    ("budget.epochs=abc", ["budget.epochs", "'abc'"]),
    ("budget.epochs=null budget.steps=inf", ["budget.steps", "finite", "inf"]),
    ("task.optimizer=adam", ["task.optimizer", "_target_", "'adam'"]),
    ("task.optimizer.lr=null", ["task.optimizer.lr=null", "task.optimizer.lr=0.001"]),
    ("task.optimizer.weight_decay=null", ["task.optimizer.weight_decay", "a number", "None"]),
    ("task.optimizer.fused=maybe", ["task.optimizer.fused", "true or false", "'maybe'"]),
    ("task.optimizer._partial_=2", ["task.optimizer._partial_", "true or false", "2"]),
    ("task.label_smoothing=1.5", ["task.label_smoothing", "[0, 1)", "1.5"]),
    # the recipe
    ("+compression=deep compression.ratio=1e9", ["compression.ratio=1e+09", "no byte"]),
    ("+compression=deep compression.share=abc", ["compression.share", "'abc'", "no technique"]),
    ("+compression=deep compression.share.tune=abc", ["compression.share.tune", "true or false"]),
    ("+compression=deep compression.prune.exclude=3", ["compression.prune.exclude", "a list of"]),
    ("learning_rate.shape.floor=low", ["learning_rate.shape.floor", "a number", "'low'"]),
    # single values where settings stand, and the other way round
    ("learning_rate=0.1", ["learning_rate", "0.1", "task.optimizer.lr"]),
    ("learning_rate.peaks=0.1", ["learning_rate.peaks", "share: 0.3", "0.1"]),
    ("learning_rate=[1]", ["learning_rate=[1]", "a list where settings stand"]),
    ("run=null", ["run must hold settings", "run.allow"]),
    ("run.allow=my_module", ["run.allow", "[my_package]", "'my_module'"]),
    ("share_dense=3", ["share_dense", "a directory or null", "3"]),
]


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_input.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(("overrides", "says"), CASES, ids=[case[0][-60:] for case in CASES])
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_run_is_refused_before_training(
    overrides: str, says: Sequence[str], tmp_path: Path
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # Hydra's and ours
        train(tmp_path / "run", *overrides.split())
    refused(caught.value, says)
    assert not (tmp_path / "run" / "newest.ckpt").exists()


@pytest.mark.parametrize("group", ["data", "model", "task", "trainer", "budget", "compression"])
@pytest.mark.parametrize("choice", ["null", "3", "[1]", "true"])
def test_what_can_be_no_choice_is_answered_with_the_choices(group: str, choice: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # Hydra's and ours
        composed(f"{group}={choice}")
    refused(caught.value, [f"{group}={choice}: there is no such choice", "there are "])


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("lr=0.1", "task.optimizer.lr=0.1"),
        ("ratio=20", "+compression=deep compression.ratio=20"),
        ("+lr=0.1", "task.optimizer.lr=0.1"),
        ("optimizer.lr=0.1", "task.optimizer.lr=0.1"),
        ("model.lr=0.1", "task.optimizer.lr=0.1"),
        ("max_epochs=10", "budget.epochs=10"),
        ("epochs=3", "budget.epochs=3"),
        ("num_epochs=3", "budget.epochs=3"),
        ("budget.epoch=3", "budget.epochs=3"),
        ("batch_size=4", "data.batch_size=4"),
        ("batchsize=4", "data.batch_size=4"),
        ("seeds=1", "seed=1"),
        ("weight_decay=1", "task.optimizer.weight_decay=1"),
        ("compresion=deep", "compression=deep"),
        ("+compresion=deep", "compression=deep"),
        ("data=mnsit", "data=mnist"),
        ("+compression=depe", "compression=deep"),
        ("model=lenet", "model=lenet"),
    ],
)
def test_a_key_in_the_wrong_place_is_answered_with_the_right_one(
    override: str, place: str, tmp_path: Path
) -> None:
    done = call_here(f"hydra.run.dir={tmp_path / 'run'}", override)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"do you mean {place}" in line


def test_what_fits_is_trained(tmp_path: Path) -> None:
    few = ("budget.epochs=null", "budget.steps=2", "validations=1")
    train(tmp_path / "run", f"{NET}Net", *few, "run.allow=[bad_input]")
    assert (tmp_path / "run" / "result.json").exists()


def test_what_is_tried_leaves_no_trace() -> None:
    cfg = composed()
    data = SimpleNamespace(num_classes=10)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(), nn.Linear(64, 10))
    task = build_task(cfg, data, model)
    before = copy.deepcopy(task.state_dict())
    batch = torch.randn(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64)
    random = torch.get_rng_state()
    check_fit(cfg, data, task, batch)
    assert all(torch.equal(v, before[k]) for k, v in task.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in task.modules())


def test_a_mistake_in_boildown_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boildown.data.digits import Digits

    monkeypatch.setattr(Digits, "TEST", None)
    with pytest.raises(TypeError) as caught:
        train(tmp_path / "run")
    assert not expected(caught.value)
