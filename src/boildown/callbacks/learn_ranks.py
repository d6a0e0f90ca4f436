"""Learn the ranks of all layers jointly while training: the learning-compression algorithm.

The weights are pulled, ever harder, towards the nearest network of low rank, and every so often
that network is computed anew: its ranks, all layers at once, and its matrices. What the pull wins
against is the loss, so the ranks settle where the data need them.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from boildown.allocate.knapsack import listed
from boildown.calibrate.batches import calibration_flops, collect
from boildown.calibrate.tracing import read_elsewhere
from boildown.callbacks.budget import clock_of, progress_of
from boildown.callbacks.constraint import BrokenConstraintError, Check, Constraint
from boildown.flops import layer_positions
from boildown.forward import inputs_of
from boildown.lowrank import scheme as schemes
from boildown.lowrank.factorize import (
    describe,
    factorisable,
    factorize,
    refused,
    restructure,
    structure,
)
from boildown.lowrank.form import Form, measure
from boildown.lowrank.ranks import energy_ranks, joint_ranks
from boildown.lowrank.svd import DIVERGED, Spectrum, check_rank, decompose, svd_flops, tails
from boildown.name_patterns import by_pattern, matches, without
from boildown.schedule import OneShot, Schedule, check_window, fraction

SETTLED = 0.75  # of the window, from where on the ranks are those of the final cost
# the other parameters, the buffers and, for a share, the layers' tensors at that cost -> share
ShareRule = Callable[
    [Mapping[str, Tensor], Mapping[str, Tensor], Callable[[float], Mapping[str, Tensor]]], float
]


@dataclass(frozen=True)
class Layer:
    """A layer whose rank is learned.

    Attributes:
        scheme: how its weight is a matrix (`boildown.lowrank.scheme`).
        groups: of a convolution, which has a matrix for each; otherwise 1.
        costs: of rank 1, 2, ..., up to where factors save nothing.
        dense: what it costs as it is.
    """

    scheme: schemes.Scheme
    groups: int
    costs: list[int]
    dense: int

    def cost(self, rank: int | None) -> int:
        """Of a rank, or of the layer as it is."""
        return self.dense if rank is None else self.costs[rank - 1]


class LearnRanks(Constraint):
    """Alternate training under a pull towards low rank with choosing the ranks of all layers.

    L step: after each optimizer step W <- (W + a (T + Y / mu)) / (1 + a) with a = lr mu, the
    proximal step of mu/2 ||W - T||^2 - <Y, W - T>. It is the paper's penalty, decoupled from the
    optimizer as AdamW decouples weight decay, so it is stable at any mu and Adam does not rescale
    it; lr is the rate before its schedule, which would let the pull fade. C step: T is the nearest
    network to W - Y / mu with the ranks that the budget or the price allows, found exactly from the
    singular values of all layers (`boildown.lowrank.ranks`); then Y <- Y - mu (W - T), and mu grows
    by a constant factor. At `end` the fit stops, and W is T.

    The network stays as it is during the fit; `restructure` then gives the one with two smaller
    layers in place of each that has a rank, for the next fit to go on with.

    Give one of `share`, `price`, `energy` and `ranks`.

    Args:
        begin: progress at the first C step.
        end: progress at the last C step, where this fit ends; equal to `begin` for a truncation
            without a pull.
        steps: C steps after the first, evenly spread over the window, at least 1.
        mu: the first and the last mu, above 0, growing by a constant factor from step to step.
        share: what the layers may cost together over what they cost dense, in (0, 1), or a rule
            that finds it from the weights (`boildown.allocate.size.FactorsForSize`).
        price: lambda in the paper: what one unit of cost is worth in the loss; ranks where both
            balance.
        energy: the fraction of its squared singular values each layer keeps, in (0, 1].
        ranks: pattern -> rank; layers that no pattern names stay dense.
        choose: with `share`, all ranks jointly ("joint") or by the one energy threshold that meets
            it ("energy").
        metric: what makes an error large: "weights", its own size, as in the paper; or "outputs",
            what it does to what the network says (`boildown.lowrank.form`), for the matrices, the
            ranks and what energy means alike.
        calibration: for "outputs": makes an iterable of batches, such as a training dataloader.
        samples: how many of its samples to measure on.
        schedule: of the fraction that is saved, over the first three quarters of the window; by
            default all at once, as in the paper. A price rises by it.
        unit: of the cost: "parameters", "flops" or "bytes".
        dtype: for "bytes": what the file stores the parameters in; by default as they are.
        scheme: for convolutions: "channel" or "spatial" (`boildown.lowrank.scheme`).
        multipliers: whether to keep Y (the augmented Lagrangian); otherwise it is zero (the
            quadratic penalty).
        exclude: patterns of layers to leave alone.
        check: see `Constraint`.

    Attributes:
        structure: of the network that `restructure` made, as plain data; None before.
        ranks_report: for each layer with a rank or a choice: what it is and what it would be.

    Raises:
        ValueError: for a value out of range, naming it; in `setup` for a pattern that matches no
            layer, and for a share that rank 1 everywhere exceeds.

    Source: Idelbayev & Carreira-Perpinan, CVPR 2020,
    https://openaccess.thecvf.com/content_CVPR_2020/html/Idelbayev_Low-Rank_Compression_of_Neural_Nets_Learning_the_Rank_of_Each_Layer_CVPR_2020_paper.html
    """

    def __init__(
        self,
        *,
        begin: float,
        end: float,
        steps: int,
        mu: Sequence[float],
        share: float | ShareRule | None = None,
        price: float | None = None,
        energy: float | None = None,
        ranks: Mapping[str, int] | None = None,
        choose: Literal["joint", "energy"] = "joint",
        metric: Literal["weights", "outputs"] = "weights",
        calibration: Callable[[], Iterable[Any]] | None = None,
        samples: int = 512,
        schedule: Schedule | None = None,
        unit: schemes.Cost = "parameters",
        dtype: str | None = None,
        scheme: str = "channel",
        multipliers: bool = True,
        exclude: Sequence[str] = (),
        check: Check = "stage",
    ) -> None:
        super().__init__(check)
        check_window("lowrank", begin, end)
        given = {"share": share, "price": price, "energy": energy, "ranks": ranks}
        if sum(value is not None for value in given.values()) != 1:
            raise ValueError(
                f"lowrank: give one of share, price, energy and ranks, got "
                f"{[key for key, value in given.items() if value is not None] or 'none'}"
            )
        if isinstance(share, int | float) and not 0.0 < share < 1.0:
            raise ValueError(f"lowrank.share must be in (0, 1), got {share}")
        if price is not None and not (price >= 0.0 and math.isfinite(price)):
            raise ValueError(f"lowrank.price must be at least 0, got {price}")
        if energy is not None and not 0.0 < energy <= 1.0:
            raise ValueError(f"lowrank.energy must be in (0, 1], got {energy}")
        if steps < 1:
            raise ValueError(f"lowrank.steps must be at least 1, got {steps}")
        if len(mu) != 2 or not 0.0 < mu[0] <= mu[1] < math.inf:
            raise ValueError(f"lowrank.mu must be two numbers, 0 < first <= last, got {list(mu)}")
        if choose not in ("joint", "energy"):
            raise ValueError(f"lowrank.choose must be joint or energy, got {choose!r}")
        if metric not in ("weights", "outputs"):
            raise ValueError(f"lowrank.metric must be weights or outputs, got {metric!r}")
        if samples < 1:
            raise ValueError(f"lowrank.samples must be at least 1, got {samples}")
        if unit not in schemes.COSTS:
            raise ValueError(f"lowrank.unit must be parameters, flops or bytes, got {unit!r}")
        if dtype is not None and not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise ValueError(f"lowrank.dtype must be a torch dtype such as float16, got {dtype!r}")
        if scheme not in ("channel", "spatial"):
            raise ValueError(f"lowrank.scheme must be channel or spatial, got {scheme!r}")
        self.begin, self.end, self.steps, self.mu = begin, end, steps, (mu[0], mu[1])
        self.share, self.price, self.energy, self.given = share, price, energy, ranks
        self.choose, self.unit, self.scheme = choose, unit, scheme
        self.itemsize: int | None = None if dtype is None else getattr(torch, dtype).itemsize
        self.metric, self.calibration, self.samples = metric, calibration, samples
        self.schedule = schedule or OneShot()
        self.multipliers, self.exclude = multipliers, exclude
        self.structure: dict[str, Any] | None = None
        self.ranks: dict[str, int | None] = {}
        self.ranks_report: list[dict[str, Any]] = []
        self._step = -1  # the newest C step
        self._share: float | None = None  # what the rule found
        self._nearest: dict[str, Tensor] = {}  # T
        self._pull: dict[str, Tensor] = {}  # T + Y / mu
        self._owed: dict[str, Tensor] = {}  # Y
        self._ending = False
        self._batches: list[Tensor] | None = None
        self._dense: dict[str, Tensor] = {}  # singular values before the first C step
        self._layers: dict[str, Layer] = {}
        self._modules: dict[str, nn.Module] = {}
        self._rates: dict[str, float] = {}  # weight -> its learning rate before any schedule

    @property
    def reached(self) -> bool:
        return self._step == self._last

    @property
    def _last(self) -> int:
        return self.steps if self.end > self.begin else 0

    @property
    def _mu(self) -> float:
        """That of the training since the newest C step."""
        return self._mu_of(self._step)

    def _mu_of(self, step: int) -> float:
        first, last = self.mu
        u = min(max(step, 0) / max(self.steps - 1, 1), 1.0)
        return float(first * (last / first) ** u)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage != "fit" or self.structure is not None:
            return
        if self.metric == "outputs" and self.calibration is None:
            raise ValueError(
                "lowrank.metric=outputs needs calibration: a function that returns batches to "
                "measure the network on, such as your train_dataloader"
            )
        self._names(pl_module)

    def _names(self, pl_module: LightningModule) -> list[str]:
        """The layers whose rank is chosen."""
        names = without(self.exclude, factorisable(pl_module), "lowrank.exclude")
        if self.given is not None:
            self._check_given(pl_module, names)
            names = list(by_pattern(self.given, names, "lowrank.ranks"))
        if not names:
            raise ValueError("lowrank: the network has no layer to factorise")
        return names

    def _unread(self, pl_module: LightningModule, inputs: Any) -> list[str]:
        """Those of `_names` whose weight nothing else reads, as far as a pass can be made to see.

        Raises:
            ValueError: if `ranks` names one of the others, or there are only these.
        """
        names = self._names(pl_module)
        if self.metric == "weights" or not isinstance(inputs, Tensor):
            return names
        trainer = pl_module.trainer
        with _passing(trainer):
            read = read_elsewhere(pl_module, trainer.precision_plugin.convert_input(inputs))
        unread = [name for name in names if name not in read]
        asked = read.intersection(names) if self.given is not None or not unread else set()
        if asked:
            raise ValueError(
                f"lowrank: {min(asked)}: cannot be factorised: something else than its forward "
                "pass reads its weight; call the layer instead, or leave it out"
            )
        return unread

    def _check_given(self, pl_module: LightningModule, names: Sequence[str]) -> None:
        """Say why a layer that `ranks` names cannot have one."""
        reasons = {name: schemes.why_not(module) for name, module in pl_module.named_modules()}
        reasons |= refused(pl_module)
        for pattern in self.given or {}:
            if any(matches(pattern, name) for name in names):
                continue
            for name, reason in reasons.items():
                if reason is not None and matches(pattern, name):
                    raise ValueError(f"lowrank.ranks: {name}: cannot be factorised: {reason}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for kept in (self._nearest, self._owed):
            for name, tensor in kept.items():
                kept[name] = tensor.to(pl_module.get_parameter(f"{name}.weight").device)
        self._aim()
        names = {id(p): name for name, p in pl_module.named_parameters()}
        self._rates = {  # here, for a checkpoint replaces the optimizers' groups before
            names[id(p)]: group.get("initial_lr", group["lr"])
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
            for p in group["params"]
            if id(p) in names
        }

        example = pl_module.example_input_array
        looks = self.unit == "flops" or self.metric == "outputs"  # at a pass over some inputs
        if self.structure is None and (not looks or isinstance(example, Tensor)):
            self._begin(pl_module, example)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.structure is None and not self._layers:
            self._begin(pl_module, inputs_of(batch))
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def _begin(self, pl_module: LightningModule, inputs: Any) -> None:
        """Find the layers and what their ranks cost, and whether the target is within reach."""
        self._layers = self._measure(pl_module, inputs)
        if self._step < 0:
            self._check_reach(pl_module)

    def _measure(self, pl_module: LightningModule, inputs: Any) -> dict[str, Layer]:
        """What each rank of each layer costs, up to where factors save nothing."""
        places = layer_positions(pl_module, inputs) if self.unit == "flops" else {}
        found = {}
        for name in self._unread(pl_module, inputs):
            module = self._modules[name] = pl_module.get_submodule(name)
            usable = schemes.schemes_for(module)
            scheme = self.scheme if self.scheme in usable else usable[0]
            full = schemes.full_rank(module, scheme)
            assert isinstance(full, int)
            price = partial(
                schemes.price,
                module,
                scheme,
                cost=self.unit,
                positions=places.get(name, 1),
                itemsize=self.itemsize,
            )
            costs, dense = [price(rank) for rank in range(1, full + 1)], price(None)
            worth = sum(cost < dense for cost in costs)
            if not torch.isfinite(pl_module.get_parameter(f"{name}.weight")).all():
                raise ValueError(f"lowrank: {name}: its weight holds NaN or infinity: {DIVERGED}")
            if worth:
                found[name] = Layer(scheme, getattr(module, "groups", 1), costs[:worth], dense)
        for pattern in self.given or {}:
            if not any(matches(pattern, name) for name in found):
                (*_, name) = (name for name in self._modules if matches(pattern, name))
                raise ValueError(
                    f"lowrank.ranks: {name}: factors of any rank cost as much as the layer itself; "
                    "leave it out"
                )
        if not found:
            raise ValueError(
                f"lowrank: no layer would be cheaper at any rank: {', '.join(self._modules)}"
            )
        return found

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *rest)
        if self.structure is None and progress_of(trainer) >= self.end:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ending = True
        super().on_train_end(trainer, pl_module)

    def _check_reach(self, pl_module: LightningModule) -> None:
        """Refuse before the training what no ranks will meet."""
        if callable(self.share):
            self._find_share(pl_module, self._decompose(pl_module), check=True)
        elif self.share is not None:
            least = [min(layer.costs[0], layer.dense) for layer in self._layers.values()]
            total = sum(layer.dense for layer in self._layers.values())
            if sum(least) > self.share * total:
                enough = math.ceil(1e4 * sum(least) / total) / 1e4
                raise ValueError(
                    f"lowrank.share={self.share} is below {enough}, what rank 1 "
                    f"everywhere costs of {total:,} {self.unit}: "
                    f"{listed(list(self._layers), least)}; raise it"
                )
        elif self.given is not None:
            self._given_ranks()

    def _decompose(
        self,
        pl_module: LightningModule,
        mu: float = 1.0,
        metrics: Mapping[str, Sequence[Form]] | None = None,
    ) -> dict[str, list[Spectrum]]:
        """The singular values of W - Y / mu, for each group of each layer, in these metrics."""
        spectra = {}
        for name, layer in self._layers.items():
            wanted = pl_module.get_parameter(f"{name}.weight").detach()
            if name in self._owed:
                wanted = wanted - self._owed[name] / mu
            split = schemes.matrices(wanted, layer.scheme, layer.groups)
            ways = [m.decompose for m in metrics[name]] if metrics else [decompose] * len(split)
            try:
                spectra[name] = [way(matrix) for way, matrix in zip(ways, split, strict=True)]
            except ValueError as error:
                raise ValueError(f"lowrank: {name}: {error}") from None
        return spectra

    def act(self, trainer: Trainer, pl_module: LightningModule, progress: float) -> None:
        if self.structure is not None or progress < self.begin:
            return
        at = fraction(progress, self.begin, self.end)
        step = self._last if at >= 1.0 else math.floor(at * self.steps + 1e-9)
        if step == self._last and not self._ending:
            return
        if step > self._step and self._layers:
            before, self._step = self._step, step
            halfway = before < self.steps // 2 <= step
            self._choose(trainer, pl_module, self._mu_of(before), halfway)

    @torch.no_grad()
    def _choose(
        self, trainer: Trainer, pl_module: LightningModule, mu: float, halfway: bool
    ) -> None:
        """The C step: the nearest network of low rank, its ranks chosen for all layers at once.

        Args:
            trainer: of the fit.
            pl_module: what is trained.
            mu: of the training since the C step before.
            halfway: whether to find the share again.
        """
        began = time.perf_counter()
        weights = {name: pl_module.get_parameter(f"{name}.weight") for name in self._layers}
        if not self._dense:
            plain = self._decompose(pl_module)
            self._dense = {name: _values(each) for name, each in plain.items()}
        metrics, flops = self._metrics(trainer, pl_module)
        spectra = self._decompose(pl_module, mu, metrics)
        if callable(self.share) and (self._share is None or halfway):
            self._share = self._find_share(pl_module, spectra)
        trained = bool(self._nearest)
        self.ranks = trainer.strategy.broadcast(self._ranks(spectra, mu, eased=True))
        for name, layer in self._layers.items():
            rank = self.ranks[name]
            weight = weights[name]
            if rank is None:
                nearest = weight.detach().clone()
            else:
                parts = [s.truncate(rank).product() for s in spectra[name]]
                nearest = schemes.fold(torch.stack(parts), layer.scheme, weight.shape)
                nearest = nearest.to(weight.dtype).contiguous()
            self._nearest[name] = nearest
            if self.multipliers and trained:
                owed = self._owed.get(name, torch.zeros_like(nearest))
                self._owed[name] = owed - mu * (weight.detach() - nearest)
        if self.reached:
            for name, weight in weights.items():
                weight.copy_(self._nearest[name])
            self._owed = {}
        self._aim()
        clock = clock_of(trainer)
        if clock is not None:
            sizes = [(s.u.shape[0], s.v.shape[0]) for each in spectra.values() for s in each]
            flops += sum(svd_flops(m, n) for m, n in sizes) * trainer.world_size
            clock.charge(flops, time.perf_counter() - began if self._ending else 0.0)

    def _metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> tuple[dict[str, list[Form]] | None, int]:
        """What the layers' errors do to the outputs, None if the bare weights count; the FLOPs."""
        if self.metric == "weights":
            return None, 0
        precision = trainer.precision_plugin
        if self._batches is None:
            assert self.calibration is not None
            with torch.random.fork_rng(devices=[]):  # a loader draws its order, also after a resume
                torch.manual_seed(0)
                batches = collect(self.calibration(), self.samples)
            self._batches = [precision.convert_input(batch) for batch in batches]
        layers = {name: layer.scheme for name, layer in self._layers.items()}
        with _passing(trainer):
            found = measure(pl_module, self._batches, layers)
        flops = calibration_flops(pl_module, self._batches, passes=3)
        if trainer.world_size > 1:
            sent = {name: [metric.to("cpu") for metric in each] for name, each in found.items()}
            sent = trainer.strategy.broadcast(sent)
            found = {n: [metric.to(pl_module.device) for metric in sent[n]] for n in found}
        return found, flops * trainer.world_size

    def _aim(self) -> None:
        """Where the weights are pulled until the next C step."""
        self._pull = {
            name: nearest + self._owed[name] / self._mu if name in self._owed else nearest
            for name, nearest in self._nearest.items()
            if self.ranks[name] is not None
        }

    def _ranks(
        self,
        spectra: Mapping[str, list[Spectrum]],
        mu: float,
        share: float | None = None,
        eased: bool = False,
    ) -> dict[str, int | None]:
        """The rank of each layer, None for one that stays dense.

        Args:
            spectra: layer -> of each group's matrix.
            mu: see `_choose`.
            share: what the layers may cost together; by default as configured.
            eased: whether the schedule says how much of the way has been gone.
        """
        u = self._step / (SETTLED * self._last) if eased and self._last else 1.0

        def saved(final: float) -> float:
            return self.schedule(min(u, 1.0), final)

        if self.given is not None:
            return self._given_ranks()
        values = {name: _values(each) for name, each in spectra.items()}
        costs = {name: layer.costs for name, layer in self._layers.items()}
        dense = {name: layer.dense for name, layer in self._layers.items()}
        if self.energy is not None:
            return energy_ranks(
                values, costs, energy=1.0 - saved(1.0 - self.energy), dense=dense
            ).ranks
        errors = {name: tails(s) for name, s in values.items()}
        if self.price is not None:
            return joint_ranks(errors, costs, dense=dense, price=saved(self.price), mu=mu).ranks
        share = share if share is not None else self._share
        if share is None:
            assert isinstance(self.share, int | float)
            share = float(self.share)
        share = 1.0 - saved(1.0 - share)
        least = sum(min(layer.costs[0], layer.dense) for layer in self._layers.values())
        budget = max(share * sum(dense.values()), least if callable(self.share) else 0.0)
        if self.choose == "energy":
            return energy_ranks(values, costs, budget, dense=dense).ranks
        return joint_ranks(errors, costs, dense=dense, budget=budget).ranks

    def _given_ranks(self) -> dict[str, int | None]:
        asked = by_pattern(self.given or {}, self._layers, "lowrank.ranks")
        for name, rank in asked.items():
            most = len(self._layers[name].costs)
            check_rank(rank, most, f"lowrank.ranks: the rank of {name} (higher ones save nothing)")
        return {name: asked.get(name) for name in self._layers}

    def _find_share(
        self,
        pl_module: LightningModule,
        spectra: Mapping[str, list[Spectrum]],
        check: bool = False,
    ) -> float:
        """What the rule makes of the tensors of networks of several sizes.

        With `check` it only looks whether rank 1 everywhere is small enough.
        """
        assert callable(self.share)
        state = dict(pl_module.named_parameters())
        buffers = dict(pl_module.named_buffers())
        weights = {f"{name}.weight": name for name in self._layers}
        rest = {name: tensor for name, tensor in state.items() if name not in weights}

        def trial(share: float) -> dict[str, Tensor]:
            found: dict[str, Tensor] = {}
            for name, rank in self._ranks(spectra, 1.0, share).items():
                if rank is None:
                    found[f"{name}.weight"] = state[f"{name}.weight"]
                else:
                    for i, each in enumerate(spectra[name]):
                        found[f"{name}.{i}.u"], found[f"{name}.{i}.v"] = each.truncate(rank)
            return found

        if check:
            getattr(self.share, "check_reach", lambda *_: None)(rest, buffers, trial)
            return 0.0
        return self.share(rest, buffers, trial)

    def steer(self, pl_module: LightningModule) -> None:
        """Gradients are left alone: the pull is a step of its own, in `hold`."""

    @torch.no_grad()
    def hold(self, pl_module: LightningModule, stepped: Optimizer | None = None) -> None:
        if self.structure is not None or self.reached:
            return
        groups = [] if stepped is None else stepped.param_groups
        moved = {id(p) for group in groups for p in group["params"]}
        for name, target in self._pull.items():
            weight = pl_module.get_parameter(f"{name}.weight")
            if stepped is None or id(weight) in moved:
                a = self._rates[f"{name}.weight"] * self._mu
                weight.lerp_(target, a / (1.0 + a))

    def verify(self, pl_module: LightningModule) -> None:
        if self.structure is not None or not self.reached:
            return
        for name, rank in self.ranks.items():
            if rank is None:
                continue
            if not torch.equal(pl_module.get_parameter(f"{name}.weight"), self._nearest[name]):
                raise BrokenConstraintError(
                    f"{name}: its weight is no longer of rank {rank}; something else than the "
                    "optimizer writes to the parameters between steps"
                )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.structure is not None or not self._nearest:
            return
        apart = size = 0.0
        for name, nearest in self._nearest.items():
            weight = pl_module.get_parameter(f"{name}.weight").detach()
            apart += float((weight - nearest).square().sum())
            size += float(weight.square().sum())
        pl_module.log("lowrank/distance", math.sqrt(apart / size) if size else 0.0)
        pl_module.log("lowrank/share", self._cost() / sum(x.dense for x in self._layers.values()))

    def _cost(self) -> int:
        return sum(layer.cost(self.ranks[name]) for name, layer in self._layers.items())

    def restructure(self, model: nn.Module) -> nn.Module:
        """The network with two smaller layers in place of each that has a rank.

        Args:
            model: the network that was trained, or the part of the LightningModule that is.

        Raises:
            ValueError: if it is another network.
        """
        if not self.reached:
            raise RuntimeError(f"lowrank: no ranks were chosen: the fit ended before {self.end}")
        own = {id(module): name for name, module in model.named_modules()}
        names = {}
        for name, module in self._modules.items():
            if id(module) not in own:
                raise ValueError(f"lowrank: {name} is no layer of this {type(model).__name__}")
            names[name] = own[id(module)]
        self.ranks_report = self._report(names)
        ranks = {names[name]: rank for name, rank in self.ranks.items() if rank is not None}
        by = {names[name]: self._layers[name].scheme for name in self._layers}
        built = factorize(model, ranks, schemes={name: by[name] for name in ranks})
        self.structure = structure(model, built)
        self._nearest, self._pull, self._owed = {}, {}, {}
        return built

    def rebuild(self, model: nn.Module) -> nn.Module:
        assert self.structure is not None
        return restructure(model, self.structure)

    def describe(self, config: dict[str, Any]) -> dict[str, Any]:
        assert self.structure is not None
        return describe(config, self.structure)

    def _report(self, names: Mapping[str, str]) -> list[dict[str, Any]]:
        """What was chosen, and what one energy threshold would choose at the same cost."""
        costs = {name: layer.costs for name, layer in self._layers.items()}
        dense = {name: layer.dense for name, layer in self._layers.items()}
        by_energy = energy_ranks(self._dense, costs, self._cost(), dense=dense).ranks
        return [
            {
                "name": names[name],
                "scheme": layer.scheme,
                "rank": self.ranks[name],
                "rank_by_energy": by_energy[name],
                "full_rank": len(self._dense[name]),
                "cost": layer.cost(self.ranks[name]),
                "dense_cost": layer.dense,
                "unit": self.unit,
            }
            for name, layer in self._layers.items()
        ]

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "structure": self.structure,
            "ranks": dict(self.ranks),
            "report": [dict(row) for row in self.ranks_report],
            "step": self._step,
            "share": self._share,
            "nearest": dict(self._nearest),
            "owed": dict(self._owed),
            "dense": dict(self._dense),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.structure, self.ranks = state_dict["structure"], state_dict["ranks"]
        self.ranks_report = state_dict["report"]
        self._step, self._share = state_dict["step"], state_dict["share"]
        self._nearest, self._owed = state_dict["nearest"], state_dict["owed"]
        self._dense = state_dict["dense"]


@contextmanager
def _passing(trainer: Trainer) -> Iterator[None]:
    """Pass inputs through the network as in training, at the precision of the trainer.

    Raises:
        ValueError: if its forward pass wants something else than the inputs.
    """
    try:
        with trainer.precision_plugin.forward_context():
            yield
    except (TypeError, NotImplementedError) as error:
        raise ValueError(
            "lowrank.metric=outputs needs a forward that takes the inputs alone; write one, or "
            f"set metric=weights ({error})"
        ) from error


def _values(spectra: Sequence[Spectrum]) -> Tensor:
    """The singular values of a layer; of a grouped one the root mean squares over its groups."""
    return torch.stack([each.s for each in spectra]).square().sum(0).sqrt()
