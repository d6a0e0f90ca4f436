"""QuantizeAfter inside Lightning: a dense training that ends on grids."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from fits import drawn, fit, layers
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

from boildown import load, pack
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.prune import Prune
from boildown.callbacks.quantize import Quantize
from boildown.callbacks.quantize_after import QuantizeAfter
from boildown.callbacks.share import ShareWeights
from boildown.quantize.activations import grid_on
from boildown.quantize.layers import Plan, quantized

INPUTS = drawn()


def calibration() -> list[tuple[Tensor, Tensor]]:
    return [INPUTS]


def go(*callbacks: Callback, steps: int = 32, **options: Any) -> tuple[ComputeBudget, nn.Module]:
    budget = ComputeBudget(steps=steps)
    model = fit([budget, *callbacks], lambda p: torch.optim.AdamW(p, lr=0.01), **options)[1]
    return budget, model


@pytest.mark.parametrize("method", ["nearest", "gptq", "adaround"])
def test_it_is_a_dense_training_and_then_quantization(method: Any) -> None:
    after = QuantizeAfter(bits=4, activations=8, method=method, calibration=calibration)
    budget, model = go(after)
    plain, dense = go()
    expected = quantized(dense, [INPUTS[0]], Plan(4, 8, method))
    for name, weight in expected.model.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name
    for name in ("0", "2"):
        here, there = (grid_on(m.get_submodule(name)) for m in (model, expected.model))
        assert here is not None
        assert there is not None
        assert here.entry == there.entry
    assert after.found is not None
    assert budget.flops - plain.flops == after.found.flops > 0
    told = after.results["quantized"]
    assert told["weights"]["model.0.weight"]["bits"] == 4
    assert told["left"] == {}


def test_the_file_keeps_the_grids(tmp_path: Path) -> None:
    model = go(QuantizeAfter(bits=3, activations=8, calibration=calibration))[1]
    pack(model, tmp_path / "net.boil")
    back = load(tmp_path / "net.boil", nn.Sequential(*layers()))
    with torch.no_grad():
        assert torch.equal(back(INPUTS[0]), model(INPUTS[0]))


def test_pruned_weights_stay_pruned() -> None:
    prune = Prune(sparsity=0.6, begin=0.2, end=0.6, scope="layer")
    after = QuantizeAfter(bits=4, method="gptq", calibration=calibration)
    model = go(prune, after)[1]
    for name, mask in prune.masks.items():
        weight = model.state_dict()[name.removeprefix("model.")]
        assert (weight[~mask] == 0.0).all()
        assert all(len(row.unique()) <= 16 for row in weight)


def test_what_a_callback_ends_early_is_quantized_too() -> None:
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
            if trainer.global_step == 5:
                trainer.should_stop = True

    after = QuantizeAfter(bits=2, calibration=calibration)
    model = go(after, Stop())[1]
    assert max(len(row.unique()) for row in model.get_parameter("0.weight")) <= 4


def test_what_the_optimizer_does_not_train_is_left() -> None:
    net = nn.Sequential(*layers())
    net[0].weight.requires_grad = False
    before = copy.deepcopy(net[0].weight.detach())
    after = QuantizeAfter(bits=2, calibration=calibration)
    go(after, model=net)
    assert torch.equal(net[0].weight, before)
    assert after.results["quantized"]["left"] == {"model.0.weight": "not trained"}


def test_a_preview_has_the_values_of_the_grid() -> None:
    after = QuantizeAfter(bits={"0": 3, "*": "ternary"}, exclude=["1"])
    weights = {
        name: nn.Parameter(torch.randn(6, 8)) for name in ("0.weight", "1.weight", "2.weight")
    }
    found = after.preview(weights)
    assert torch.equal(found["1.weight"], weights["1.weight"])
    assert max(len(row.unique()) for row in found["0.weight"]) <= 8
    assert max(len(row.unique()) for row in found["2.weight"]) <= 3


BAD: list[tuple[dict[str, Any], str]] = [
    ({"bits": 1}, "quantize.bits must be a whole number from 2 to 8, got 1"),
    ({"activations": 9}, "quantize.activations must be a whole number from 2 to 8, got 9"),
    ({"method": "best"}, "quantize.method must be one of nearest, gptq, adaround"),
    ({"granularity": 0}, "quantize.granularity must be tensor, channel"),
    ({"observer": "eye"}, "quantize.observer must be one of"),
    ({"samples": 0}, "quantize.samples must be a whole number of at least 1, got 0"),
]


@pytest.mark.parametrize(("given", "says"), BAD)
def test_bad_settings_are_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        QuantizeAfter(**given)


LATE: list[tuple[dict[str, Any], list[Callback], str]] = [
    ({"granularity": 5}, [], r"quantize\.granularity=5: model\.0\.weight has 12 inputs"),
    ({"exclude": ["no"]}, [], "quantize.exclude: the pattern 'no' matches no tensor"),
    ({"bits": {"no": 4}}, [], "quantize.bits: the pattern 'no' matches no tensor"),
    ({"activations": {"no": 4}}, [], "quantize.activations: the pattern 'no' matches"),
    ({"calibration": None}, [], "no samples to calibrate with: give calibration="),
    ({}, [Quantize()], "QuantizeAfter and Quantize both say which values"),
    ({}, [ShareWeights(bits=4)], "QuantizeAfter and ShareWeights both say which values"),
    ({}, [WeightAveraging()], "WeightAveraging writes an average"),
]


@pytest.mark.parametrize(("given", "others", "says"), LATE)
def test_what_cannot_be_is_told_before_the_training(
    given: dict[str, Any], others: list[Callback], says: str
) -> None:
    after = QuantizeAfter(**({"calibration": calibration} | given))
    with pytest.raises(ValueError, match=says):
        go(after, *others)


def test_what_cannot_be_copied_is_told_before_the_training() -> None:
    net = nn.Sequential(*layers())
    net[0].derived = net[0].weight * 2  # as the older weight_norm has it
    with pytest.raises(ValueError, match="the Classification cannot be copied"):
        go(QuantizeAfter(calibration=calibration), model=net)
