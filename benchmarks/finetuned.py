"""Bytes of fine-tuned networks, alone and as the differences to what they were tuned from.

python benchmarks/finetuned.py DIR --root MNIST

DIR holds lenet5-0.pt, lenet5-1.pt, ...: state dicts of `boildown.models.lenet.LeNet5`, trained on
MNIST. Each is trained for one more epoch on MNIST's 60000 training images, in three ways: all
layers with a small learning rate, by two optimizers, and the last layer alone. All are packed as
fp32, as the optimizer left them, and with all weights, old and new, rounded to bfloat16; every file
is read back and compared bit by bit. Prints Markdown: bytes of files on disk, means over the
networks with their standard deviation.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boildown import pack, unpack
from boildown.data.idx import read_idx
from boildown.models.lenet import LeNet5

State = dict[str, Tensor]
BATCH = 128
WAYS = {  # optimizer's learning rate, and the layers that it trains
    "all layers, SGD, lr 1e-3": (torch.optim.SGD, 1e-3, ""),
    "all layers, AdamW, lr 1e-5": (torch.optim.AdamW, 1e-5, ""),
    "last layer, AdamW, lr 1e-3": (torch.optim.AdamW, 1e-3, "fc2."),
}


def images(root: Path) -> tuple[Tensor, Tensor]:
    found = [
        read_idx(next(path for path in (root / name, root / f"{name}.gz") if path.exists()))
        for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    ]
    pixels = torch.from_numpy(found[0].copy())[:, None].float() / 255
    return (pixels - 0.1307) / 0.3081, torch.from_numpy(found[1].copy()).long()


def tuned(old: State, way: str, inputs: Tensor, labels: Tensor, seed: int) -> State:
    make, lr, layers = WAYS[way]
    torch.manual_seed(seed)
    net: nn.Module = LeNet5((1, 28, 28), 10)
    net.load_state_dict(old)
    trained = [p for name, p in net.named_parameters() if name.startswith(layers)]
    optimizer = make(trained, lr=lr)
    for batch in torch.randperm(len(inputs)).split(BATCH):
        optimizer.zero_grad()
        F.cross_entropy(net(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def size(state: State, base: State | None) -> int:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.boil"
        count = pack(state, path, base=base)
        back = unpack(path, base=base)
    assert all(t.view(torch.uint8).equal(back[n].view(torch.uint8)) for n, t in state.items())
    return count


def told(sizes: list[int]) -> str:
    spread = statistics.stdev(sizes) if len(sizes) > 1 else 0
    return f"{statistics.mean(sizes):,.0f} ± {spread:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    inputs, labels = images(given.root)
    files = sorted(given.directory.glob("lenet5-*.pt"))
    olds = [torch.load(file, weights_only=True) for file in files]
    print(
        f"{len(files)} networks\n\n| trained | dtype | dense | alone | to base | values changed |"
    )
    print("|---|---|---|---|---|---|")
    for way in WAYS:
        news = [tuned(old, way, inputs, labels, seed) for seed, old in enumerate(olds)]
        for dtype in (torch.float32, torch.bfloat16):
            pairs = [
                [{name: t.to(dtype) for name, t in state.items()} for state in pair]
                for pair in zip(olds, news, strict=True)
            ]
            dense = sum(t.nbytes for t in pairs[0][1].values())
            other = [sum(int((n[k] != o[k]).sum()) for k in n) for o, n in pairs]
            count = sum(t.numel() for t in pairs[0][1].values())
            alone, based = [size(n, None) for _, n in pairs], [size(n, o) for o, n in pairs]
            print(
                f"| {way} | {str(dtype).removeprefix('torch.')} | {dense:,} | {told(alone)} | "
                f"{told(based)} | {statistics.mean(other) / count:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
