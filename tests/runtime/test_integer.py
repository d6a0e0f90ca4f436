"""Layers on grids in whole numbers: the same outputs, on the forms that the CPU has."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import boildown
from boildown.quantize.activations import InputGrid, attach, grid_on, observed, quantizable
from boildown.quantize.grid import blocks_of
from boildown.quantize.integers import integers_of, may_clip
from boildown.quantize.rounding import Uniform
from boildown.runtime import Report, compile
from boildown.runtime.bytes_form import bytes_form
from boildown.runtime.forms import Window
from boildown.runtime.integer import Integer, clips, whole_forms
from boildown.runtime.layer import CompiledLayer


def on_grids(model: nn.Module, example: Tensor, bits: int = 8, activations: int = 8) -> nn.Module:
    model = copy.deepcopy(model).eval()
    names = quantizable(model)
    with torch.no_grad():
        for name in names:
            weight = model.get_submodule(name).get_parameter("weight")
            blocks, rounding = blocks_of(weight, "channel"), Uniform(bits, "mse")
            weight.copy_(rounding.seen(blocks, rounding.start(blocks)).view_as(weight))
    if activations:
        for name, grid in observed(model, [example], dict.fromkeys(names, activations)).items():
            hook = InputGrid(torch.tensor(float(grid.scale)), int(grid.zero), activations)
            attach(model.get_submodule(name), hook)
    return model


def layer_of(
    kind: Callable[[], nn.Module], shape: tuple[int, ...], **bits: int
) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    example = torch.randn(shape)
    model = on_grids(nn.Sequential(kind()), example, **bits)
    return model[0], example  # type: ignore[index]


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(37, 19), (5, 37)),
    "one sample": (lambda: nn.Linear(64, 64), (1, 64)),
    "three axes": (lambda: nn.Linear(16, 24, bias=False), (2, 7, 16)),
    "convolution": (lambda: nn.Conv2d(3, 8, 3, padding=1), (2, 3, 9, 9)),
    "stride": (lambda: nn.Conv2d(8, 6, 5, stride=2, padding=2, bias=False), (3, 8, 11, 13)),
    "dilation": (lambda: nn.Conv2d(4, 8, 3, dilation=2), (1, 4, 12, 12)),
    "groups": (lambda: nn.Conv2d(8, 8, 3, groups=4), (2, 8, 6, 6)),
    "one image": (lambda: nn.Conv2d(3, 8, 3, padding=1), (3, 9, 9)),
}


@pytest.mark.skipif(clips(), reason="this CPU adds products of bytes in 16 bits")
@pytest.mark.parametrize("activations", [8, 4])
@pytest.mark.parametrize("case", CASES)
def test_whole_numbers_give_the_layer_within_a_step_of_an_input(
    case: str, activations: int
) -> None:
    layer, example = layer_of(*CASES[case], activations=activations)
    weight = layer.get_parameter("weight").detach()
    grid, integers = grid_on(layer), integers_of(weight)
    assert grid is not None
    assert integers is not None
    form = Integer(integers, grid, Window.of(layer))
    bias = layer.bias if isinstance(layer.bias, Tensor) else None
    with torch.no_grad():
        found, expected = form(example, bias, 0), layer(example)
    assert float((found - expected).abs().max()) <= form.apart
    assert torch.equal(form.dense(), weight)
    rest = found.sub(expected).abs().flatten().sort().values
    assert float(rest[: int(0.9 * len(rest))].max()) <= 1e-5 * float(expected.abs().max())


@pytest.mark.skipif(clips(), reason="this CPU adds products of bytes in 16 bits")
@pytest.mark.parametrize("activations", [8, 5])
@pytest.mark.parametrize("case", ["linear", "one sample", "three axes"])
def test_fbgemm_gives_the_layer_within_a_step_of_an_input(case: str, activations: int) -> None:
    layer, example = layer_of(*CASES[case], activations=activations)
    grid, integers = grid_on(layer), integers_of(layer.get_parameter("weight").detach())
    assert grid is not None
    form = whole_forms(integers, grid, None, torch.device("cpu")).get("fbgemm")
    if form is None:
        pytest.skip("torch has no FBGEMM here")
    bias = layer.bias if isinstance(layer.bias, Tensor) else None
    with torch.no_grad():
        found, expected = form(example, bias, 0), layer(example)
    assert float((found - expected).abs().max()) <= form.apart
    assert torch.equal(copy.deepcopy(form)(example, bias, 0), found)


@settings(max_examples=40, deadline=None)
@given(
    outputs=st.integers(1, 9),
    groups=st.integers(1, 4),
    size=st.integers(4, 33),
    bits=st.integers(2, 8),
    rows=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_a_weight_as_bytes_multiplies_as_floats_do(
    outputs: int, groups: int, size: int, bits: int, rows: int, seed: int
) -> None:
    torch.manual_seed(seed)
    blocks = torch.randn(outputs * groups, size)
    rounding = Uniform(bits, "mse")
    weight = rounding.seen(blocks, rounding.start(blocks)).view(outputs, -1)
    integers = integers_of(weight)
    assert integers is not None
    assert torch.equal(integers.values(), weight)
    form = bytes_form(integers, weight)
    if form is None:  # codes that need a zero point
        return
    x, bias = torch.randn(rows, groups * size), torch.randn(outputs)
    exact = x.double() @ weight.double().T + bias
    assert torch.allclose(form(x, bias, 0).double(), exact, atol=1e-4)


@pytest.mark.parametrize("bits", [7, 8])
def test_seven_bits_are_never_clipped(bits: int) -> None:
    codes = torch.full((4, 16), 2.0 ** (bits - 1) - 1)
    codes[:, 0] = -(2.0 ** (bits - 1))
    codes[:, 1] = 1.0  # so that the step is one
    integers = integers_of(codes)
    assert integers is not None
    assert integers.bits == bits
    assert may_clip(integers, 255) is (bits == 8)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 64, 2000)
    )


def test_a_quantized_network_is_compiled_to_whole_numbers() -> None:
    example = torch.randn(4, 3, 8, 8)
    model = on_grids(network(), example, bits=7)
    fast = compile(model, example, backend="int8", batches=[1, 4])
    assert isinstance(fast.report, Report)
    assert {row.form for row in fast.report.layers if row.chosen} == {"int8"}
    with torch.no_grad():
        step = float(model(example).max() - model(example).min()) / 255
        assert float((fast(example) - model(example)).abs().max()) <= 2 * step
    again = copy.deepcopy(fast)
    assert torch.equal(again(example), fast(example))
    state, own = fast.state_dict(), model.state_dict()
    assert state.keys() == own.keys()
    assert all(torch.equal(state[name], own[name]) for name in own)


def test_a_compiled_network_packs_with_its_grids(tmp_path: object) -> None:
    example = torch.randn(4, 3, 8, 8)
    model = on_grids(network(), example, bits=7)
    fast = compile(model, example, backend="int8")
    path = f"{tmp_path}/model.boil"
    boildown.pack(fast, path)
    read = boildown.load(path, network())
    with torch.no_grad():
        assert torch.equal(read(example), model(example))


def test_rounding_stays_where_another_size_is_dense() -> None:
    example = torch.randn(4, 3, 8, 8)
    model = on_grids(network(), example, bits=7, activations=3)
    fast = compile(model, example, backend="rounded")
    assert any(isinstance(part, CompiledLayer) for part in fast.modules())
    with torch.no_grad():
        assert torch.equal(fast(example), model(example))


def test_weights_alone_on_grids_are_bytes_for_one_sample() -> None:
    torch.manual_seed(0)
    example = torch.randn(1, 500)
    model = on_grids(nn.Sequential(nn.Linear(500, 300)), example, activations=0)
    fast = compile(model, example, backend="bytes")
    with torch.no_grad():
        assert torch.allclose(fast(example), model(example), atol=1e-5)
    with pytest.raises(ValueError, match="no layer of the Sequential can be computed as int8"):
        compile(model, example, backend="int8")


def test_auto_takes_whole_numbers_only_where_they_are_faster() -> None:
    example = torch.randn(4, 3, 8, 8)
    model = on_grids(network(), example, bits=7)

    def turns(ways: dict[str, object], *_: object, **__: object) -> dict[str, list[float]]:
        return {name: [1.0 if name in ("dense", "compiled") else 2.0] * 5 for name in ways}

    fast = compile(model, example, turns=turns)
    assert {row.form for row in fast.report.layers if row.chosen} == {"dense"}  # type: ignore[union-attr]
