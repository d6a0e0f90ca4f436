"""What quantized networks take in a file, against the entropy of their codes.

    python train.py +compression=qat compression.bits=4 hydra.run.dir=RUN
    python benchmarks/quantized_bytes.py RUN...

For each run of the recipe qat the network of its file, and the dense one it began from with each
weight at the nearest value of a grid: of its channel, or of the whole tensor, with the steps of
least squared error (mse) or those that reach the largest weight (minmax). Errors are of the
validation data. "No grids" are the bytes without the coder of grids.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import Tensor

import boildown
from boildown import codec
from boildown.codec.steps import codes_of, find_steps
from boildown.codec.tensor import CODERS, GRID
from boildown.quantize.grid import Granularity, blocks_of
from boildown.quantize.observers import Observer, fit_grid
from boildown.quantize.rounding import Ternary

State = dict[str, Tensor]


WAYS: tuple[tuple[Observer, Granularity], ...] = (
    ("mse", "channel"),
    ("minmax", "channel"),
    ("mse", "tensor"),
)


def nearest(
    dense: State, names: list[str], bits: int | str, observer: Observer, granularity: Granularity
) -> State:
    """Each weight of these names at the nearest value of its grid."""
    found = dict(dense)
    for name in names:
        blocks = blocks_of(dense[name], granularity)
        if isinstance(bits, str):
            seen = Ternary().seen(blocks, Ternary().start(blocks))
        else:
            seen = fit_grid(blocks, bits, observer=observer).nearest(blocks)
        found[name] = (seen + 0.0).reshape(dense[name].shape)
    return found


def entropy(state: State, names: list[str], granularity: Granularity) -> tuple[float, int]:
    """Bytes of the order-0 entropy of each weight's codes, and of the steps."""
    codes = steps = 0.0
    for name in names:
        matrix = blocks_of(state[name], granularity).numpy()
        found = find_steps(matrix)
        found = find_steps(matrix, by_sign=True) if found is None else found
        assert found is not None
        counts = np.unique(codes_of(matrix, found), return_counts=True)[1]
        codes += float((counts * np.log2(counts.sum() / counts)).sum()) / 8
        steps += 4 * found.size
    return codes, int(steps)


def without_grids(state: State, config: dict[str, object] | None) -> int:
    """Bytes of the file, were there no coder of grids."""
    coder = CODERS.pop(GRID)
    try:
        return codec.estimate(state, config)
    finally:
        CODERS[GRID] = coder


@torch.no_grad()
def error(net: torch.nn.Module, state: State, run: Path) -> float:
    """Percent of the validation data that a network of these weights gets wrong."""
    data = instantiate(OmegaConf.load(run / "config.yaml").data)
    data.prepare()
    net.load_state_dict({name: state[name] for name in net.state_dict()})
    net.eval()
    wrong = count = 0
    for x, y in data.val_dataloader():
        wrong += int((net(x).argmax(1) != y).sum())
        count += len(y)
    return 100 * wrong / count


def rows(run: Path) -> Iterator[str]:
    """A row for each network."""
    file = run / "model.boil"
    config, trained = codec.read_config(file), codec.unpack(file)
    bits = OmegaConf.load(run / "config.yaml").compression.bits
    names = [name for name, tensor in trained.items() if tensor.dim() > 1]
    dense = load_file(run / "dense.safetensors")
    ways: dict[str, tuple[State, Granularity]] = {"trained": (trained, "channel")}
    for observer, granularity in WAYS if bits != "ternary" else WAYS[:1]:
        seen = nearest(dense, names, bits, observer, granularity)
        ways[f"nearest, {observer}, {granularity}"] = seen, granularity
    net = boildown.load(file)
    for way, (state, granularity) in ways.items():
        numel = sum(state[name].numel() for name in names)
        codes, steps = entropy(state, names, granularity)
        size = codec.estimate(state, config)
        rest = codec.estimate({n: t for n, t in state.items() if n not in names}, config)
        cells = [
            run.name,
            bits,
            way,
            f"{8 * codes / numel:.2f}",
            f"{8 * (size - rest) / numel:.2f}",
        ]
        cells += [f"{codes + steps:,.0f}", f"{size - rest:,}", f"{size:,}"]
        cells += [f"{without_grids(state, config):,}", f"{error(net, state, run):.2f}"]
        yield "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    print(
        "| run | bits | weights | entropy, bits | coded, bits | entropy and steps, bytes |", end=""
    )
    print(" weights, bytes | file | no grids | error, % |\n|" + "---|" * 10)
    for run in parser.parse_args().runs:
        for row in rows(run):
            print(row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
