"""Pack and unpack AlexNet's 61 million parameters.

The shapes are those of Caffe's AlexNet; kept share and bits of each layer are Deep Compression's
(Table 4). The weights are SYNTHETIC: Gaussian, the largest kept, shared by a codebook of evenly
spaced values. Trained weights are less even, and so take fewer bits after Huffman coding.

    python benchmarks/alexnet_pack.py

Source: Han, Mao and Dally 2016, https://arxiv.org/abs/1510.00149
"""

import ctypes
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from boildown import codec

LAYERS = {  # shape, kept, bits
    "conv1": ((96, 3, 11, 11), 0.84, 8),
    "conv2": ((256, 48, 5, 5), 0.38, 8),
    "conv3": ((384, 256, 3, 3), 0.35, 8),
    "conv4": ((384, 192, 3, 3), 0.37, 8),
    "conv5": ((256, 192, 3, 3), 0.37, 8),
    "fc6": ((4096, 9216), 0.09, 5),
    "fc7": ((4096, 4096), 0.09, 5),
    "fc8": ((1000, 4096), 0.25, 5),
}
PAPER_RATIO = 35

T = TypeVar("T")


def synthetic(seed: int = 0) -> dict[str, Tensor]:
    """The state dict; biases are fp32 and left alone."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, (shape, kept, bits) in LAYERS.items():
        weight = torch.randn(shape, generator=generator)
        pruned = round((1 - kept) * weight.numel())
        weight[weight.abs() <= weight.abs().flatten().kthvalue(pruned).values] = 0
        most = weight.abs().max()
        step = 2 * most / 2**bits
        # Cell middles: an even number of levels, none of them zero.
        level = ((weight / step).floor() + 0.5).clamp(0.5 - 2 ** (bits - 1), 2 ** (bits - 1) - 0.5)
        state[f"{name}.weight"] = torch.where(weight != 0, level * step, 0.0)
        state[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    return state


def entropy_bytes(symbols: np.ndarray) -> float:
    """Order-0 entropy of all symbols together."""
    _, counts = np.unique(symbols, return_counts=True)
    return float((counts * np.log2(counts.sum() / counts)).sum()) / 8


def bound_bytes(state: dict[str, Tensor]) -> float:
    """Order-0 entropies of codes and of whole gaps (no width, no fillers), and raw biases."""
    total = 0.0
    for tensor in state.values():
        flat = tensor.flatten().numpy()
        if tensor.dim() == 1:
            total += tensor.nbytes
            continue
        at = np.flatnonzero(flat)
        total += entropy_bytes(flat[at]) + entropy_bytes(np.diff(at, prepend=-1))
    return total


def resident() -> int:
    """Resident bytes of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measured(work: Callable[[], T]) -> tuple[T, float, int]:
    """Result, seconds, and the most resident bytes beyond those at the start, sampled each ms."""
    ctypes.CDLL(None).malloc_trim(0)  # or memory freed before would hide what is used now
    before = most = resident()
    done = threading.Event()

    def sample() -> None:
        nonlocal most
        while not done.wait(0.001):
            most = max(most, resident())

    sampler = threading.Thread(target=sample)
    sampler.start()
    start = time.perf_counter()
    result = work()
    took = time.perf_counter() - start
    done.set()
    sampler.join()
    return result, took, max(most, resident()) - before


def main() -> None:
    """Print the figures."""
    torch.set_num_threads(1)
    codec.decode(codec.encode({"w": torch.eye(300)}))  # compile
    state = synthetic()
    dense = codec.dense_bytes(state)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "alexnet.boil"
        size, packing, pack_peak = measured(lambda: codec.pack(state, path))
        back, unpacking, unpack_peak = measured(lambda: codec.unpack(path))
        estimate, estimating, _ = measured(lambda: codec.estimate(state))
    assert all(torch.equal(back[name], state[name]) for name in state)
    bound = bound_bytes(state)
    print(f"SYNTHETIC weights, {dense // 4:,} parameters, one thread")
    print(f"pack      {packing:6.2f} s, peak {pack_peak / 2**20:.0f} MiB beyond the model")
    print(
        f"unpack    {unpacking:6.2f} s, peak {(unpack_peak - dense) / 2**20:.0f} MiB "
        "beyond the result"
    )
    print(f"estimate  {estimating:6.2f} s, {estimate:,} bytes")
    print(f"file      {size:,} bytes, ratio {dense / size:.1f} (paper, trained: {PAPER_RATIO})")
    print(f"order-0   {bound:,.0f} bytes, the file is {100 * (size / bound - 1):.2f} % above")


if __name__ == "__main__":
    main()
