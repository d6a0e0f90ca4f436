"""Layers in whole numbers against fp32: medians of interleaved calls.

python benchmarks/integer.py [--threads 2] [--batch 32] [--rounds 9] [--networks]

Layers alone: a linear layer of 4096 x 4096 at batches 1 and 32, and VGG-16's convolutions at
--batch, weights of 7 or 8 bits and inputs of 8. "fp32" is the layer without any rounding, "rounded"
with the rounding that training sees, "taken" the form that `boildown.runtime.compile` takes.
Goals over fp32: the linear layer 2; the convolutions 1.3 with AVX2, 2 with VNNI. With --networks
whole ones too, in milliseconds, in onnxruntime from their files (the extra onnx).
ONEDNN_MAX_CPU_ISA=AVX2 in the environment shows int8 forms as on a CPU without VNNI.
"""

import argparse
import copy
import statistics
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from boildown.models.lenet import LeNet5, LeNet300
from boildown.models.resnet import ResNet
from boildown.quantize.activations import InputGrid, attach, observed, quantizable
from boildown.quantize.grid import blocks_of
from boildown.quantize.rounding import Uniform
from boildown.runtime import compile
from boildown.runtime.integer import clips
from boildown.runtime.report import this_machine
from boildown.stopwatch import in_turns

CPU = torch.device("cpu")
CONVOLUTIONS = (  # inputs, outputs, pixels of a side; 3 x 3, how often in VGG-16
    (3, 64, 224, 1),
    (64, 64, 224, 1),
    (64, 128, 112, 1),
    (128, 128, 112, 1),
    (128, 256, 56, 1),
    (256, 256, 56, 2),
    (256, 512, 28, 1),
    (512, 512, 28, 2),
    (512, 512, 14, 3),
)


def on_grids(model: nn.Module, example: Tensor, bits: int, activations: int = 8) -> nn.Module:
    """The model with weights on grids, and with activations > 0 its layers' inputs."""
    names = quantizable(model)
    with torch.no_grad():
        for name in names:
            weight = model.get_submodule(name).get_parameter("weight")
            blocks, rounding = blocks_of(weight, "channel"), Uniform(bits, "minmax")
            weight.copy_(rounding.seen(blocks, rounding.start(blocks)).view_as(weight))
    if activations:
        grids = observed(model, [example], dict.fromkeys(names, activations), "minmax")
        for name, grid in grids.items():
            hook = InputGrid(torch.tensor(float(grid.scale)), int(grid.zero), activations)
            attach(model.get_submodule(name), hook)
    return model.eval()


def layer(name: str, plain: nn.Module, x: Tensor, bits: int, rounds: int, activations: int) -> None:
    one = nn.Sequential(plain).eval()
    rounded = on_grids(nn.Sequential(plain).eval(), x, bits, activations)
    fp32 = nn.Sequential(type(plain)(*arguments(plain), **settings(plain))).eval()
    fp32.load_state_dict(one.state_dict())
    fast = compile(rounded, x)
    forms = [row.form for row in fast.report.layers if row.chosen]
    with torch.no_grad():
        ways = {"fp32": fp32, "rounded": rounded, "taken": fast}
        calls = {key: lambda way=way: way(x) for key, way in ways.items()}
        took = in_turns(calls, CPU, at_least=rounds)
    middle = {key: statistics.median(each) for key, each in took.items()}
    best = min(took["fp32"]) / min(took["taken"])
    print(
        f"| {name} | {bits}, {activations or 'fp32'} | {len(x)} | {1e3 * middle['fp32']:.2f} | "
        f"{1e3 * middle['rounded']:.2f} | {1e3 * middle['taken']:.2f} | {', '.join(forms)} | "
        f"{middle['fp32'] / middle['taken']:.2f} | {best:.2f} |",
        flush=True,
    )


def arguments(plain: nn.Module) -> tuple[int, ...]:
    if isinstance(plain, nn.Linear):
        return plain.in_features, plain.out_features
    return plain.in_channels, plain.out_channels, 3


def settings(plain: nn.Module) -> dict[str, int]:
    return {} if isinstance(plain, nn.Linear) else {"padding": 1}


def networks(rounds: int) -> None:
    """Whole ones: torch's fp32, rounded and compiled, and onnxruntime's from both files."""
    from boildown.exporting import export
    from boildown.exporting.onnx_file import session_of

    print("\n| network | batch | fp32 | compiled | onnxruntime fp32 | int8 | bytes fp32 | int8 |")
    print("|---|---|---|---|---|---|---|---|")
    image, small = torch.rand(64, 1, 28, 28), torch.randn(32, 3, 32, 32)
    for name, build, x in (
        ("LeNet-300-100", lambda: LeNet300((1, 28, 28), 10), image),
        ("LeNet-5", lambda: LeNet5((1, 28, 28), 10), image),
        ("ResNet-20", lambda: ResNet((3, 32, 32), 10, 16, 20), small),
    ):
        torch.manual_seed(0)
        plain = build().eval()
        whole = on_grids(copy.deepcopy(plain), x, 7)
        fast = compile(whole, x, batches=[1, 32])
        files, sizes = {}, []
        with tempfile.TemporaryDirectory() as place, torch.no_grad():
            for kind, model in (("fp32", plain), ("int8", whole)):
                path = Path(place) / f"{kind}.onnx"
                sizes.append(f"{export(model, path, x[:4]).bytes:,}")
                files[f"onnxruntime {kind}"] = session_of(path, torch.get_num_threads())
            for batch in (1, 32):
                ways = {"fp32": plain, "compiled": fast, **files}
                calls = {way: partial(one, x[:batch]) for way, one in ways.items()}
                took = in_turns(calls, CPU, at_least=rounds)
                figures = [f"{1e3 * statistics.median(took[way]):.3g}" for way in ways]
                print("|", " | ".join([name, str(batch), *figures, *sizes]), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f"{this_machine(CPU)}; sums of bytes are clipped: {'yes' if clips() else 'no'}\n")
    print("| layer | bits | batch | fp32 ms | rounded | taken | form | over fp32 | at best |")
    print("|---|---|---|---|---|---|---|---|---|")
    for bits, activations in ((8, 8), (7, 8), (8, 0)):
        for batch in (1, 32):
            x = torch.randn(batch, 4096).relu()
            plain = nn.Linear(4096, 4096)
            layer("linear 4096 x 4096", plain, x, bits, args.rounds, activations)
    for inputs, outputs, side, _ in CONVOLUTIONS:
        x = torch.randn(args.batch, inputs, side, side).relu()
        plain = nn.Conv2d(inputs, outputs, 3, padding=1)
        layer(f"{inputs} to {outputs}, {side} x {side}", plain, x, 7, args.rounds, 8)
    if args.networks:
        networks(args.rounds)


if __name__ == "__main__":
    main()
