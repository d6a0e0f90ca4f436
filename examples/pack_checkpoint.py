"""A checkpoint that another tool pruned, packed and taken apart again: no training, no Lightning.

    python examples/pack_checkpoint.py

The same from the shell: `boildown pack`, `boildown inspect` and `boildown unpack`.
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import prune

import boildown
from boildown import codec


def main(directory: Path) -> None:
    """Prune with torch, save, pack, look inside, and get every bit back."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10))
    for layer in (model[0], model[2]):
        prune.l1_unstructured(layer, "weight", amount=0.95)
        prune.remove(layer, "weight")  # makes the zeros part of the weight
    checkpoint, file = directory / "pruned.pt", directory / "pruned.boil"
    torch.save(model.state_dict(), checkpoint)

    size = boildown.pack(torch.load(checkpoint, weights_only=True), file)
    print(f"{checkpoint.stat().st_size} -> {size} bytes")
    for tensor in codec.inspect(file):
        print(f"  {tensor.name:<10} {tensor.nonzero:>6} of {tensor.numel:>6} kept, {tensor.coder}")

    found = boildown.unpack(file)
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path())
    main(parser.parse_args().out)
