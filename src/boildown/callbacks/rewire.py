"""Dynamic sparse training: sparse from the first step, rewired while it trains."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from boildown.callbacks.constraint import Check, forget_cut
from boildown.callbacks.prune import Prune
from boildown.prune.criteria import Criterion, magnitude
from boildown.prune.rewiring import exchanged, rewired
from boildown.schedule import OneShot, Schedule, fraction
from boildown.seeds import generator

FIRST = OneShot()


class Rewire(Prune):
    """Train sparse, and let weights that matter little make room for others, again and again.

    The network is cut to its sparsity at `begin`, by default before the first step. From then until
    `end` a part of its smallest weights is exchanged for entries that grow from zero: those with
    the largest gradients (RigL), which are those of the step's own batches, or random ones (SET).
    How many are alive stays as it is. With a gradual schedule it is gradual pruning with regrowth.
    In all else it is `Prune`.

    Args:
        sparsity: see `Prune`, as `criterion`, `calibration`, `samples`, `exclude`, `check`, `name`.
        grow: "gradient" or "random".
        fraction: of a tensor's alive weights that are exchanged at first, in (0, 1); it falls to 0
            at `end` like a cosine.
        updates: how often, evenly over the window, at least 1.
        scope: densities of the layers: "erk" (`boildown.prune.densities`), "layer" for equal ones,
            or "global".
        begin: progress at the first cut.
        end: progress from which nothing is exchanged.
        schedule: of the cuts between the two; all at once by default.
        cuts: into how many cuts a gradual schedule is split.
        seed: of random growth; not negative.

    Raises:
        ValueError: for a value out of its range, naming it, and as `Prune` says.

    Source: Evci et al. 2020, RigL, https://arxiv.org/abs/1911.11134; Mocanu et al. 2018, SET,
    https://arxiv.org/abs/1707.04780; with a gradual schedule Liu et al. 2021, GraNet,
    https://arxiv.org/abs/2106.10404
    """

    def __init__(
        self,
        *,
        sparsity: float | None = None,
        grow: Literal["gradient", "random"] = "gradient",
        fraction: float = 0.3,
        updates: int = 40,
        scope: Literal["erk", "layer", "global"] = "erk",
        criterion: Criterion = magnitude,
        calibration: Callable[[], Iterable[Any]] | None = None,
        samples: int = 512,
        begin: float = 0.0,
        end: float = 0.75,
        schedule: Schedule = FIRST,
        cuts: int = 20,
        exclude: Sequence[str] = (),
        seed: int = 0,
        check: Check = "stage",
        name: str = "",
    ) -> None:
        super().__init__(
            sparsity=sparsity, scope=scope, criterion=criterion, calibration=calibration,
            samples=samples, begin=begin, end=end, schedule=schedule, cuts=cuts, exclude=exclude,
            check=check, name=name,
        )  # fmt: skip
        if grow not in ("gradient", "random"):
            raise ValueError(f"prune.grow must be gradient or random, got {grow!r}")
        if isinstance(fraction, bool) or not 0.0 < fraction < 1.0:
            raise ValueError(f"prune.fraction must be a number in (0, 1), got {fraction!r}")
        if type(updates) is not int or updates < 1:
            raise ValueError(f"prune.updates must be a whole number of at least 1, got {updates!r}")
        if type(seed) is not int or seed < 0:
            raise ValueError(f"prune.seed must be a whole number, not negative, got {seed!r}")
        self.grow, self.fraction, self.updates, self.seed = grow, fraction, updates, seed
        self._update = 0  # that was made last
        self._due: float | None = None  # the time of the window at which one is due

    @property
    def settings(self) -> dict[str, Any]:
        own = ("grow", "fraction", "updates", "seed")
        return super().settings | {name: getattr(self, name) for name in own}

    @property
    def _changes_on(self) -> bool:
        return True

    def act(self, trainer: Trainer, pl_module: LightningModule, progress: float) -> None:
        super().act(trainer, pl_module, progress)
        u = fraction(progress, self.begin, self.end)
        update = int(u * self.updates + 1e-9)
        if self.masks and self._update < update < self.updates:
            self._due = u
            self._update = update

    def steer(self, pl_module: LightningModule) -> None:
        if self._due is not None:
            self._exchange(pl_module, self._due)
        super().steer(pl_module)

    @torch.no_grad()
    def _exchange(self, pl_module: LightningModule, u: float) -> None:
        """Make the update that is due, unless there are no gradients of this step, or none finite.

        A step that calls a closure is announced once before it, with the gradients of the step
        before: these are masked, and say nothing of what might grow.
        """
        weights = {name: pl_module.get_parameter(name) for name in self.masks}
        growth, dense = {}, False
        for number, (name, weight) in enumerate(weights.items()):
            if weight.grad is None or not bool(weight.grad.isfinite().all()):
                return
            dense = dense or bool((weight.grad != 0)[~self.masks[name]].any())
            growth[name] = self._growth(weight, number)
        if not dense:
            return
        self._due = None
        masks = {
            name: rewired(
                weight, self.masks[name], growth[name],
                exchanged(int(self.masks[name].sum()), u, self.fraction),
            )
            for name, weight in weights.items()
        }  # fmt: skip
        self._set_masks(masks, pl_module)
        for name, weight in weights.items():
            forget_cut(pl_module.trainer, weight, self.masks[name])
        self.hold(pl_module)

    def _growth(self, weight: Tensor, number: int) -> Tensor:
        if self.grow == "gradient":
            assert weight.grad is not None
            return weight.grad.abs()
        g = generator(self.seed, self._update, number)
        return torch.rand(weight.shape, generator=g).to(weight.device)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"update": self._update, "due": self._due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._update, self._due = state_dict["update"], state_dict["due"]
