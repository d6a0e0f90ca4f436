"""What lower ranks do to the labels' cross-entropy: the divergence, and a term of first order.

python benchmarks/first_order.py --net vgg11_half --root IMAGES.tar.gz [--seed 0] [--share 0.25]

At the same ranks, truncated and fitted to the inputs. With p the dense network's probabilities, y
the labels and d the change of the logits, the cross-entropy rises by the divergence from p and the
mean of (p - y) d. On training images that were not calibrated on, and on validation images.
"""

from dataclasses import dataclass

import torch
from rank_curves import Batches, logits
from rank_nets import augmented, calibrating, options, prepared
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.files.progress import progress
from boildown.lowrank.fitted_layer import Way
from boildown.lowrank.rank_search import RankSearch
from boildown.lowrank.studied import Studied, divergence

OTHERS = 10_000  # training images to look at
FITTED = Way(damping=0.3, floor=0.3)


@dataclass(frozen=True)
class Rise:
    """What a network loses against the dense one; nats, but for the error."""

    error: float
    divergence: float
    cross_entropy: float
    first_order: float
    standard_error: float


def rise(before: Tensor, now: Tensor, targets: Tensor) -> Rise:
    """From logits (N, classes) float64 and labels (N,)."""
    missed = before.softmax(1) - F.one_hot(targets, before.shape[1])
    each = (missed * (now - before)).sum(1)
    errors = [float((z.argmax(1) != targets).double().mean()) for z in (before, now)]
    return Rise(
        error=errors[1] - errors[0],
        divergence=divergence(before, now),
        cross_entropy=float(F.cross_entropy(now, targets) - F.cross_entropy(before, targets)),
        first_order=float(each.mean()),
        standard_error=float(each.std() / len(each) ** 0.5),
    )


def report(way: str, model: nn.Module, network: nn.Module, images: dict[str, Batches]) -> None:
    """A line of the table for each set of images."""
    for name, batches in images.items():
        before, now = (logits(net.eval(), batches).double() for net in (model, network))
        one = rise(before, now, torch.cat([y for _, y in batches]))
        print(
            f"| {name} | {way} | {100 * one.error:+.2f} | {one.divergence:.4f} | "
            f"{one.cross_entropy:+.4f} | {one.first_order:.4f} ± {one.standard_error:.4f} |",
            flush=True,
        )


def main() -> None:
    """Train the net, or load it if that was done before, then print a table."""
    parser = options(__doc__, views=2, positions=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.25, help="of the network's parameters")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    model, data = prepared(arguments.net, arguments.root, arguments.seed, arguments.out)
    calibration = calibrating(data, arguments.samples, arguments.views)
    train = data.train_dataloader()
    assert train.subset is not None
    order = torch.randperm(len(train.subset), generator=torch.Generator().manual_seed(0))
    others = order[arguments.samples : arguments.samples + OTHERS]
    images: dict[str, Batches] = {
        "training": list(augmented(data, train, train.subset[others])),
        "validation": list(data.val_dataloader()),
    }
    rows = len(torch.cat(calibration))
    net = Studied(model, calibration, None, "cheapest", rows, arguments.positions, arguments.seed)
    plain = RankSearch(net, "plain", asymmetric=False)
    with progress("layers (plain)", len(net.layers), in_bytes=False) as tick:
        path = plain.path(tick)
    wanted = arguments.share * net.parameters({})
    ranks = min(path, key=lambda ranks: abs(net.parameters(ranks) - wanted))
    fitted = RankSearch(net, "activation", asymmetric=True)
    fitted.ways = dict.fromkeys(net.layers, FITTED)
    print(f"{arguments.net}, seed {arguments.seed}: {net.parameters(ranks)} parameters, {ranks}")
    print("| images | way | error, points | divergence | cross-entropy | first order |")
    print("|---|---|---|---|---|---|", flush=True)
    for way, search in (("plain", plain), ("fitted to the inputs", fitted)):
        report(way, model, net.build(search.solutions(ranks)), images)


if __name__ == "__main__":
    main()
