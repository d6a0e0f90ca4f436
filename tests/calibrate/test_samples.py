"""boildown.calibrate.samples: the rows of layers' inputs and outputs."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from draws import draw
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Net
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from boildown.calibrate.batches import CalibrationError, calibration_flops
from boildown.calibrate.samples import Samples, feed, samples_of
from boildown.calibrate.tracing import Following, follows
from boildown.models.lenet import LeNet5


def weights_of(layer: nn.Linear | nn.Conv2d, groups: int) -> tuple[Tensor, Tensor]:
    """(groups, m, n) and (groups, 1, m)."""
    weight = layer.weight.detach().flatten(1).unflatten(0, (groups, -1))
    bias = torch.zeros(layer.weight.shape[0]) if layer.bias is None else layer.bias.detach()
    return weight, bias.unflatten(0, (groups, 1, -1))


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.one_of(st.tuples(st.integers(0, 3), st.integers(0, 2)), st.just("valid")),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    positions=st.sampled_from([None, 1, 3, 1000]),
)
@settings(max_examples=40, deadline=None)
def test_patches_times_weights_are_the_outputs(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: Any,
    mode: str,
    groups: int,
    bias: bool,
    positions: int | None,
) -> None:
    layer = nn.Conv2d(
        4, 8, kernel, stride, padding, dilation, groups, bias, padding_mode=mode
    ).double()
    images = draw(3, 4, 9, 8).double()
    (seen,) = samples_of(
        nn.Sequential(layer), images, ["0"], rows=10**6, positions=positions, seed=1
    ).values()
    weight, offset = weights_of(layer, groups)
    torch.testing.assert_close(seen.inputs @ weight.mT + offset, seen.outputs)
    places = layer(images).shape[2:].numel()
    assert seen.inputs.shape[1] == 3 * min(places, positions or places)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", [(3, 3), (4, 2), (1, 5)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding(kernel: tuple[int, int], dilation: int) -> None:
    layer = nn.Conv2d(2, 3, kernel, padding="same", dilation=dilation)
    seen = samples_of(
        nn.Sequential(layer), draw(2, 2, 9, 9), ["0"], rows=999, positions=None, seed=0
    )["0"]
    weight, offset = weights_of(layer, 1)
    torch.testing.assert_close(seen.inputs @ weight.mT + offset, seen.outputs)


def test_all_places_are_those_of_unfold() -> None:
    layer = nn.Conv2d(3, 5, 3, stride=2, padding=1, dilation=2)
    images = draw(2, 3, 11, 11)
    seen = samples_of(nn.Sequential(layer), images, ["0"], rows=999, positions=None, seed=0)["0"]
    expected = F.unfold(images, 3, padding=1, stride=2, dilation=2).mT.flatten(0, 1)
    torch.testing.assert_close(seen.inputs[0], expected)


def test_places_differ_between_images_and_none_comes_twice() -> None:
    class Where(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            return y

    images = torch.arange(36.0).expand(50, 1, 36).reshape(50, 1, 6, 6)
    seen = samples_of(Where(), images, ["conv"], rows=9999, positions=12, seed=0)["conv"]
    places = seen.inputs[0, :, 0].unflatten(0, (50, 12))
    assert all(len(set(row)) == 12 for row in places.tolist())
    assert len({tuple(row) for row in places.tolist()}) == 50
    assert len(places.unique()) == 36


def test_linear_inputs_are_flattened() -> None:
    layer = nn.Linear(4, 3)
    x = draw(5, 7, 4)
    seen = samples_of(nn.Sequential(layer), [x, x[:2]], ["0"], rows=999, positions=None, seed=0)
    torch.testing.assert_close(seen["0"].inputs, torch.cat([x, x[:2]]).reshape(1, -1, 4))
    torch.testing.assert_close(seen["0"].outputs[0], layer(seen["0"].inputs[0]).detach())


def test_a_sample_of_rows_is_uniform_and_its_rows_stay_together() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(2.0)
    batches = list(torch.arange(100.0)[:, None].split(13))
    counts = torch.zeros(100)
    for seed in range(200):
        seen = samples_of(nn.Sequential(layer), batches, ["0"], rows=20, positions=None, seed=seed)[
            "0"
        ]
        assert seen.inputs.shape == (1, 20, 1)
        assert torch.equal(seen.outputs, 2 * seen.inputs)
        counts[seen.inputs.flatten().long()] += 1
    assert (counts > 15).all()  # 40 expected, standard deviation 5.7
    assert (counts < 70).all()


def test_two_models_are_seen_at_the_same_places() -> None:
    images = draw(20, 1, 28, 28)
    models = [LeNet5((1, 28, 28), 10) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    models[1].conv2.weight.data.mul_(2.0)
    models[1].conv2.bias.data.zero_()
    models[0].conv2.bias.data.zero_()
    one, two = (
        samples_of(m, images, ["conv1", "conv2", "fc1"], rows=50, positions=5, seed=3)
        for m in models
    )
    torch.testing.assert_close(one["conv1"].inputs, two["conv1"].inputs)
    torch.testing.assert_close(one["conv2"].inputs, two["conv2"].inputs)
    torch.testing.assert_close(2 * one["conv2"].outputs, two["conv2"].outputs)
    torch.testing.assert_close(2 * one["fc1"].inputs, two["fc1"].inputs)
    other = samples_of(models[0], images, ["conv2"], rows=50, positions=5, seed=4)
    assert not torch.equal(other["conv2"].inputs, one["conv2"].inputs)


def test_an_accumulator_gets_batch_after_batch() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    got: list[tuple[str, tuple[int, ...]]] = []
    feed(
        model,
        [(draw(4, 3), torch.zeros(4)), [draw(2, 3), torch.zeros(2)]],
        ["2", "0"],
        lambda name, x, y: got.append((name, (*x.shape, *y.shape))),
        positions=None,
        seed=0,
    )
    assert got == [
        ("0", (1, 4, 3, 1, 4, 2)),
        ("2", (1, 4, 2, 1, 4, 2)),
        ("0", (1, 2, 3, 1, 2, 2)),
        ("2", (1, 2, 2, 1, 2, 2)),
    ]


def untidy() -> nn.Module:
    """Half of it in training mode, with everything that a training pass would change."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(16, 2),
    )
    model[1].train()
    model[2].eval()
    model[4].train()
    return model


def state_of(model: nn.Module) -> tuple[Any, ...]:
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    tensors = [t.clone() for t in model.state_dict().values()]
    return [m.training for m in model.modules()], hooks, tensors, torch.get_rng_state()


def assert_same(before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    assert before[:2] == after[:2]
    assert all(torch.equal(a, b) for a, b in zip(before[2], after[2], strict=True))
    assert torch.equal(before[3], after[3])
    assert torch.is_grad_enabled()


def test_nothing_is_changed() -> None:
    model, images = untidy(), draw(6, 1, 4, 4)
    before = state_of(model)
    assert not model[2].training
    assert model[1].training
    one = samples_of(model, images, ["0", "5"], rows=9, positions=2, seed=0)
    two = samples_of(model, images, ["0", "5"], rows=9, positions=2, seed=0)
    torch.testing.assert_close(one["5"].inputs, two["5"].inputs)
    assert not one["5"].outputs.requires_grad
    assert follows(model, images)["0"] == Following(True, "1")
    assert calibration_flops(model, images) == 2 * 6 * (4 * 4 * 9 + 16 * 2)
    assert_same(before, state_of(model))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_nothing_is_changed_by_an_interruption(error: type[BaseException]) -> None:
    model, images = untidy(), draw(6, 1, 4, 4)
    before = state_of(model)

    def batches() -> Iterator[Tensor]:
        yield images
        raise error

    def stop(*_: Any) -> None:
        torch.rand(3)
        raise error

    with pytest.raises(error):
        feed(model, images, ["0"], stop, positions=None, seed=0)
    with pytest.raises(error):
        samples_of(model, batches(), ["0"], rows=9, positions=None, seed=0)
    with pytest.raises(error):
        follows(nn.Sequential(model, Net(stop)), images)
    assert_same(before, state_of(model))


def test_samples_outlive_what_comes_after() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True))
    seen = samples_of(model, draw(50, 3), ["0"], rows=50, positions=None, seed=0)["0"]
    assert (seen.outputs < 0).any()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the calibration set is empty"),
        (torch.zeros(0, 3), "the calibration set is empty"),
        ([torch.zeros(0, 3)], "the calibration set is empty"),
        (["image.png"], "no tensor in a batch of type str"),
        ([{}], "no tensor in a batch of type dict"),
        ((torch.zeros(4, 3), torch.zeros(4).long()), "are torch.float32, then torch.int64: give"),
        (TensorDataset(torch.zeros(4, 3)), "TensorDataset gives one sample at a time: wrap it"),
        (torch.full((2, 3), torch.nan), "the inputs of layer 0 hold NaN"),
        ([torch.full((2, 3), 3e38)], "the outputs of layer 0 hold NaN or infinity"),
    ],
)
def test_refused_data(data: Any, message: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    model[0].weight.data.fill_(2.0)
    with pytest.raises(CalibrationError, match=message):
        samples_of(model, data, ["0"], rows=9, positions=None, seed=0)


def test_refused_layers() -> None:
    model = Net(lambda m, x: m.a(x), a=nn.Linear(3, 3), b=nn.Linear(3, 3), c=nn.ReLU())

    def run(layer: str, rows: int = 9, positions: int | None = None) -> dict[str, Samples]:
        return samples_of(model, draw(2, 3), [layer], rows=rows, positions=positions, seed=0)

    with pytest.raises(CalibrationError, match="never reach layer b"):
        run("b")
    with pytest.raises(ValueError, match="'c' is a ReLU: only Linear and Conv2d"):
        run("c")
    with pytest.raises(ValueError, match="no layer 'd'; there are a, b"):
        run("d")
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        run("a", rows=0)
    with pytest.raises(ValueError, match="positions must be at least 1, got 0"):
        run("a", positions=0)


@pytest.mark.parametrize("rows", [1000, 9])
def test_rows_say_which_batch_they_come_from(rows: int) -> None:
    """The layer sees time first, and twice in every pass: rows are not in the samples' order."""
    model = Net(lambda m, x: m.a(x.transpose(0, 1)) + m.a(x.transpose(0, 1)), a=nn.Linear(3, 3))
    batches = [torch.full((n, 4, 3), float(i)) for i, n in enumerate((2, 3, 1))]
    seen = samples_of(model, batches, ["a"], rows=rows, positions=None, seed=0)["a"]
    assert seen.inputs.shape[1] == len(seen.batches) == min(rows, 48)
    assert torch.equal(seen.inputs[0, :, 0], seen.batches.float())
    some = seen.rows(seen.batches == 1)
    assert torch.equal(some.inputs[0, :, 0], torch.ones(len(some.batches)))
