"""Files that run without boildown, against the network they were made of."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import boildown
from boildown.exporting import Exported, export
from boildown.lowrank.factorize import factorize
from boildown.models.alexnet import AlexNet
from boildown.models.lenet import LeNet5, LeNet300
from boildown.models.mlp import MLP
from boildown.models.resnet import ResNet
from boildown.models.squeezenet import SqueezeNet
from boildown.models.tabular import TabularResNet
from boildown.models.transformer import BERT, GPT
from boildown.models.vgg import VGG16
from boildown.quantize.activations import InputGrid, attach, observed, quantizable
from boildown.quantize.grid import Granularity, blocks_of, misfit
from boildown.quantize.rounding import Uniform
from boildown.structure.shrink import groups_of, shrink

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore")  # of torch.export and onnxscript

Zoo = tuple[nn.Module, Tensor]


def zoo(name: str) -> Zoo:
    torch.manual_seed(0)
    image, small = torch.rand(4, 1, 28, 28), torch.randn(3, 3, 32, 32)
    large, text = torch.randn(2, 3, 224, 224), torch.randint(0, 64, (3, 16))
    smallest = torch.randn(2, 3, 67, 67)
    made: dict[str, Callable[[], Zoo]] = {
        "mlp": lambda: (MLP((1, 28, 28), 10, [32]), image),
        "lenet300": lambda: (LeNet300((1, 28, 28), 10), image),
        "lenet5": lambda: (LeNet5((1, 28, 28), 10), image),
        "resnet": lambda: (ResNet((3, 32, 32), 10, 8, 8), small),
        "resnet20": lambda: (ResNet((3, 32, 32), 10, 16, 20), small),
        "squeezenet": lambda: (SqueezeNet((3, 224, 224), 10, dropout=0.5), large),
        "gpt": lambda: (GPT((16,), 64, 64, 2, None, False, 0.0), text),
        "gpt_tied": lambda: (GPT((16,), 64, 64, 2, None, True, 0.0), text),
        "bert": lambda: (BERT((16,), 64, 64, 2, None, False, 0.0), text),
        "tabular": lambda: (TabularResNet((10,), 1, 64, 2, 2, 0.0), torch.randn(5, 10)),
        "alexnet": lambda: (AlexNet((3, 67, 67), 10, dropout=0.5), smallest),
        "vgg16": lambda: (VGG16((3, 32, 32), 10, dropout=0.5), small),
    }
    model, example = made[name]()
    model.train()
    with torch.no_grad():
        if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()):
            model(example)
        for part in model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_()
    return model.eval(), example


def on_grids(
    zoo: Zoo, bits: int = 8, activations: int = 8, granularity: Granularity = "channel"
) -> Zoo:
    """Weights, and with activations > 0 inputs, on grids."""
    model, example = copy.deepcopy(zoo[0]), zoo[1]
    names = quantizable(model)
    with torch.no_grad():
        for name in names:
            weight = model.get_submodule(name).get_parameter("weight")
            if not misfit(weight.shape, granularity):
                blocks, rounding = blocks_of(weight, granularity), Uniform(bits, "mse")
                weight.copy_(rounding.seen(blocks, rounding.start(blocks)).view_as(weight))
    if activations:
        grids = observed(model, [example], dict.fromkeys(names, activations))
        for name, grid in grids.items():
            hook = InputGrid(torch.tensor(float(grid.scale)), int(grid.zero), activations)
            attach(model.get_submodule(name), hook)
    return model, example


def stored(path: Path) -> dict[str, np.ndarray]:
    return {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


FAST = ["mlp", "lenet300", "lenet5", "resnet", "gpt", "gpt_tied", "bert", "tabular"]
SLOW = ["resnet20", "squeezenet", "alexnet", "vgg16"]
ALL = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.mark.parametrize("name", ALL)
def test_a_dense_network_of_the_zoo_computes_the_same(name: str, tmp_path: Path) -> None:
    made = export(zoo(name)[0], tmp_path / "model.onnx", zoo(name)[1])
    assert made.difference <= 1e-4
    assert made.bytes == (tmp_path / "model.onnx").stat().st_size


@pytest.mark.parametrize("name", ALL)
def test_a_quantized_network_of_the_zoo_is_stored_in_whole_numbers(
    name: str, tmp_path: Path
) -> None:
    model, example = on_grids(zoo(name))
    made = export(model, tmp_path / "model.onnx", example)
    tied = {"head.weight"} if name == "gpt_tied" else set()
    assert set(made.integers) == {f"{n}.weight" for n in quantizable(model)} - tied
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"))


@pytest.mark.parametrize("name", ["lenet300", "lenet5", "resnet20"])
def test_a_file_of_8_bits_takes_at_most_three_tenths(name: str, tmp_path: Path) -> None:
    model, example = zoo(name)
    dense = export(model, tmp_path / "dense.onnx", example)
    assert (
        export(*_path(on_grids((model, example)), tmp_path / "int8.onnx")).bytes
        <= 0.3 * dense.bytes
    )


def _path(zoo: Zoo, path: Path) -> tuple[nn.Module, Path, Tensor]:
    return zoo[0], path, zoo[1]


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_codes_times_steps_are_the_weights_to_the_bit(bits: int, tmp_path: Path) -> None:
    model, example = on_grids(zoo("lenet5"), bits)
    export(model, tmp_path / "model.onnx", example)
    found = stored(tmp_path / "model.onnx")
    for name in quantizable(model):
        codes, steps = found[f"{name}.weight.codes"], found[f"{name}.weight.step"]
        assert codes.dtype == np.int8
        assert steps.shape == (len(codes),)
        made = codes.astype(np.float32) * steps.reshape(-1, *[1] * (codes.ndim - 1))
        assert np.array_equal(made, model.get_submodule(name).get_parameter("weight").detach())
        if bits == 4 and codes.ndim > 2:  # sums with finer steps, to which biases are rounded
            assert np.abs(codes.astype(int)).max() in range(33, 65)


@pytest.mark.parametrize("activations", [8, 5])
def test_inputs_are_rounded_as_in_the_network(activations: int, tmp_path: Path) -> None:
    model, example = on_grids(zoo("lenet300"), activations=activations)
    export(model, tmp_path / "model.onnx", example)
    found = operators(tmp_path / "model.onnx")
    assert found.count("QuantizeLinear") == 3
    assert found.count("Clip") == (0 if activations == 8 else 3)


@pytest.mark.parametrize("name", ["lenet300", "gpt", "lenet5"])
@pytest.mark.parametrize(("bits", "granularity"), [(8, "channel"), (8, "tensor"), (4, 16)])
def test_weights_alone_may_be_whole_numbers(
    name: str, bits: int, granularity: Granularity, tmp_path: Path
) -> None:
    model, example = on_grids(zoo(name), bits, 0, granularity)
    made = export(model, tmp_path / "model.onnx", example)
    assert made.difference <= 1e-4
    assert set(made.integers) <= set(made.left)  # whole numbers in the file alone


def test_batch_norms_go_into_the_steps_and_leave_the_codes(tmp_path: Path) -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3, bias=False)
            self.norm = nn.BatchNorm2d(6)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.norm(self.conv(x)).relu()
            return out

    torch.manual_seed(0)
    plain = Normed().eval()
    with torch.no_grad():
        plain.norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 0.0, 1.5, 3.0]))
        plain.norm.running_mean.normal_()  # type: ignore[operator]
        plain.norm.running_var.uniform_(0.5, 2.0)  # type: ignore[operator]
    model, example = on_grids((plain, torch.randn(2, 3, 8, 8)), bits=7)
    export(model, tmp_path / "model.onnx", example)
    assert "BatchNormalization" not in operators(tmp_path / "model.onnx")
    found = stored(tmp_path / "model.onnx")
    weight = model.get_parameter("conv.weight").detach().numpy()
    own = found["conv.weight.codes"].astype(np.float64)
    factor = (plain.norm.weight / (plain.norm.running_var + plain.norm.eps).sqrt()).detach()
    made = own * found["conv.weight.step"].reshape(-1, 1, 1, 1)
    assert np.allclose(made, weight * factor.numpy().reshape(-1, 1, 1, 1), rtol=1e-6)
    assert (own[1] * weight[1] <= 0).all()  # a factor below zero turns the sign
    assert not own[3].any()


def test_smaller_layers_are_smaller_operators(tmp_path: Path) -> None:
    model, example = zoo("lenet5")
    factored = factorize(model, {"conv2": 6, "fc1": 12})
    groups, _ = groups_of(model, example)
    half = {group.name: list(range(len(group) // 2)) for group in groups}
    narrow = shrink(model, half, example, groups)
    whole = export(model, tmp_path / "whole.onnx", example).bytes
    for name, small in (("factored", factored), ("narrow", narrow)):
        small.eval()
        made = export(small, tmp_path / f"{name}.onnx", example)
        quantized = export(*_path(on_grids((small, example)), tmp_path / f"{name}8.onnx"))
        assert quantized.bytes < made.bytes < 0.6 * whole
        assert len(quantized.integers) == len(quantizable(small))


def test_pruned_and_shared_weights_are_written_as_they_are(tmp_path: Path) -> None:
    model, example = zoo("lenet300")
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Linear):
                weight = part.weight
                levels = torch.randn(8)
                levels[0] = 0.0
                weight.copy_(levels[torch.randint(0, 8, weight.shape)] * 0.05)
    made = export(model, tmp_path / "model.onnx", example)
    assert made.integers == {}
    assert np.array_equal(stored(tmp_path / "model.onnx")["fc1.weight"], model.fc1.weight.detach())


def test_any_number_of_samples_is_taken(tmp_path: Path) -> None:
    model, example = on_grids(zoo("lenet5"), activations=0)
    export(model, tmp_path / "model.onnx", example[:1])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    images = torch.rand(17, 1, 28, 28)
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert torch.allclose(torch.from_numpy(found), model(images), atol=1e-4)


def test_sums_that_16_bits_may_clip_are_told(tmp_path: Path) -> None:
    of_8 = export(*_path(on_grids(zoo("lenet300")), tmp_path / "8.onnx"))
    of_7 = export(*_path(on_grids(zoo("lenet300"), bits=7), tmp_path / "7.onnx"))
    assert (set(of_8.saturating), of_7.saturating) == ({"fc1", "fc2", "fc3"}, ())


@pytest.mark.parametrize("ending", [".pt2", ".safetensors"])
def test_other_kinds_hold_the_same(ending: str, tmp_path: Path) -> None:
    model, example = on_grids(zoo("lenet300"))
    path = tmp_path / f"model{ending}"
    made = export(model, path, example)
    assert made.bytes == path.stat().st_size
    if ending == ".pt2":
        ran = torch.export.load(path).module()
        assert torch.allclose(ran(example[:3]), model(example[:3]), atol=1e-5)
    else:
        assert boildown.codec.dense_bytes(model.state_dict()) < made.bytes


def test_a_failed_check_leaves_no_file(tmp_path: Path) -> None:
    class Random(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.ones(3).uniform_()

    with pytest.raises(ValueError, match=r"differ|counterpart|follow"):
        export(Random(), tmp_path / "model.onnx", torch.randn(2, 3))
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_counterpart_is_named_with_its_layer(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(x)

    model = nn.Sequential(nn.Linear(3, 3), Odd())
    with pytest.raises(ValueError, match=r"layer 1 has no counterpart in ONNX"):
        export(model, tmp_path / "model.onnx", torch.randn(2, 3))


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        ("model.tflite", None, r"must end in \.onnx, \.pt2, \.safetensors"),
        ("model.onnx", "tflite", r"one of onnx, torch, safetensors, got 'tflite'"),
    ],
)
def test_other_kinds_are_refused(path: str, to: str | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        export(nn.Linear(2, 2), tmp_path / path, torch.randn(1, 2), to=to)  # type: ignore[arg-type]


def test_a_network_without_an_example_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass a batch of its input"):
        export(nn.Linear(2, 2), tmp_path / "model.onnx")


def test_the_result_tells_what_was_left(tmp_path: Path) -> None:
    made: Exported = export(*_path(zoo("lenet300"), tmp_path / "model.onnx"))
    assert set(made.left) == {"fc1.weight", "fc2.weight", "fc3.weight"}
    assert "no uniform grid" in made.left["fc1.weight"]
