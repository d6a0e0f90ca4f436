"""What each way to lower one layer's rank does to the answers of a trained network.

python benchmarks/one_layer.py --net keras_cnn --root IMAGES.tar.gz [--seed 0] [--share 0.25]

One layer at a time keeps a share of its parameters, by each of its schemes. Counted are the answers
that change, and the error that this makes, on validation images.
"""

from collections.abc import Iterator

import torch
from rank_nets import calibrating, error, options, prepared
from torch import Tensor, nn

from boildown.lowrank.prune_ranks import METHODS
from boildown.lowrank.rank_search import RankSearch
from boildown.lowrank.studied import Schemes, Studied


@torch.inference_mode()
def answers(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.cat([model(x).argmax(1) for x, _ in batches])


def networks(net: Studied, name: str, rank: int) -> Iterator[tuple[str, nn.Module]]:
    """The network with one layer cut, by each method."""
    for method in reversed(METHODS):
        search = RankSearch(net, method, asymmetric=False)
        search.ways[name] = search.best_way(name, [rank])
        yield method, net.build(search.solutions({name: rank}))


def main() -> None:
    """Train the net, or load it if that was done before, then print a table."""
    parser = options(__doc__, views=2, positions=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.25, help="of the layer's parameters")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    model, data = prepared(arguments.net, arguments.root, arguments.seed, arguments.out)
    calibration = calibrating(data, arguments.samples, arguments.views)
    batches = list(data.val_dataloader())
    dense, said = error(model, batches), answers(model, batches)
    print(f"| {arguments.net}, {dense:.2%} | rank | way | answers changed | error, points |")
    print("|---|---|---|---|---|")
    done = set()
    settings: tuple[Schemes, ...] = ("default", "cheapest")
    for kinds in settings:
        rows = len(torch.cat(calibration))
        net = Studied(model, calibration, None, kinds, rows, arguments.positions, 0)
        for name, layer in net.layers.items():
            rank = int(arguments.share * layer.dense / layer.parameters(1))
            if rank < 1 or (name, layer.scheme) in done:
                continue
            done.add((name, layer.scheme))
            for way, network in networks(net, name, rank):
                now = answers(network.eval(), batches)
                changed = float((now != said).double().mean())
                more = 100.0 * (error(network, batches) - dense)
                print(
                    f"| {name}, {layer.scheme} | {rank} | {way} | {changed:.2%} | {more:+.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
