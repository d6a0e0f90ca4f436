"""boildown.data.text: parts that do not leak, windows that resume, and bytes that count once."""

import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boildown.data.text import IGNORE, LIMIT, MASK_SYMBOL, Text, WindowLoader, mask, windows
from boildown.seeds import generator

CONF = Path(__file__).parents[2] / "conf" / "data" / "text.yaml"


def text(path: Path | None, **changes: Any) -> Text:
    given: dict[str, Any] = yaml.safe_load(CONF.read_text()) | {"seed": 0, "context": 8}
    del given["_target_"], given["defaults"]
    return Text(**given | {"path": path, "val_size": 0.2, "test_size": 0.3} | changes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """1000 bytes: 500 of them below 100 for training, 200 below 200, 300 above."""
    parts = [bytes(i % size + start for i in range(n)) for n, size, start in PARTS]
    (tmp_path / "text").write_bytes(b"".join(parts))
    return tmp_path / "text"


PARTS = ((500, 100, 0), (200, 100, 100), (300, 56, 200))  # bytes, values, the smallest value


def seen(loader: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    inputs, targets = zip(*loader, strict=True)
    return torch.cat(inputs), torch.cat(targets)


def test_parts_lie_one_after_the_other_and_share_nothing(file: Path) -> None:
    data = text(file)
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    for loader, (_, size, start) in zip(loaders, PARTS, strict=True):
        inputs, targets = seen(loader)
        newline = inputs == 10
        assert inputs[~newline].min() >= start
        assert inputs.max() < start + size
        counted = targets[targets != IGNORE]
        assert counted.min() >= start
        assert counted.max() < start + size


@pytest.mark.parametrize("context", [1, 7, 8, 200])
@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_evaluation_counts_every_byte_once(file: Path, context: int, objective: Any) -> None:
    whole = file.read_bytes()
    data = text(file, context=context, eval_batch_size=3)
    for loader, part in (
        (data.val_dataloader(), whole[500:700]),
        (data.test_dataloader(), whole[700:]),
    ):
        inputs, targets = seen(loader)
        assert bytes(targets[targets != IGNORE].tolist()) == part
        assert all(
            x.shape == y.shape == inputs.shape[1:] for x, y in zip(inputs, targets, strict=True)
        )
        if objective == "causal":
            follows = inputs[:, 1:] == targets[:, :-1]
            assert (follows | (targets[:, :-1] == IGNORE)).all()
    assert data.val_dataloader().__iter__().__next__()[0][0, 0] == 10  # what comes before a part


def test_masked_evaluation_is_a_function_of_the_seed(file: Path) -> None:
    def hidden(data: Text) -> Tensor:
        return seen(data.test_dataloader())[0]

    data = text(file, objective="masked")
    first = hidden(data)
    loader = data.test_dataloader()
    assert torch.equal(seen(loader)[0], seen(loader)[0])  # in every epoch
    assert torch.equal(hidden(text(file, objective="masked", eval_batch_size=5)), first)
    assert not torch.equal(hidden(text(file, objective="masked", seed=1)), first)
    _, targets = seen(loader)
    assert (targets[:-1] != IGNORE).sum(1).tolist() == [1] * (len(targets) - 1)  # 15 % of 8


def test_an_epoch_reads_each_stretch_once(file: Path) -> None:
    loader = text(file, batch_size=1).train_dataloader()
    assert len(loader) == 500 // 8
    whole = file.read_bytes()[:500]
    for inputs, targets in loader:
        ((x, y),) = ((bytes(inputs[0].tolist()), bytes(targets[0].tolist())),)
        assert y in whole
        assert x[1:] == y[:-1]


@given(n=st.integers(8, 300), context=st.integers(1, 8), epoch=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_windows_lie_within_the_text_one_in_each_stretch(n: int, context: int, epoch: int) -> None:
    numbers = torch.arange(n + 1, dtype=torch.int64)  # a text in which each byte is its position
    loader = WindowLoader(numbers, context, 4, masked=False, seed=0)
    loader.set_epoch(epoch)
    inputs, targets = seen(loader)
    assert torch.equal(inputs + 1, targets)
    assert inputs.min() >= 0
    assert targets.max() <= n
    first = inputs[:, 0].sort()[0]
    if len(first) == n // context:  # no batch was left out: they are spread over the text
        stretch = (n - context + 1) / len(first)
        assert ((first - torch.arange(len(first)) * stretch).abs() <= stretch + 1).all()


def test_offsets_differ_by_epoch_and_seed_and_resume(file: Path) -> None:
    def loader(seed: int = 0) -> Any:
        return text(file, seed=seed, objective="masked").train_dataloader()

    straight = loader()
    one, two = list(straight), list(straight)
    assert not torch.equal(one[0][0], two[0][0])
    assert not torch.equal(next(iter(loader(1)))[0], one[0][0])
    stopped = text(file, batch_size=16, objective="masked")
    expected = list(stopped.train_dataloader())
    for at in range(1, len(expected)):
        first, second = stopped.train_dataloader(), stopped.train_dataloader()
        batches = iter(first)
        for _ in range(at):
            next(batches)
        second.load_state_dict(first.state_dict())
        rest = list(second)
        assert len(rest) == len(expected) - at
        for (x, y), (a, b) in zip(rest, expected[at:], strict=True):
            assert torch.equal(x, a)
            assert torch.equal(y, b)


@given(length=st.integers(1, 60), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_masking_keeps_what_it_does_not_choose(length: int, seed: int) -> None:
    text = torch.randint(0, 256, (5, length), generator=generator(seed))
    inputs, targets = mask(text, generator(seed, 1))
    chosen = targets != IGNORE
    assert (chosen.sum(1) == max(1, round(0.15 * length))).all()
    assert torch.equal(targets[chosen], text[chosen])
    assert torch.equal(inputs[~chosen], text[~chosen])
    assert inputs.max() <= MASK_SYMBOL


def test_masking_has_the_proportions_of_the_paper() -> None:
    text = torch.full((2000, 100), 7)
    inputs, targets = mask(text, generator(0))
    shown = inputs[targets != IGNORE]
    assert len(shown) == 2000 * 15
    assert float((shown == MASK_SYMBOL).float().mean()) == pytest.approx(0.8, abs=0.01)
    assert float((shown == 7).float().mean()) == pytest.approx(0.1 + 0.1 / 256, abs=0.01)
    others = shown[(shown != 7) & (shown != MASK_SYMBOL)]
    assert len(others.unique()) == 255


def test_windows_are_one_byte_apart() -> None:
    inputs, targets = windows(torch.arange(10, dtype=torch.uint8), torch.tensor([0, 6]), 3)
    assert inputs.tolist() == [[0, 1, 2], [6, 7, 8]]
    assert targets.tolist() == [[1, 2, 3], [7, 8, 9]]
    assert inputs.dtype == targets.dtype == torch.int64


def test_without_a_path_it_reads_the_standard_library() -> None:
    data = text(None)
    data.prepare()
    parts = [bytes(part[1:].tolist()) for part in data._parts.values()]
    whole = b"".join(parts)
    assert len(whole) == LIMIT
    first = min(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    assert whole.startswith(first.read_bytes())
    again = text(None)
    again.prepare()
    assert [bytes(part[1:].tolist()) for part in again._parts.values()] == parts


def test_shapes(file: Path) -> None:
    data = text(file, context=16, batch_size=4)
    assert (data.input_shape, data.num_classes) == ((16,), 256)
    inputs, targets = next(iter(data.train_dataloader()))
    assert inputs.shape == targets.shape == (4, 16)
    assert inputs.dtype == targets.dtype == torch.int64


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"context": 0}, "context must be .* at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size .* got 1.5"),
        ({"val_size": 0.0}, r"val_size must be a fraction of the text in \(0, 1\), got 0.0"),
        ({"test_size": 100}, "test_size must be a fraction .* got 100"),
        ({"val_size": 0.5, "test_size": 0.5}, "leave nothing to train on"),
        ({"objective": "both"}, "objective must be causal or masked, got 'both'"),
        ({"seed": -1}, "seed must .* got -1"),
    ],
)
def test_bad_settings_are_refused_at_once(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        text(None, **changes)


def test_files_that_will_not_do(tmp_path: Path, file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.path=.*absent is no file"):
        text(tmp_path / "absent").prepare()
    with pytest.raises(FileNotFoundError, match="is no file"):
        text(tmp_path).prepare()
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match="is an empty file"):
        text(tmp_path / "empty").prepare()
    with pytest.raises(ValueError, match=r"val part has 200 of its 1000 .* data\.context=201"):
        text(file, context=201).prepare()
    text(file, context=200).prepare()
