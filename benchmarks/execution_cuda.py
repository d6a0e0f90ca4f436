"""Sparse layers against dense ones on CUDA, at AlexNet's shapes, and what `compile` makes of them.

python benchmarks/execution_cuda.py [--out FILE.json]

First the forms alone, medians by CUDA events: compressed rows (CSR) and blocks of 16x16 (BSR) at
Deep Compression's 9, 9 and 25 %, and 2:4. Then a network of the three layers, pruned 2:4, through
`boildown.runtime.compile`: its outputs must be those of the network, and 2:4 must be taken where it
is clearly faster. fc8 has 1000 outputs, which the 2:4 form does not take: they are no multiple
of 16.
"""

import argparse
import json
import statistics
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.prune.criteria import magnitude
from boildown.prune.layers import prune_oneshot
from boildown.runtime import compile
from boildown.runtime.forms import TwoOfFour
from boildown.runtime.plan import FASTER, differ, tolerance

BATCHES = (1, 32, 256)
LARGE = 4096  # a batch at which the products, and not the calls, take the time
LAYERS = {"fc6": (9216, 4096, 0.09), "fc7": (4096, 4096, 0.09), "fc8": (4096, 1000, 0.25)}
BLOCK = 16
SLOW = 0.02  # seconds, of which no median is needed
ROUNDS, LEAST = 25, 2e-4  # measurements, and seconds that each takes at least
CLOSE = 1e-4  # of the largest output, as `compile` asks of a network
CLEARLY = 1.15  # times, by which a form that is not taken may not be faster


def median(way: Callable[[], Any]) -> float:
    """Seconds of a call, by CUDA events around several."""

    def measure(calls: int) -> float:
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        for _ in range(calls):
            way()
        ended.record()
        ended.synchronize()
        return 1e-3 * began.elapsed_time(ended) / calls

    if (first := measure(3)) > SLOW:
        return first
    calls = 1 + int(LEAST / max(measure(3), 1e-6))
    return statistics.median(measure(calls) for _ in range(ROUNDS))


def replayed(way: Callable[[], Any]) -> float:
    """Seconds of a call on the device alone, replayed as a graph of ten."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            way()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(10):
            way()
    return median(graph.replay) / 10


def cut(weight: Tensor, kept: float) -> Tensor:
    """The weight with its smallest entries zero."""
    least = weight.abs().flatten().float().kthvalue(int((1.0 - kept) * weight.numel())).values
    return weight * (weight.abs() > least)


def cut_in_blocks(weight: Tensor, kept: float) -> Tensor:
    """The weight with those of its blocks zero whose entries are smallest."""
    m, n = weight.shape
    blocks = weight.view(m // BLOCK, BLOCK, n // BLOCK, BLOCK)
    return (blocks * (cut(blocks.abs().mean((1, 3)), kept) > 0)[:, None, :, None]).view(m, n)


def two_of_four(weight: Tensor) -> Tensor:
    """The weight with the two smallest of each four zero."""
    groups = weight.view(len(weight), -1, 4)
    return groups.scatter(2, groups.abs().topk(2, dim=2, largest=False).indices, 0.0).view_as(
        weight
    )


def ways(weight: Tensor, kept: float, x: Tensor, form: str) -> tuple[Callable[[], Tensor], Tensor]:
    """How a form is called, and the weight that it stands for."""
    if form == "dense":
        return (lambda: F.linear(x, weight)), weight
    if form == "csr":
        small = cut(weight, kept)
        rows, given = small.to_sparse_csr(), x.T.contiguous()
        return (lambda: (rows @ given).T), small
    if form == "bsr":
        small = cut_in_blocks(weight, kept)
        blocks = small.to_sparse_bsr((BLOCK, BLOCK))
        return (lambda: F.linear(x, blocks)), small
    small = two_of_four(weight)
    packed = TwoOfFour(small)
    return (lambda: packed(x, None, 0)), small


@torch.no_grad()
def alone(form: str, dtype: torch.dtype, how: Callable[..., float]) -> list[dict[str, Any]]:
    """A form of each layer at each batch; what is not possible, and why."""
    found = []
    for name, (inputs, outputs, kept) in LAYERS.items():
        torch.manual_seed(0)
        weight = (torch.randn(outputs, inputs, device="cuda") / inputs**0.5).to(dtype)
        for batch in (*BATCHES, LARGE):
            row = {"layer": name, "batch": batch, "form": form, "dtype": str(dtype)[6:]}
            row["how"] = "calls" if how is median else "graph"
            try:
                x = torch.randn(batch, inputs, device="cuda").to(dtype)
                way, small = ways(weight, kept, x, form)
                off = differ(F.linear(x.float(), small.float()), way().float())
                if not off <= 4.0 * tolerance(1e-3, dtype):
                    raise ValueError(f"its outputs are off by {off:.1e} of the largest")
                row |= {"seconds": how(way), "off": off}
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {error}"[:300]
            found.append(row)
            print(row, flush=True)
    return found


@torch.no_grad()
def compiled(dtype: torch.dtype, batches: tuple[int, ...]) -> dict[str, Any]:
    """What `compile` measures and chooses, and what is wrong with that."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs, _ in LAYERS.values():
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    dense = nn.Sequential(*layers[:-1]).cuda()
    samples = torch.randn(64, 9216, device="cuda")
    model = prune_oneshot(dense, samples, method=magnitude, pattern="2:4").to(dtype)
    x = torch.randn(max(batches), 9216, device="cuda").to(dtype)
    wrong = []
    for backend, size in (("2:4", (3,)), ("auto", batches)):
        made = compile(model, x, backend, batches=size)
        for batch in (3, *batches):
            off = differ(model(x[:batch]), made(x[:batch]))
            print(f"{dtype} {backend} batch {batch}: outputs differ by {off:.1e}", flush=True)
            if not off <= tolerance(CLOSE, dtype):
                wrong.append(f"{backend} at batch {batch}: outputs differ by {off:.1e}")
        for name, tensor in model.state_dict().items():
            if not torch.equal(made.state_dict()[name], tensor):
                wrong.append(f"{backend}: {name} is not what it was")
    lines = [vars(line) | {"times": line.times} for line in made.report.lines()]
    for line in lines:
        print(line, flush=True)
    wrong += not_taken(made.report, batches)
    rows = [vars(row) for row in made.report.layers]
    return {"machine": str(made.report.machine), "lines": lines, "rows": rows, "wrong": wrong}


def not_taken(report: Any, batches: tuple[int, ...]) -> list[str]:
    """Layers for which 2:4 is clearly faster and was not taken, though the network was compiled."""
    wrong = []
    for layer in ("0", "2"):
        for batch in batches:
            took = {row.form: row for row in report.of(layer, batch)}
            if "2:4" not in took:
                print(f"layer {layer}, batch {batch}: 2:4 was hopeless or not possible", flush=True)
                continue
            best = min(took.values(), key=lambda row: row.seconds)
            times = took["dense"].seconds / took["2:4"].seconds
            print(f"layer {layer}, batch {batch}: 2:4 is {times:.2f} times as fast", flush=True)
            given_up = not any(r.chosen and r.form != "dense" for r in report.layers
                               if r.batch == batch)  # fmt: skip
            clear = best.form == "2:4" and times > CLEARLY * FASTER
            if clear and not given_up and not took["2:4"].chosen:
                wrong.append(f"layer {layer}, batch {batch}: 2:4 is {times:.2f} times as fast")
    if not any(row.form == "2:4" for row in report.layers):
        wrong.append("2:4 was offered for no layer")
    return wrong


def main() -> None:
    """Measure, in the order of what is wanted most, and write after each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/execution_cuda.json"))
    parser.add_argument("--seconds", type=float, default=30.0, help="after which no part begins")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    half, brain = torch.float16, torch.bfloat16
    parts: dict[str, Callable[[], Any]] = {
        "dense float16": lambda: alone("dense", half, median),
        "dense float32": lambda: alone("dense", torch.float32, median),
        "csr float32": lambda: alone("csr", torch.float32, median),
        "2:4 float16": lambda: alone("2:4", half, median),
        "csr float16": lambda: alone("csr", half, median),
        "compile float16": lambda: compiled(half, (*BATCHES, LARGE)),
        "compile bfloat16": lambda: compiled(brain, (LARGE,)),
        "bsr float16": lambda: alone("bsr", half, median),
        "dense graph": lambda: alone("dense", half, replayed),
        "2:4 graph": lambda: alone("2:4", half, replayed),
    }
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    began, failed = time.monotonic(), False
    for name, part in parts.items():
        if time.monotonic() - began > given.seconds:
            print(f"no time for {name}", flush=True)
            continue
        try:
            found[name] = part()
            failed |= bool(isinstance(found[name], dict) and found[name]["wrong"])
        except Exception:
            failed, found[name] = True, traceback.format_exc()
            print(f"{name} FAILED: {found[name]}", flush=True)
        print(f"{time.monotonic() - began:.1f} s: {name}", flush=True)
        given.out.write_text(json.dumps(found, indent=1, default=str))
    wrong = [text for part in found.values() if isinstance(part, dict) for text in part["wrong"]]
    print("\n".join(["EXECUTION WRONG", *wrong]) if failed else "EXECUTION RIGHT", flush=True)
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
