"""Test errors of quantized networks in torch, and of their ONNX files in onnxruntime.

python benchmarks/exported.py --net lenet5 --root DIR --dense SEED0.pt SEED1.pt ...
python benchmarks/exported.py --net resnet20 --root DECODED --dense SEED0.pt SEED1.pt ...

--root: MNIST's IDX files; or CIFAR-10's images as `criteria_data.decode` writes them. Each dense
network is quantized after its training, weights to --bits and inputs of layers to 8, packed, read
back and exported. Every test image is read once by each: the dense network, the one whose values
lie on grids (in floats), and its file in onnxruntime. Prints Markdown: errors in %, means over the
networks with their standard deviation, and how many of the answers differ.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from criteria_data import AT_ONCE, Data, Part, cifar, mnist
from torch import Tensor, nn

import boildown
from boildown.checkpoints.checkpoint import load_state_dict
from boildown.exporting.onnx_file import session_of
from boildown.models.lenet import LeNet5
from boildown.models.resnet import ResNet
from boildown.quantize.layers import quantize_oneshot
from boildown.runtime.report import this_machine

NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[str], Data]]] = {
    "lenet5": (lambda: LeNet5((1, 28, 28), 10), lambda root: mnist(root, "cpu", None)),
    "resnet20": (
        lambda: ResNet((3, 32, 32), 10, width=16, depth=20),
        lambda root: cifar(Path(root), "cpu", None),
    ),
}


@torch.no_grad()
def answers(says: Callable[[Tensor], Tensor], part: Part) -> Tensor:
    return torch.cat([says(inputs).argmax(1) for inputs in part[0].split(AT_ONCE)])


def mean(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {spread:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--net", choices=NETS, required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--dense", nargs="+", required=True)
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4])
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--out", type=Path, default=Path("outputs/exported"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    build, read = NETS[args.net]
    data = read(args.root)
    samples = torch.cat([inputs for inputs, _ in data.calibration(args.samples, 64)])
    ways = ["dense", *(f"{b} bits, {where}" for b in args.bits for where in ("torch", "file"))]
    said: dict[str, list[Tensor]] = {way: [] for way in ways}
    sizes: dict[int, list[int]] = {bits: [] for bits in args.bits}
    for place, path in enumerate(args.dense):
        net = build()
        net.load_state_dict(load_state_dict(Path(path)))
        net.eval()
        said["dense"].append(answers(net, data.test))
        for bits in args.bits:
            file = args.out / f"{args.net}-{place}-{bits}.boil"
            boildown.pack(quantize_oneshot(net, samples, bits, activations=8), file)
            small = boildown.load(file, build())
            made = boildown.export(small, file.with_suffix(".onnx"), samples[:4])
            sizes[bits].append(made.bytes)
            run = session_of(file.with_suffix(".onnx"), 1)
            said[f"{bits} bits, torch"].append(answers(small, data.test))
            said[f"{bits} bits, file"].append(
                answers(lambda inputs, run=run: run(inputs)[0], data.test)
            )
    targets = data.test[1]
    wrong = {
        w: [100 * float((a != targets).float().mean()) for a in each] for w, each in said.items()
    }
    print(f"{this_machine(torch.device('cpu'))}; {args.net}, dense {mean(wrong['dense'])} %\n")
    print("| weights, inputs | in torch | in onnxruntime | apart at most | other answers | bytes |")
    print("|---|---|---|---|---|---|")
    for bits in args.bits:
        one, other = (f"{bits} bits, {where}" for where in ("torch", "file"))
        apart = max(abs(a - b) for a, b in zip(wrong[one], wrong[other], strict=True))
        others = [int((a != b).sum()) for a, b in zip(said[one], said[other], strict=True)]
        print(
            f"| {bits} and 8 bits | {mean(wrong[one])} % | {mean(wrong[other])} % | {apart:.2f} | "
            f"{', '.join(map(str, others))} of {len(targets):,} | "
            f"{statistics.mean(sizes[bits]):,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
