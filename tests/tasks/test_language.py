"""Language models: the task's figures, what belongs together, and whole runs on a small text."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer
from runs import Once, composed, refused, result_of, rows_of, stop_in, train
from torch import nn
from torch.nn import functional as F

from boildown.data.loader import TensorLoader
from boildown.data.text import IGNORE
from boildown.run.build import build_task, model_config
from boildown.run.config import check
from boildown.run.errors import ConfigError
from boildown.tasks.language import Language

SMALL = (
    "model.width=32", "model.depth=1", "data.context=16", "budget.steps=100",
    "data.batch_size=16",
)  # fmt: skip
DEEP = ("+compression=deep", "compression.ratio=8")


class Bigram(nn.Module):
    """The simplest language model: a row of logits for each symbol."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(7, 7)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        return self.table(symbols)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_every_byte_weighs_the_same(batch_size: int) -> None:
    """Batches hold different numbers of bytes that count; their mean is over bytes."""
    g = torch.Generator().manual_seed(0)
    inputs, targets = torch.randint(0, 7, (2, 10, 5), generator=g)
    targets[torch.rand(10, 5, generator=g) < 0.6] = IGNORE
    targets[3] = IGNORE
    model = Bigram()
    loader = TensorLoader(inputs, targets, batch_size, shuffle=False, seed=0, drop_last=False)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    (metrics,) = trainer.test(Language(model, optimizer=adam), loader, verbose=False)
    with torch.no_grad():
        chosen = targets != IGNORE
        nats = F.cross_entropy(model(inputs)[chosen], targets[chosen])
    assert metrics["test/loss"] == pytest.approx(float(nats), rel=1e-6)
    assert metrics["test/bits_per_byte"] == pytest.approx(float(nats) / math.log(2), rel=1e-6)


def test_a_model_that_knows_nothing_needs_log2_of_the_symbols() -> None:
    model = Bigram()
    nn.init.zeros_(model.table.weight)
    task = Language(model, optimizer=adam)
    loss = task.training_step((torch.zeros(2, 3).long(), torch.ones(2, 3).long()), 0)
    assert loss.item() / math.log(2) == pytest.approx(math.log2(7))


@pytest.fixture(scope="module")
def book(once: Once) -> Path:
    """A text with some order in it: sums, written out."""

    def write(directory: Path) -> None:
        directory.mkdir()
        sums = "".join(f"{i} + {i % 7} = {i + i % 7}\n" for i in range(1500))
        (directory / "sums.txt").write_text(sums)

    return once("book", write) / "sums.txt"


TEXT = ("data=text", "model=gpt", "task=language")
MISFITS: list[tuple[Sequence[str], Sequence[str]]] = [
    ((*TEXT, "model=lenet5"), ["LeNet5 needs images", "(64,)"]),
    ((*TEXT, "model=resnet"), ["ResNet needs images", "(64,)"]),
    ((*TEXT, "model=mlp"), ["MLP cannot read text", "model=gpt or model=bert"]),
    ((*TEXT, "model=bert"), ["data.objective=causal", "BERT", "data.objective=masked"]),
    ((*TEXT, "data.objective=masked"), ["data.objective=masked", "GPT", "data.objective=causal"]),
    ((*TEXT, "task=classification"), ["Classification is not for data Text", "task=language"]),
    (("model=gpt",), ["GPT needs windows of symbols", "(1, 8, 8)", "data=text"]),
    (("model=gpt", "data=mnist1d", "data.samples=50"), ["GPT reads text", "MNIST1D", "data=text"]),
    (("task=language",), ["Language is not for data Digits", "task=classification"]),
    (("task.base_width=64",), ["task.base_width=64", "LeNet300 has no width", "null"]),
    (
        ("model=mlp", "model.widths=[5]", "task.base_width=64"),
        ["task.base_width=64", "the same at width 256 and 512"],
    ),
]


@pytest.mark.parametrize(("overrides", "says"), MISFITS, ids=lambda v: " ".join(v)[:50])
def test_what_does_not_belong_together_is_refused(
    overrides: Sequence[str],
    says: Sequence[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "data=mnist1d" in overrides:
        pytest.importorskip("mnist1d")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cfg = composed(*overrides)
    check(cfg)
    data = instantiate(cfg.data)
    with pytest.raises(Exception) as caught:  # noqa: PT011  # Hydra's and ours
        build_task(cfg, data, instantiate(model_config(cfg, data)))
    refused(caught.value, says)


@pytest.mark.parametrize("value", ["0", "-3", "1.5", "wide", "true"])
def test_a_bad_base_width_is_refused_without_building(value: str) -> None:
    with pytest.raises(ConfigError, match=r"task\.base_width must be null or a whole number"):
        check(composed(f"task.base_width={value}"))


def test_a_task_of_ones_own_without_factors_cannot_follow_the_width() -> None:
    cfg = composed("model=mlp", "task.base_width=64")
    del cfg.task.label_smoothing
    cfg.task._target_ = f"{__name__}.Own"
    data = instantiate(cfg.data)
    with pytest.raises(ConfigError, match=r"task\.base_width: .*Own takes no factors"):
        build_task(cfg, data, instantiate(model_config(cfg, data)))


class Own(Language):
    """A task that knows nothing of factors."""

    def __init__(self, model: nn.Module, *, optimizer: Any) -> None:
        super().__init__(model, optimizer=optimizer)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=mlp", "model.width=32"),
        ("model=resnet", "model.width=32"),
        (*TEXT, "model.width=32"),
        (*TEXT, "model=bert", "data.objective=masked", "model.width=32", "model.tied=true"),
    ],
)
def test_the_rule_reaches_the_optimizer(overrides: Sequence[str]) -> None:
    cfg = composed(*overrides, "task.base_width=8", "task.optimizer.lr=0.004")
    check(cfg)
    data = instantiate(cfg.data)
    task = build_task(cfg, data, instantiate(model_config(cfg, data)))
    optimizer = task.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [0.004, 0.001]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(task.parameters())
    )


@pytest.fixture(scope="module")
def run(book: Path, once: Once) -> Path:
    """A tied GPT, compressed, by the width rule."""

    def make(directory: Path) -> None:
        said = train(directory, *arguments(book), proof="process")
        assert "bits_per_byte" in said

    return once("gpt", make)


def arguments(book: Path) -> tuple[str, ...]:
    rule = ("model.tied=true", "task.base_width=16")
    return ("+experiment=gpt_text", f"data.path={book}", *DEEP, *SMALL, *rule)


def test_a_gpt_learns_and_its_file_is_what_the_result_says(run: Path, book: Path) -> None:
    import boildown

    result = result_of(run)
    size = (run / "model.boil").stat().st_size
    assert result["compressed"]["bytes"] == size
    assert result["ratio"] == pytest.approx(8.0, rel=0.1)
    assert set(result["dense"]["metrics"]) == {"test/loss", "test/bits_per_byte"}
    bits = result["compressed"]["metrics"]["test/bits_per_byte"]
    assert 0.0 < bits < 4.5  # 8 for a model that knows nothing
    assert result["dense"]["params"] == (256 + 16) * 32 + 12 * 32**2 + 3 * 32
    assert result["compressed"]["nonzero"] <= result["dense"]["params"]
    model = boildown.load(run / "model.boil")
    assert model.head.weight is model.embed.weight
    text = book.read_bytes()
    test = text[len(text) - round(0.05 * len(text)) :]
    symbols = torch.tensor(list(b"\n" + test))
    with torch.no_grad():
        windows = [symbols[i : i + 17] for i in range(0, len(test) - 15, 16)]
        nats = [F.cross_entropy(model(w[None, :-1])[0], w[1:], reduction="none") for w in windows]
        left = len(test) % 16
        if left:
            last = symbols[-17:]
            tail = F.cross_entropy(model(last[None, :-1])[0], last[1:], reduction="none")
            nats.append(tail[-left:])
        own = torch.cat(nats)
    assert len(own) == len(test)
    assert bits == pytest.approx(float(own.double().mean()) / math.log(2), rel=1e-4)


def test_the_result_names_the_rule(run: Path) -> None:
    rates = result_of(run)["learning_rates"]
    assert (rates["base_width"], rates["width"]) == (16, 32)
    assert "base_width / width" in rates["rule"]
    one, half = rates["groups"]
    assert half["lr"] == one["lr"] / 2
    assert "model.embed.weight" in half["tensors"]
    assert "model.position.weight" in one["tensors"]


def test_a_stopped_run_resumes_to_the_same_bytes(run: Path, book: Path, tmp_path: Path) -> None:
    directory = tmp_path / "stopped"
    stop_in("prune", directory, *arguments(book))
    train(directory, *arguments(book), "resume=true")
    assert (directory / "model.boil").read_bytes() == (run / "model.boil").read_bytes()
    assert rows_of(directory) == rows_of(run)


def test_a_bert_learns(book: Path, tmp_path: Path) -> None:
    train(tmp_path, "+experiment=bert_text", f"data.path={book}", *SMALL)
    result = result_of(tmp_path)
    assert result["compressed"]["metrics"]["test/bits_per_byte"] < 5.0
    assert result["learning_rates"]["rule"] is None
    assert len(result["learning_rates"]["groups"]) == 1
