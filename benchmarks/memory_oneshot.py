"""Peak memory of one-shot pruning: a transformer of 60 million parameters.

python benchmarks/memory_oneshot.py [--depth 9] [--methods wanda sparsegpt alps obs] [--mix 0.5]

A GPT 768 wide, whose blocks have matrices of 768 x 768 (four) and 768 x 3072 (two), on 8 sequences
of 64 symbols; each method in a process of its own. Prints, in Markdown, what the process held at
most, with torch and the network, and how long it took. ALPS is stopped after 10 of its at most 300
steps, which hold the same; its last step, and what is done with the second moments, is all there.
"""

import argparse
import resource
import subprocess
import sys
import time

WIDTH, CONTEXT, SYMBOLS, SEQUENCES = 768, 64, 256, 8
SPARSITY, STEPS = 0.7, 10


def measure(method: str, depth: int, mix: float, only: list[str]) -> None:
    """Prune here, and print a row."""
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from boildown.models.transformer import GPT
    from boildown.prune import criteria, reconstruct
    from boildown.prune.layers import prune_oneshot

    torch.manual_seed(0)
    reconstruct.STEPS = STEPS
    net = GPT((CONTEXT,), SYMBOLS, width=WIDTH, depth=depth, heads=12, tied=False, dropout=0.0)
    held = sum(p.numel() for p in net.parameters())
    symbols = torch.randint(0, SYMBOLS, (SEQUENCES, CONTEXT + 1))
    batches = [(each[:, :-1], each[:, 1:]) for each in symbols.split(8)]

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    names = [n for n, p in net.named_parameters() if p.ndim == 2]
    left = [n for n in names if not any(n.startswith(f"blocks.{part}") for part in only)]
    begin, before = time.perf_counter(), peak()
    made = prune_oneshot(
        net,
        batches,
        SPARSITY,
        method=criteria.wanda if method == "wanda" else method,  # type: ignore[arg-type]
        exclude=left if only else ["embed", "position"],
        mix=mix,
        loss=loss,
    )
    cut = [n for n, p in made.named_parameters() if int((p == 0).sum()) > 0.69 * p.numel()]
    print(
        f"| {method} | {mix:g} | {held / 1e6:.1f} | {len(cut)} | {before:.2f} | {peak():.2f} | "
        f"{time.perf_counter() - begin:.0f} |",
        flush=True,
    )


def peak() -> float:
    """GiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--depth", type=int, default=9)
    parser.add_argument("--methods", nargs="+", default=["wanda", "sparsegpt", "alps"])
    parser.add_argument("--mix", type=float, default=0.0)
    parser.add_argument("--only", nargs="*", default=[], help="parts of blocks, such as 0.down")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        measure(args.methods[0], args.depth, args.mix, args.only)
        return
    print("| method | mix | parameters, M | cut | GiB before | GiB at most | seconds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for method in args.methods:
        own = [
            "--only",
            *args.only,
            "--here",
            "--depth",
            str(args.depth),
            "--mix",
            str(args.mix),
            "--methods",
            method,
        ]
        subprocess.run([sys.executable, __file__, *own], check=True)


if __name__ == "__main__":
    main()
