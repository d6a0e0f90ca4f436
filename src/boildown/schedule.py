"""How much, when: pure functions of time, no Lightning.

Time here is `u`, the fraction of a technique's own window in [0, 1]; the clock that turns steps,
epochs, seconds or FLOPs into it is `boildown.callbacks.budget.ComputeBudget`. Every schedule of
sparsity is called with `u` and the final value and answers the target *of the total* at that time,
never a fraction of what remains.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

Schedule = Callable[[float, float], float]  # (u, final) -> target, never falling, final at u = 1
Shape = Callable[[float], float]  # u -> multiplier of the learning rate


def fraction(t: float, begin: float, end: float) -> float:
    """Where `t` lies in the window [begin, end], clamped to [0, 1]; 1 from `begin` on if empty.

    >>> [fraction(t, 0.25, 0.75) for t in (0.0, 0.5, 0.9)]
    [0.0, 0.5, 1.0]
    """
    if end <= begin:
        return float(t >= begin)
    return min(max((t - begin) / (end - begin), 0.0), 1.0)


def check_window(who: str, begin: float, end: float) -> None:
    """Refuse a window that is not inside the budget.

    Raises:
        ValueError: unless 0 <= begin <= end <= 1, naming `who` and the values.
    """
    if not 0.0 <= begin <= end <= 1.0:
        raise ValueError(
            f"{who}.begin = {begin} must lie from 0 to {who}.end = {end}, and that up to 1, the "
            "end of the budget"
        )


@dataclass(frozen=True, slots=True)
class OneShot:
    """All at once, at the beginning of the window: a single round."""

    n: ClassVar[int] = 1

    def __call__(self, u: float, final: float) -> float:
        return final


@dataclass(frozen=True, slots=True)
class Linear:
    """Evenly over the window.

    >>> Linear()(0.5, 0.9)
    0.45
    """

    def __call__(self, u: float, final: float) -> float:
        return final * u


@dataclass(frozen=True, slots=True)
class Cubic:
    """Fast while weights are redundant, then ever slower.

    >>> [round(Cubic()(u, 0.8), 2) for u in (0, 0.25, 0.5, 0.75, 1)]
    [0.0, 0.46, 0.7, 0.79, 0.8]

    Source: Zhu & Gupta 2017, eq. 1 with s_i = 0, https://arxiv.org/abs/1710.01878
    """

    def __call__(self, u: float, final: float) -> float:
        return final * (1.0 - (1.0 - u) ** 3)


@dataclass(frozen=True, slots=True)
class Exponential:
    """The kept fraction shrinks by the same factor in equal times.

    >>> [round(Exponential()(u, 0.99), 2) for u in (0, 0.5, 1)]
    [0.0, 0.9, 0.99]
    """

    def __call__(self, u: float, final: float) -> float:
        return final if final >= 1.0 else 1.0 - (1.0 - final) ** u


@dataclass(frozen=True, slots=True)
class Rounds:
    """Iterative: cut, fine-tune, cut again, `n` times; round i cuts to `shape((i + 1) / n)`.

    The last cut falls at u = (n - 1) / n, so every round, the last too, has its fine-tuning.

    Args:
        n: number of rounds, at least 1.
        shape: how much of the total each round takes; by default each keeps the same fraction.

    Raises:
        ValueError: unless n >= 1.

    Source: Han et al. 2015, section 3.4, https://arxiv.org/abs/1506.02626

    >>> [round(Rounds(2)(u, 0.99), 2) for u in (0, 0.4, 0.5, 1)]
    [0.9, 0.9, 0.99, 0.99]
    """

    n: int
    shape: Schedule = field(default_factory=Exponential)

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"schedule.n, the number of rounds, must be at least 1, got {self.n}")

    def __call__(self, u: float, final: float) -> float:
        return self.shape(min(math.floor(u * self.n + 1e-9) + 1, self.n) / self.n, final)


@dataclass(frozen=True, slots=True)
class Constant:
    """A learning rate that stays."""

    def __call__(self, u: float) -> float:
        return 1.0


@dataclass(frozen=True, slots=True)
class Cosine:
    """Linear warm-up over the first `warmup` of the window, then half a cosine from 1 to `floor`.

    Args:
        floor: the multiplier at the end, in [0, 1].
        warmup: fraction of the window, in [0, 1).

    Raises:
        ValueError: outside these ranges.

    Source: Loshchilov & Hutter 2017, eq. 5, https://arxiv.org/abs/1608.03983

    >>> [round(Cosine(floor=0.0)(u), 2) for u in (0, 0.5, 1)]
    [1.0, 0.5, 0.0]
    """

    floor: float = 0.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.floor <= 1.0 and 0.0 <= self.warmup < 1.0):
            raise ValueError(f"need 0 <= floor <= 1 and 0 <= warmup < 1, got {self}")

    def __call__(self, u: float) -> float:
        if u < self.warmup:
            return u / self.warmup
        decay = 0.5 * (1.0 + math.cos(math.pi * (u - self.warmup) / (1.0 - self.warmup)))
        return self.floor + (1.0 - self.floor) * decay
