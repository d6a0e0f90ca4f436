"""Columns of outliers at 16 bits and the rest at few, against more bits at equal bytes.

python benchmarks/outliers.py --root FILE [--plant 16]
python benchmarks/outliers.py --forms

A GPT is trained on a text for each seed, as by ptq.py, or found where that kept it. --plant makes
one channel in 32 of what each norm puts out so many times larger, and the columns that read it so
many times smaller: the network computes the same, and has the outlier features of large language
models. It is quantized with so many columns apart, without, with one bit more for some layers, and
with one more for all; each is packed, read back, and measured on the test text once. Prints
Markdown: means over the seeds with their standard deviation, and bytes of files on disk. --forms
tells what the two products of a layer take, with the rest narrower or of full width.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ptq import calibration, dense_net, gpt, mean, quantize
from torch import Tensor, nn
from torch.nn import functional as F

from boildown import pack
from boildown.quantize.layers import Plan
from boildown.quantize.observers import fit_grid

FRACTIONS = (0.005, 0.01, 0.02)
EVERY = 32  # channels, of which one is planted


@torch.no_grad()
def plant(net: nn.Module, times: float) -> None:
    readers = [(block.norm1, block.qkv) for block in net.blocks]
    readers += [(block.norm2, block.up) for block in net.blocks]
    for norm, reader in [*readers, (net.norm, net.head)]:
        norm.weight[EVERY // 2 :: EVERY] *= times
        reader.weight[:, EVERY // 2 :: EVERY] /= times


def plans(method: Any, bits: int) -> dict[str, Plan]:
    """Row of the table -> plan."""
    more = {"out": "blocks.*.out.weight", "head": "head.weight"}
    return {
        f"{bits} bits": Plan(bits, method=method),
        **{
            f"{bits} bits, {fraction:.1%} apart": Plan(bits, method=method, outliers=fraction)
            for fraction in FRACTIONS
        },
        **{
            f"{bits} bits, `{name}` {bits + 1}": Plan({one: bits + 1, "*": bits}, method=method)
            for name, one in more.items()
        },
        f"{bits + 1} bits": Plan(bits + 1, method=method),
    }


def run(args: argparse.Namespace) -> dict[str, Any]:
    kept = args.out / f"outliers_{args.plant:g}.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    args.net, args.dense = "gpt", None
    for place, seed in enumerate(args.seeds):
        case = gpt(args.root, seed, args.out)
        dense = dense_net(args, case, place, seed)
        if args.plant > 1:
            plant(dense, args.plant)
        samples = calibration(case, args.samples)
        for method in args.methods:
            rows = {row: plan for bits in args.bits for row, plan in plans(method, bits).items()}
            for row, plan in rows.items():
                key = f"{seed} {method} {row}"
                if key not in found:
                    found[key] = quantize(
                        case, dense, samples, plan, args.out / f"{kept.stem}.boil"
                    )
                    print(key, found[key], flush=True)
                    kept.write_text(json.dumps(found, indent=1))
    return found


def table(args: argparse.Namespace, found: dict[str, Any]) -> None:
    print("\n| method | weights | bits per byte | outputs lost | bytes |\n|---|---|---|---|---|")
    for method in args.methods:
        for row in dict.fromkeys(r for bits in args.bits for r in plans(method, bits)):
            each = [found[f"{seed} {method} {row}"] for seed in args.seeds]
            print(
                f"| {method} | {row} | {mean((o['figure'] for o in each), 4)} | "
                f"{statistics.mean(o['layers'] for o in each):.2g} | "
                f"{statistics.mean(o['bytes'] for o in each):,.0f} |"
            )


def forms(few: int = 5) -> None:
    """A layer of random weights with its first columns apart; the least time of 50."""
    torch.manual_seed(0)
    print("| inputs | form | bytes, 4 bits | 3 bits | 2,048 rows, us | 64 | 1 |")
    print("|---|---|---|---|---|---|---|")
    for width in (256, 1024):
        weight = 0.05 * torch.randn(width, width)
        apart = weight[:, :few].half().float()
        full, index, others = weight.clone(), torch.arange(few), torch.arange(few, width)
        full[:, :few] = 0.0
        narrow = weight[:, few:].contiguous()

        for name, call, rest in (
            ("one product", F.linear, weight),
            ("`rest` of full width", partial(two, few=(index, apart), others=None), full),
            ("`rest` narrower", partial(two, few=(index, apart), others=others), narrow),
        ):
            sizes = []
            for bits in (4, 3):
                state = {"rest": fit_grid(rest, bits).nearest(rest)}
                state |= {} if rest is weight else {"outliers": apart}
                with tempfile.TemporaryDirectory() as folder:
                    sizes.append(pack(state, Path(folder) / "layer.boil"))
            times = [least(partial(call, torch.randn(rows, width), rest)) for rows in (2048, 64, 1)]
            cells = [f"{size:,}" for size in sizes] + [f"{1e6 * t:,.0f}" for t in times]
            print(f"| {width} | {name} | {' | '.join(cells)} |")


def two(x: Tensor, rest: Tensor, few: tuple[Tensor, Tensor], others: Tensor | None) -> Tensor:
    """The sum of both products; without `others` the rest is of full width."""
    index, apart = few
    own = x if others is None else x.index_select(-1, others)
    return F.linear(x.index_select(-1, index), apart).add_(F.linear(own, rest))


@torch.inference_mode()
def least(call: Callable[[], object]) -> float:
    times = []
    for _ in range(50):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root")
    parser.add_argument("--forms", action="store_true")
    parser.add_argument("--plant", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["nearest", "gptq"])
    parser.add_argument("--bits", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--out", type=Path, default=Path("outputs/ptq"))
    args = parser.parse_args()
    if args.forms or args.root is None:
        torch.set_num_threads(1)
        return forms()
    args.out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    return table(args, run(args))


if __name__ == "__main__":
    main()
