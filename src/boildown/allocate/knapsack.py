"""One option for each of many items, the least loss within a budget. Pure numpy.

The multiple-choice knapsack: which rank each layer gets, or how many bits, or which sparsity, when
the whole network may have so many parameters or bytes. Whatever an option is, here it is a cost
and a loss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CANDIDATES = 1 << 21  # partial sums looked at per item before the weakest are given up
CHUNK = 1 << 18  # of them at once, which bounds the memory
TOLERANCE = 1e-12  # of a loss: differences below it are rounding
NAMED = 8  # items that an error lists


@dataclass(frozen=True, slots=True)
class Choice:
    """One option per item.

    Attributes:
        picks: the index of each item's option.
        loss: the sum of the picked losses.
        cost: the sum of the picked costs.
        gap: how far the loss may be above the least possible; 0 if it is proven to be the least.
    """

    picks: tuple[int, ...]
    loss: float
    cost: float
    gap: float

    @property
    def exact(self) -> bool:
        """Whether the loss is proven to be the least possible, up to rounding."""
        return self.gap == 0.0


def choose(
    costs: Sequence[ArrayLike],
    losses: Sequence[ArrayLike],
    budget: float,
    *,
    names: Sequence[str] | None = None,
    candidates: int = CANDIDATES,
) -> Choice:
    """Pick one option per item so that the losses add up to the least the budget allows.

    Dynamic programming over the partial sums that no other dominates. A partial sum is dropped
    when what it can still become, bounded below by the linear relaxation of the items that remain,
    is no better than the best choice known. Where losses are convex in the costs few survive, so
    that hundreds of items take a moment; otherwise the problem is NP-hard, and `candidates` trades
    time for a gap that is told.

    Args:
        costs: for each item the costs of its options, at least 0, in any unit and order.
        losses: for each item the losses of its options; need not fall, be convex or be positive.
        budget: for the sum of the costs. Met exactly where all costs are whole numbers, else up
            to a part in 1e12.
        names: of the items, for errors.
        candidates: partial sums to look at per item before the least promising are given up.

    Returns:
        The picks; of options that are equal, the first.

    Raises:
        ValueError: if the budget is below the sum of the cheapest options, or costs and losses do
            not match, are empty, negative or not finite.

    Source: Kellerer, Pferschy & Pisinger 2004, Knapsack Problems, chapter 11,
    https://doi.org/10.1007/978-3-540-24777-7

    >>> choose([[1, 2], [1, 3]], [[5.0, 0.0], [4.0, 1.0]], budget=4)
    Choice(picks=(1, 0), loss=4.0, cost=3.0, gap=0.0)
    >>> choose([[1, 2], [1, 3]], [[5.0, 0.0], [4.0, 1.0]], budget=5)
    Choice(picks=(1, 1), loss=1.0, cost=5.0, gap=0.0)
    """
    c, v, names = _checked(costs, losses, names)
    if not math.isfinite(budget):
        raise ValueError(f"the budget must be a finite number, got {budget}")
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, got {candidates}")
    least = [float(cost.min()) for cost in c]
    whole = all((cost == np.floor(cost)).all() for cost in c)
    slack = 0.0 if whole else TOLERANCE * abs(budget)
    if sum(least) > budget + slack:
        raise ValueError(
            f"a budget of {budget:,.12g} is below {sum(least):,.12g}, what the cheapest options "
            f"cost: {listed(names, least)}"
        )
    items = [_Item.of(cost, loss) for cost, loss in zip(c, v, strict=True)]
    picks, gap = _Search(items, max(0.0, budget - sum(least) + slack), candidates).run()
    return Choice(
        picks,
        loss=float(sum(loss[i] for loss, i in zip(v, picks, strict=True))),
        cost=float(sum(cost[i] for cost, i in zip(c, picks, strict=True))),
        gap=gap,
    )


def lagrangian(
    costs: Sequence[ArrayLike], losses: Sequence[ArrayLike], price: float
) -> tuple[int, ...]:
    """For each item the option with the least loss + price x cost; of equal ones the cheapest.

    The choice is the best one for the budget that it happens to spend.

    Args:
        costs: for each item the costs of its options, at least 0.
        losses: for each item the losses of its options.
        price: of one unit of cost, at least 0.

    Raises:
        ValueError: for a price out of range, or options as in `choose`.

    >>> lagrangian([[1, 2], [1, 3]], [[5.0, 0.0], [4.0, 1.0]], price=2.0)
    (1, 0)
    """
    c, v, _ = _checked(costs, losses, None)
    if not (price >= 0.0 and math.isfinite(price)):
        raise ValueError(f"a price must be a finite number of at least 0, got {price}")
    return tuple(
        int(np.lexsort((cost, loss + price * cost))[0]) for cost, loss in zip(c, v, strict=True)
    )


def _checked(
    costs: Sequence[ArrayLike], losses: Sequence[ArrayLike], names: Sequence[str] | None
) -> tuple[list[Floats], list[Floats], Sequence[str]]:
    names = [f"item {i}" for i in range(len(costs))] if names is None else names
    if not len(costs) == len(losses) == len(names):
        raise ValueError(
            f"costs of {len(costs)} items, losses of {len(losses)} and {len(names)} names: "
            "they must be as many"
        )
    c = [np.asarray(cost, dtype=np.float64) for cost in costs]
    v = [np.asarray(loss, dtype=np.float64) for loss in losses]
    for name, cost, loss in zip(names, c, v, strict=True):
        if cost.ndim != 1 or cost.shape != loss.shape or not len(cost):
            raise ValueError(
                f"{name}: costs and losses must be two equally long lists of at least one option, "
                f"got shapes {cost.shape} and {loss.shape}"
            )
        if not np.isfinite(cost).all() or not np.isfinite(loss).all() or cost.min() < 0.0:
            raise ValueError(f"{name}: costs must be finite and at least 0, losses finite")
    return c, v, names


def listed(names: Sequence[str], costs: Sequence[float]) -> str:
    """The items and what they cost, the dearest first, for an error's one line.

    >>> listed(["fc1", "fc2"], [12.0, 3300.0])
    'fc2 3,300, fc1 12'
    """
    ordered = sorted(zip(costs, names, strict=True), key=lambda pair: -pair[0])
    told = ", ".join(f"{name} {cost:,.12g}" for cost, name in ordered[:NAMED])
    more = len(ordered) - NAMED
    return f"{told} and {more} more" if more > 0 else told


@dataclass(frozen=True, slots=True)
class _Item:
    """An item's options that no other dominates.

    Attributes:
        index: of each option among those that were given.
        cost: rising, above that of the cheapest option given.
        loss: falling, above the least given.
        hull: positions of the options on the lower convex hull, from the first to the last.
    """

    index: Ints
    cost: Floats
    loss: Floats
    hull: Ints

    @classmethod
    def of(cls, cost: Floats, loss: Floats) -> "_Item":
        order = np.lexsort((loss, cost))
        index = order[_falling(loss[order])]
        return cls._made(index, cost[index] - cost.min(), loss[index] - loss.min())

    def keep(self, chosen: NDArray[np.bool_]) -> "_Item":
        return self._made(self.index[chosen], self.cost[chosen], self.loss[chosen])

    @classmethod
    def _made(cls, index: Ints, cost: Floats, loss: Floats) -> "_Item":
        return cls(index.astype(np.int64), cost, loss, _hull(cost, loss))


def _falling(values: Floats) -> NDArray[np.bool_]:
    """Which values are below all those before them."""
    below = np.ones(len(values), dtype=bool)
    below[1:] = values[1:] < np.minimum.accumulate(values)[:-1]
    return below


def _hull(cost: Floats, loss: Floats) -> Ints:
    """Positions of the lower convex hull of points with rising cost and falling loss."""
    x, y = cost.tolist(), loss.tolist()
    kept: list[int] = []
    slopes: list[float] = []  # of the step to each kept point; rising
    for i in range(len(x)):
        slope = -math.inf
        while kept:
            slope = (y[i] - y[kept[-1]]) / (x[i] - x[kept[-1]])
            if slope > slopes[-1]:
                break
            kept.pop()
            slopes.pop()
        kept.append(i)
        slopes.append(slope if len(kept) > 1 else -math.inf)
    return np.array(kept, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Path:
    """What items can do together, from the cheapest on, always the most gain per cost next.

    Every point of it is a choice; between two points lies the linear relaxation's bound.

    Attributes:
        cost: (p,) rising.
        loss: (p,) falling.
        steps: (p - 1,) the item that each step moves one on along its hull.
    """

    cost: Floats
    loss: Floats
    steps: Ints

    @classmethod
    def of(cls, items: Sequence[_Item]) -> "_Path":
        gains = [-np.diff(item.loss[item.hull]) for item in items]
        prices = [np.diff(item.cost[item.hull]) for item in items]
        if not items:
            return cls(np.zeros(1), np.zeros(1), np.zeros(0, dtype=np.int64))
        gain, price = np.concatenate(gains), np.concatenate(prices)
        owner = np.repeat(np.arange(len(items)), [len(g) for g in gains])
        order = np.argsort(-gain / price, kind="stable")  # an item's own steps stay in order
        base = sum(float(item.cost[0]) for item in items)
        end = sum(float(item.loss[-1]) for item in items)
        cost = np.concatenate([[base], base + np.cumsum(price[order])])
        # summed from the small end, so that small losses keep their digits
        loss = np.concatenate([(end + np.cumsum(gain[order][::-1]))[::-1], [end]])
        return cls(cost, loss, owner[order])

    def bounds(self, room: Floats) -> tuple[Floats, Floats, Ints]:
        """For each room at least the first cost: a lower bound, a loss in reach, and its place."""
        place = np.searchsorted(self.cost, room, side="right") - 1
        following = np.minimum(place + 1, len(self.cost) - 1)
        width = np.where(following > place, self.cost[following] - self.cost[place], 1.0)
        fraction = np.maximum(self.cost[following] - room, 0.0) / width
        upper = self.loss[place]
        lower = self.loss[following] + fraction * (upper - self.loss[following])
        return lower, upper, place

    def taken(self, place: int, items: Sequence[_Item]) -> list[int]:
        """Each item's option, by its index among those given, at a place on the path."""
        steps = np.bincount(self.steps[:place], minlength=len(items))
        return [int(i.index[i.hull[s]]) for i, s in zip(items, steps, strict=True)]


@dataclass(slots=True)
class _Search:
    """Branch and bound by items, all partial sums of one depth at once.

    Attributes:
        items: with costs above the cheapest, and losses above the least.
        room: budget above the cheapest options.
        candidates: partial sums to look at per item.
        best: the least loss known.
        picks: what reaches it.
        lost: lower bound on what the partial sums that were given up could have reached.
    """

    items: list[_Item]
    room: float
    candidates: int
    best: float = math.inf
    picks: list[int] = field(default_factory=list)
    lost: float = math.inf

    def run(self) -> tuple[tuple[int, ...], float]:
        """The picks, and the gap."""
        path = _Path.of(self.items)
        lower, upper, place = path.bounds(np.array([self.room]))
        self.best = float(upper[0])
        self.picks = path.taken(int(place[0]), self.items)
        if lower[0] < self._enough():
            self._fill(path, int(place[0]))
            kept = self._reduced(path, int(place[0]))
            if all(len(item.index) for item in kept):
                self._descend(kept)
        gap = self.best - self.lost if self.lost < self._enough() else 0.0
        return tuple(self.picks), gap

    def _enough(self) -> float:
        """The loss that a partial sum must be able to undercut."""
        return self.best * (1.0 - TOLERANCE)

    def _fill(self, path: _Path, place: int) -> None:
        """Better the greedy choice: where one step no longer fits, later ones may."""
        at = np.bincount(path.steps[:place], minlength=len(self.items)).tolist()
        cost, loss = float(path.cost[place]), float(path.loss[place])
        stuck = set()
        for i in path.steps[place:].tolist():
            item = self.items[i]
            if i in stuck:
                continue
            here, there = item.hull[at[i]], item.hull[at[i] + 1]
            if cost + item.cost[there] - item.cost[here] > self.room:
                stuck.add(i)
                continue
            cost += float(item.cost[there] - item.cost[here])
            loss -= float(item.loss[here] - item.loss[there])
            at[i] += 1
        picks = [int(i.index[i.hull[s]]) for i, s in zip(self.items, at, strict=True)]
        loss = sum(float(i.loss[i.hull[s]]) for i, s in zip(self.items, at, strict=True))
        if loss < self.best:
            self.best, self.picks = loss, picks

    def _reduced(self, path: _Path, place: int) -> list[_Item]:
        """The items without the options that no choice better than the best can hold."""
        width = path.cost[place + 1] - path.cost[place]
        price = float((path.loss[place] - path.loss[place + 1]) / width)
        priced = [item.loss + price * item.cost for item in self.items]
        bound = sum(float(p.min()) for p in priced) - price * self.room
        enough = self._enough()
        return [
            item.keep(bound + (p - p.min()) < enough)
            for item, p in zip(self.items, priced, strict=True)
        ]

    def _descend(self, items: list[_Item]) -> None:
        # the finest steps last: they fill what room the coarse ones leave
        order = sorted(range(len(items)), key=lambda i: -float(np.ptp(items[i].cost)))
        ordered = [items[i] for i in order]
        paths = [_Path.of(ordered[depth:]) for depth in range(len(ordered) + 1)]
        cost, loss = np.zeros(1), np.zeros(1)
        parents: list[Ints] = []
        options: list[Ints] = []
        for depth, item in enumerate(ordered):
            most = max(1, self.candidates // len(item.index))
            if len(cost) > most:
                bound = loss + paths[depth].bounds(self.room - cost)[0]
                order_of_promise = np.argsort(bound, kind="stable")
                self.lost = min(self.lost, float(bound[order_of_promise[most]]))
                keep = np.sort(order_of_promise[:most])
                cost, loss = cost[keep], loss[keep]
                parents[-1], options[-1] = parents[-1][keep], options[-1][keep]
            found = self._extend(item, paths[depth + 1], cost, loss)
            cost, loss, parent, option, place = found
            if place is not None:
                # this depth's own best, before anything is dropped
                rest = ordered[depth + 1 :]
                tail = paths[depth + 1].taken(place[2], rest)
                path = [*self._trace(ordered, parents, options, place[0])]
                path += [int(item.index[place[1]]), *tail]
                for i, pick in zip(order, path, strict=True):
                    self.picks[i] = pick
            parents.append(parent)
            options.append(option)
            if not len(cost):
                return

    def _extend(
        self, item: _Item, rest: _Path, cost: Floats, loss: Floats
    ) -> tuple[Floats, Floats, Ints, Ints, tuple[int, int, int] | None]:
        """All partial sums with one more item, those that may yet beat the best.

        Returns:
            Their costs, rising, and losses, falling; which state and which option each came from;
            and state, option and place on the path of the rest of a new best choice.
        """
        width = len(item.index)
        rows = max(1, CHUNK // width)
        found: tuple[int, int, int] | None = None
        pieces = []
        for start in range(0, len(cost), rows):
            c = (cost[start : start + rows, None] + item.cost).ravel()
            v = (loss[start : start + rows, None] + item.loss).ravel()
            fits = np.flatnonzero(self.room - c >= rest.cost[0])
            fits = fits[v[fits] < self._enough()]
            if not len(fits):
                continue
            lower, upper, place = rest.bounds(self.room - c[fits])
            upper += v[fits]
            first = int(np.argmin(upper))
            if upper[first] < self.best:
                self.best = float(upper[first])
                state, option = divmod(int(fits[first]), width)
                found = start + state, option, int(place[first])
            bound = v[fits] + lower
            promising = bound < self._enough()
            fits = fits[promising]
            pieces.append((c[fits], v[fits], fits + start * width, bound[promising]))
        if not pieces:
            none = np.zeros(0, dtype=np.int64)
            return np.zeros(0), np.zeros(0), none, none, found
        c, v, code, bound = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        order = np.flatnonzero(bound < self._enough())
        order = order[np.lexsort((v[order], c[order]))]
        order = order[_falling(v[order])]
        return c[order], v[order], code[order] // width, code[order] % width, found

    @staticmethod
    def _trace(
        items: Sequence[_Item], parents: Sequence[Ints], options: Sequence[Ints], state: int
    ) -> list[int]:
        """The options that led to a state of the last depth."""
        picks = []
        for item, parent, option in zip(
            reversed(items[: len(parents)]), reversed(parents), reversed(options), strict=True
        ):
            picks.append(int(item.index[option[state]]))
            state = int(parent[state])
        return picks[::-1]
