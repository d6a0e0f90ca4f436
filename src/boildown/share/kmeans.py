"""Which weights share which value: k-means in one dimension, pure functions on tensors.

In one dimension a clustering is a set of cuts of the sorted values, so the best one is found by
dynamic programming. `boildown.callbacks.share.ShareWeights` decides when to call these.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Initialisation = Literal["optimal", "linear", "density", "random"]
Floats = NDArray[np.float64]

EXACT_VALUES = 1 << 17  # distinct values up to which every cut is considered
EXACT_TABLE = 1 << 26  # entries of the table of cuts: 256 MiB
BINS = 4096  # above that, cuts fall between the bins of a histogram
BINS_PER_CLUSTER = 16
DP_CLUSTERS = 1024  # above that, Lloyd's iteration from the asymptotically optimal density
LLOYD_ITERATIONS = 300


@dataclass(frozen=True, slots=True)
class Codebook:
    """A clustering of n values.

    Attributes:
        centroids: (k',) ascending, of the values' dtype; k' <= k.
        codes: (n,) int64, each value's nearest centroid, the lower of two equally near.
        inertia: sum of squared distances to the centroids, in float64.
    """

    centroids: Tensor
    codes: Tensor
    inertia: float


def kmeans_1d(
    values: Tensor, k: int, init: Initialisation = "optimal", *, seed: int = 0
) -> Codebook:
    """Cluster numbers into at most k groups by squared distance.

    "optimal" is the global optimum: exact up to some 10^5 distinct values; above, on a histogram
    fine enough for 0.1 % of the optimum, refined on the values; beyond 1024 clusters, where the
    optimum's density is known (proportional to the cube root of the values'), Lloyd's iteration
    from there. The others start Lloyd's iteration: "linear" evenly between the extremes, "density"
    at equal counts, "random" at values drawn with `seed`. Empty clusters vanish. The order of the
    values does not matter.

    Args:
        values: (n,) finite floats, n >= 1; computed on the CPU, returned on their device.
        k: largest number of clusters, at least 1.
        init: how to start.
        seed: of "random".

    Returns:
        The clustering.

    Raises:
        ValueError: for values that are not a non-empty vector of finite floats, or an unknown
            `init`, or k < 1.

    Source: Han, Mao & Dally 2016, section 3.1 and 3.2, https://arxiv.org/abs/1510.00149; dynamic
    programming: Wang & Song 2011, https://doi.org/10.32614/RJ-2011-015, by divide and conquer.
    """
    if values.ndim != 1 or not values.is_floating_point() or not len(values):
        raise ValueError(
            f"values must be a non-empty vector of floats, got {values.dtype} {list(values.shape)}"
        )
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if init not in get_args(Initialisation):
        raise ValueError(f"init must be one of {get_args(Initialisation)}, got {init!r}")
    if not torch.isfinite(values).all():
        raise ValueError("values hold NaN or infinity")
    flat = values.detach().cpu()
    wide = flat if flat.dtype == torch.float64 else flat.float()
    ordered = np.sort(wide.numpy())
    distinct = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    if len(distinct) <= k:
        centres = distinct.astype(np.float64)
    elif init == "optimal":
        centres = _optimal(ordered, distinct, k)
    else:
        centres = _lloyd(ordered, _start(ordered, distinct, k, init, seed), LLOYD_ITERATIONS)
    centroids = torch.from_numpy(centres).to(flat.dtype).unique()
    middles = (centroids.double()[1:] + centroids.double()[:-1]) / 2
    codes = torch.bucketize(
        wide, middles.to(wide.dtype) if wide.dtype != torch.float64 else middles
    )
    error = 0.0
    for part, code in zip(flat.split(1 << 22), codes.split(1 << 22), strict=True):
        error += float(((part.double() - centroids.double()[code]) ** 2).sum())
    return Codebook(centroids.to(values.device), codes.to(values.device), error)


def centroid_gradient(gradient: Tensor, codes: Tensor, k: int) -> Tensor:
    """The gradient of each centroid: the sum over its cluster, added up in float32 at least.

    Args:
        gradient: (n,) with respect to each weight.
        codes: (n,) int64, each weight's cluster.
        k: number of clusters.

    Returns:
        (k,), same dtype and device.

    Source: Han, Mao & Dally 2016, eq. 3, https://arxiv.org/abs/1510.00149
    """
    exact = torch.promote_types(gradient.dtype, torch.float32)  # bf16 stalls at 256 times a term
    sums = torch.zeros(k, dtype=exact, device=gradient.device)
    return sums.index_add_(0, codes, gradient.to(exact)).to(gradient.dtype)


def tied_gradient(gradient: Tensor, codes: Tensor, sizes: Tensor) -> Tensor:
    """The gradient projected on weights that move with their cluster: the mean over each.

    Args:
        gradient: (n,) with respect to each weight.
        codes: (n,) int64, each weight's cluster.
        sizes: (k,) members of each cluster, at least one.

    Returns:
        (n,), same dtype and device, equal within each cluster.
    """
    exact = torch.promote_types(gradient.dtype, torch.float32)
    sums = torch.zeros(len(sizes), dtype=exact, device=gradient.device)
    sums.index_add_(0, codes, gradient.to(exact))
    return (sums / sizes).to(gradient.dtype).index_select(0, codes)


def share_tensor(
    weight: Tensor, bits: int, init: Initialisation = "optimal", *, seed: int = 0
) -> Tensor:
    """A copy whose nonzero entries take at most 2^bits values; zeros stay zero.

    Args:
        weight: float tensor of any shape.
        bits: at least 1.
        init: see `kmeans_1d`.
        seed: see `kmeans_1d`.
    """
    flat = weight.detach().flatten()
    members = flat.nonzero().flatten()
    shared = torch.zeros_like(flat)
    if len(members):
        book = kmeans_1d(flat[members], 2**bits, init, seed=seed)
        shared[members] = book.centroids[book.codes]
    return shared.reshape(weight.shape)


def round_to(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest values that `dtype` can hold, in the tensor's own dtype.

    A tensor with a value too large for `dtype` is returned as it is, as are integers.
    """
    if not tensor.is_floating_point():
        return tensor
    rounded = tensor.to(dtype).to(tensor.dtype)
    return rounded if torch.isfinite(rounded).all() else tensor


def _start(
    ordered: NDArray[np.floating], distinct: NDArray[np.floating], k: int, init: str, seed: int
) -> Floats:
    if init == "linear":
        return np.linspace(float(ordered[0]), float(ordered[-1]), k)
    if init == "density":
        ranks = (np.arange(k) + 0.5) / k * len(ordered)
        return np.unique(ordered[ranks.astype(np.int64)]).astype(np.float64)
    drawn = np.random.default_rng(seed).choice(len(distinct), k, replace=False)
    return np.sort(distinct[drawn]).astype(np.float64)


def _lloyd(ordered: NDArray[np.floating], centres: Floats, iterations: int) -> Floats:
    """Lloyd's iteration on sorted values, until no value changes its cluster."""
    cuts = np.empty(0, np.int64)
    for _ in range(iterations):
        middles = (centres[1:] + centres[:-1]) / 2
        before, cuts = cuts, np.searchsorted(ordered, middles.astype(ordered.dtype), side="right")
        if np.array_equal(before, cuts):
            break
        centres = _means(ordered, cuts)
    return centres


def _means(ordered: NDArray[np.floating], cuts: NDArray[np.int64]) -> Floats:
    """Means of the runs between the cuts, empty ones left out."""
    starts = np.unique(np.concatenate([[0], cuts]))
    starts = starts[starts < len(ordered)]
    counts = np.diff(np.append(starts, len(ordered)))
    return np.add.reduceat(ordered, starts, dtype=np.float64) / counts


def _optimal(ordered: NDArray[np.floating], distinct: NDArray[np.floating], k: int) -> Floats:
    exact = len(distinct) <= EXACT_VALUES and len(distinct) * k <= EXACT_TABLE
    if not exact and k > DP_CLUSTERS:
        return _lloyd(ordered, _spread(ordered, k), LLOYD_ITERATIONS)
    if exact:
        starts = np.searchsorted(ordered, distinct)
    else:
        edges = _spread(ordered, max(BINS, BINS_PER_CLUSTER * k)).astype(ordered.dtype)
        starts = np.unique(np.concatenate([[0], np.searchsorted(ordered, edges)]))
        starts = starts[starts < len(ordered)]
    counts = np.diff(np.append(starts, len(ordered))).astype(np.float64)
    centre = float(ordered[len(ordered) // 2])
    sums = np.add.reduceat(ordered, starts, dtype=np.float64) - centre * counts
    from boildown.share.segments import best_cuts

    # the spread within a bin is the same however the bins are joined
    cuts = starts[best_cuts(counts, sums, sums**2 / counts, k)]
    return _lloyd(ordered, _means(ordered, cuts), 1 if exact else 5)


def _spread(ordered: NDArray[np.floating], count: int) -> Floats:
    """`count` points whose density is the cube root of the values', the best for many clusters.

    Source: Panter & Dite 1951, https://doi.org/10.1109/JRPROC.1951.230419
    """
    stride = max(1, len(ordered) // (1 << 17))
    sample = np.append(ordered[::stride], ordered[-1]).astype(np.float64)
    measure = np.concatenate([[0.0], np.cumsum(np.diff(sample) ** (2 / 3))])
    levels = (np.arange(count) + 0.5) / count * measure[-1]
    points: Floats = np.interp(levels, measure, sample)
    return points
