"""Share weights while training: when to cluster, and tuning the centroids.

The gradient is projected on the weights that move with their clusters: every member gets the mean
over its cluster, so whatever the optimizer does to an entry (momentum, Adam's moments, weight
decay, clipping, a line search) keeps the members together. One entry of each cluster, the *keeper*,
stands for the centroid, whose value all members take after the step. With the paper's sum the
keeper alone receives a gradient.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from boildown.allocate.bits import bits_for_ratio
from boildown.allocate.widths import By, Groups
from boildown.callbacks.budget import callbacks_of, clock_of
from boildown.callbacks.constraint import (
    BrokenConstraintError,
    Check,
    Constraint,
    forget_momentum,
    taking_up,
)
from boildown.callbacks.evidence import evidence_of
from boildown.callbacks.held import check_apart, check_dense, tell_held, to_hold
from boildown.callbacks.prune import Prune
from boildown.callbacks.technique import dtype_named, is_number, trained_like, trained_matrices
from boildown.callbacks.widths import Widths, widths_of
from boildown.name_patterns import by_pattern, without
from boildown.prune.criteria import check_finite
from boildown.schedule import check_window
from boildown.share.kmeans import (
    Codebook,
    Initialisation,
    centroid_gradient,
    kmeans_1d,
    round_to,
    share_tensor,
    tied_gradient,
)

BITS, MAX_BITS = 5, 16
SPREAD_MOST = 8  # bits that an allocation may give, unless more are given


@dataclass
class Tie:
    """Which entries of a flat tensor share which centroid; the rest are zero.

    Attributes:
        members: (m,) positions of the nonzero entries.
        codes: (m,) the cluster of each.
        keepers: (k,) one member's position for each cluster.
    """

    members: Tensor
    codes: Tensor
    keepers: Tensor

    @cached_property
    def sizes(self) -> Tensor:
        """(k,) members of each cluster."""
        return torch.bincount(self.codes, minlength=len(self.keepers))

    def to(self, device: torch.device) -> "Tie":
        """The same on another device."""
        return Tie(self.members.to(device), self.codes.to(device), self.keepers.to(device))


class ShareWeights(Constraint):
    """Give each tensor at most 2^bits distinct nonzero values by k-means, then tune the values.

    Zeros stay zero, and parameters that are frozen when the fit starts are not shared. With
    `rounds` > 1 the second loop of Deep Compression runs: cluster, tune the centroids, let the
    weights go free for a while, cluster again. Clustering starts the optimizer's memory of these
    tensors afresh, since a centroid's gradient is that of many weights. In another fit of the same
    network it goes on where it was; another network needs a new one.

    Args:
        bits: bits per weight, 1 to 16, for all matrices and kernels, or pattern -> bits for the
            tensors (biases too) that the patterns name. First match wins. None: what suits the
            asked size of the file (`boildown.allocate.bits`), or 5.
        allocation: "trace" or "measured" (`boildown.allocate.widths`): the bits are spread over the
            tensors where they do most, 1 to 8 or the most of `bits`; all together take no more
            bytes than `bits` would.
        groups: lists of patterns of tensors that get one number of bits then.
        begin: progress at the first clustering, as a fraction of the budget.
        end: progress at which the last round would end; the weights stay shared after it.
        rounds: number of clusterings, at least 1.
        free: fraction of every round but the last in which the weights move freely, in [0, 1).
        init: how k-means starts: "optimal" (the global optimum), "linear", "density", "random".
        tune: whether the centroids are trained; if not, the shared tensors stay as clustered.
        gradient: of a centroid: "mean" over its cluster, the projection of the gradient, as large
            as that of a weight; or "sum", the paper's eq. 3, larger by the cluster's size: alike
            for Adam, and more than a network bears for SGD at its own learning rate.
        dtype: "float16" or "bfloat16" rounds the centroids, and all parameters that are not shared,
            to values the file stores in 2 bytes, when the training ends; "float32" does not.
        calibration: makes an iterable of batches to judge by, for `allocation`, such as a training
            dataloader.
        samples: how many of its samples to judge by, at least 1.
        exclude: patterns of tensors to leave alone.
        seed: for init="random".
        check: see `Constraint`.
        name: for a second `ShareWeights` in the same Trainer, of other tensors.

    Raises:
        ValueError: for a value out of its range, naming it; in `setup` for a `Prune` that still
            cuts after `begin` or is listed after this callback; when the fit starts for a pattern
            that matches nothing, if no parameter is left to share, or if the clusters held are of
            another network.

    Source: Han, Mao & Dally 2016, section 3 and eq. 3, https://arxiv.org/abs/1510.00149
    """

    peak = 0.3  # the centroids are tuned, and each gets the gradients of its whole cluster

    def __init__(
        self,
        *,
        bits: int | Mapping[str, int] | None = None,
        allocation: By | None = None,
        groups: Groups = (),
        begin: float = 0.8,
        end: float = 1.0,
        rounds: int = 1,
        free: float = 0.25,
        init: Initialisation = "optimal",
        tune: bool = True,
        gradient: Literal["mean", "sum"] = "mean",
        dtype: Literal["float32", "float16", "bfloat16"] = "float32",
        calibration: Callable[[], Iterable[Any]] | None = None,
        samples: int = 512,
        exclude: Sequence[str] = (),
        seed: int = 0,
        check: Check = "stage",
        name: str = "",
    ) -> None:
        super().__init__(check, name)
        check_window("share", begin, end)
        if isinstance(bits, Mapping) and not bits:
            raise ValueError("share.bits must name at least one tensor, got {}")
        for pattern, value in (bits if isinstance(bits, Mapping) else {"*": bits or 1}).items():
            if not (type(value) is int and 1 <= value <= MAX_BITS) or bits == 0:
                raise ValueError(
                    f"share.bits must be whole numbers from 1 to {MAX_BITS}, "
                    f"got {bits if bits == 0 else value!r} for {pattern!r}"
                )
        if type(rounds) is not int or rounds < 1:
            raise ValueError(f"share.rounds must be a whole number of at least 1, got {rounds!r}")
        if not (is_number(free) and 0.0 <= free < 1.0):
            raise ValueError(f"share.free must be a number in [0, 1), got {free!r}")
        if init not in ("optimal", "linear", "density", "random"):
            raise ValueError(f"share.init must be optimal, linear, density or random, got {init!r}")
        if gradient not in ("mean", "sum"):
            raise ValueError(f"share.gradient must be mean or sum, got {gradient!r}")
        self._widths, self.groups = widths_of(allocation, "share", groups), groups
        if type(samples) is not int or samples < 1:
            raise ValueError(f"share.samples must be a whole number of at least 1, got {samples!r}")
        self.allocation, self.calibration, self.samples = allocation, calibration, samples
        self.bits_of: dict[str, int] = {}
        self.gradient = gradient
        self.bits, self.begin, self.end = bits, begin, end
        self.rounds, self.free, self.init, self.tune = rounds, free, init, tune
        self.dtype = dtype_named(dtype, "share")
        self.exclude, self.seed = exclude, seed
        self.ties: dict[str, Tie] = {}
        self._round, self._tied = -1, False
        self._held: list[tuple[str, nn.Parameter, Tie]] = []
        self._fixed: list[Tensor] = []  # the centroids that are not tuned

    @property
    def reached(self) -> bool:
        return self._tied and self._round == self.rounds - 1

    @property
    def settings(self) -> dict[str, Any]:
        bits = dict(self.bits) if isinstance(self.bits, Mapping) else self.bits
        same = ("begin", "end", "rounds", "free", "tune", "gradient", "allocation")
        return {name: getattr(self, name) for name in same} | {
            "bits": bits, "exclude": list(self.exclude), "groups": [list(g) for g in self.groups],
        }  # fmt: skip

    @property
    def begun(self) -> bool:
        return self._round >= 0

    @property
    def held_figures(self) -> dict[str, dict[str, float]]:
        if not self._tied:
            return {}
        distinct = {name: float(len(tie.keepers)) for name, tie in self.ties.items()}
        return {"distinct": distinct, "bits": {n: float(b) for n, b in self.bits_of.items()}}

    def suit(self, ratio: float | None) -> dict[str, Any]:
        if self.bits is not None:
            return {}
        self.bits = BITS if ratio is None else bits_for_ratio(ratio)
        return {"bits": self.bits}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage != "fit":
            return
        listed = callbacks_of(trainer)
        for place, other in enumerate(listed):
            if not isinstance(other, Prune):
                continue
            if other.end > self.begin:
                raise ValueError(
                    f"share.begin = {self.begin} lies before prune.end = {other.end}: the phases "
                    "overlap, and a cut would break the clusters"
                )
            if place > listed.index(self):
                raise ValueError(
                    "ShareWeights comes before Prune in the list of callbacks: where one step "
                    f"reaches both prune.end = {other.end} and share.begin = {self.begin}, the cut "
                    "would break the clusters; list Prune first"
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        only = ("share.bits", self.bits) if isinstance(self.bits, Mapping) else None
        names, left = to_hold(
            trainer, pl_module, "share", self.exclude, only, vectors=only is not None
        )
        tell_held("share", names, left)
        if not (self._widths is not None and self.begun):  # else they were chosen before
            self.bits_of = self._bits_of(names)
        if self._widths is not None:
            self._widths.find(names)
        check_dense(pl_module, "share", self.bits_of)

    @property
    def _axes(self) -> int:
        """The fewest of a tensor that is shared."""
        return 0 if isinstance(self.bits, Mapping) else 2

    def _bits_of(self, names: list[str]) -> dict[str, int]:
        bits = self.bits if isinstance(self.bits, Mapping) else {"*": self.bits or BITS}
        return by_pattern(bits, names, "share.bits")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_apart(trainer, ShareWeights, "bits_of")
        with taking_up("ShareWeights"):
            self._tie(self.ties, pl_module)
            self.verify(pl_module)

    def act(self, trainer: Trainer, pl_module: LightningModule, progress: float) -> None:
        if progress >= self.begin:
            now, tied = self._plan(progress)
            if now > self._round:
                self._cluster(trainer, pl_module)
            self._round, self._tied = now, tied
        if progress >= 1.0 and self.reached:
            self._round_values(pl_module)

    def _plan(self, progress: float) -> tuple[int, bool]:
        """The round that `progress` lies in, and whether the weights are tied or free in it."""
        if self.end <= self.begin:
            return self.rounds - 1, True
        at = (progress - self.begin) / (self.end - self.begin) * self.rounds + 1e-9
        now = min(math.floor(at), self.rounds - 1)
        return now, now == self.rounds - 1 or at - now < 1.0 - self.free

    @torch.no_grad()
    def _cluster(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._widths is not None and self._round < 0:
            self._spread(trainer, pl_module, self._widths)
        ties = {}
        for name, bits in self.bits_of.items():
            flat = pl_module.get_parameter(name).detach().flatten()
            check_finite(name, flat)
            members = flat.nonzero().flatten()
            if not members.numel():
                ties[name] = Tie(members, members, members)
                continue
            book = self._in_the_file(kmeans_1d(flat[members], 2**bits, self.init, seed=self.seed))
            used = torch.bincount(book.codes, minlength=len(book.centroids)) > 0
            codes = (used.cumsum(0) - 1)[book.codes]
            keepers = members.new_full((int(used.sum()),), flat.numel())
            keepers.scatter_reduce_(0, codes, members, "amin")
            flat[keepers] = book.centroids[used]
            pl_module.get_parameter(name).copy_(flat.view_as(pl_module.get_parameter(name)))
            ties[name] = Tie(members, codes, keepers)
        self._tie(ties, pl_module)
        self._tied = True
        forget_momentum(trainer, [parameter for _, parameter, _ in self._held])
        self.hold(pl_module)
        self.verify(pl_module)

    def _spread(self, trainer: Trainer, pl_module: LightningModule, widths: Widths) -> None:
        """Choose the bits of each tensor anew, within the bytes of those it was given."""
        weights = {name: pl_module.get_parameter(name) for name in self.bits_of}
        evidence = evidence_of(pl_module, list(weights), self.calibration, self.samples)

        def shared(name: str, bits: int) -> Tensor:
            return share_tensor(weights[name].detach(), bits, self.init, seed=self.seed)

        most = max(SPREAD_MOST, *self.bits_of.values())
        widths.look_at(weights, shared, evidence, range(1, most + 1))
        self.bits_of = dict(trainer.strategy.broadcast(widths.as_many_as(self.bits_of)))
        clock = clock_of(trainer)
        if clock is not None:
            clock.charge(evidence.flops * trainer.world_size)

    def _in_the_file(self, book: Codebook) -> Codebook:
        """The clusters that the file can tell apart, as `preview` counts them.

        Those whose centroids round to one value are one: trained apart, they would be two symbols
        in the file, and make it larger than what was foreseen.
        """
        values, groups = round_to(book.centroids, self.dtype).unique(return_inverse=True)
        if len(values) == len(book.centroids):
            return book
        first = groups.new_full((len(values),), len(groups))
        first.scatter_reduce_(0, groups, torch.arange(len(groups), device=groups.device), "amin")
        return Codebook(book.centroids[first], groups[book.codes], book.inertia)

    def _tie(self, ties: Mapping[str, Tie], pl_module: LightningModule) -> None:
        parameters = {name: pl_module.get_parameter(name) for name in ties}
        for name, tie in ties.items():
            if tie.members.numel() and tie.members[-1] >= parameters[name].numel():
                raise IndexError(f"{name} has {parameters[name].numel()} entries")
        self.ties = {name: tie.to(parameters[name].device) for name, tie in ties.items()}
        self._held = [(name, parameters[name], tie) for name, tie in self.ties.items()]
        self._fixed = [p.detach().flatten()[tie.keepers] for _, p, tie in self._held]

    @torch.no_grad()
    def steer(self, pl_module: LightningModule) -> None:
        if not self._tied:
            return
        for _, parameter, tie in self._held:
            if parameter.grad is None:
                continue
            flat = parameter.grad.reshape(-1)
            if self.tune:
                members = flat.index_select(0, tie.members)
                if self.gradient == "mean":
                    tied = tied_gradient(members, tie.codes, tie.sizes)
                    flat.zero_().index_copy_(0, tie.members, tied)
                else:
                    sums = centroid_gradient(members, tie.codes, len(tie.keepers))
                    flat.zero_().index_copy_(0, tie.keepers, sums)
            else:
                flat.zero_()
            if not parameter.grad.is_contiguous():
                parameter.grad.copy_(flat.view_as(parameter.grad))

    @torch.no_grad()
    def hold(self, pl_module: LightningModule, stepped: Optimizer | None = None) -> None:
        for (_, parameter, tie), fixed in zip(self._held, self._fixed, strict=True):
            flat = parameter.data.reshape(-1)
            if self._tied:
                centroids = flat.index_select(0, tie.keepers) if self.tune else fixed
                values = centroids.index_select(0, tie.codes)
            else:
                values = flat.index_select(0, tie.members)
            flat.zero_().scatter_(0, tie.members, values)
            if not parameter.is_contiguous():
                parameter.data.copy_(flat.view_as(parameter))

    @torch.no_grad()
    def _round_values(self, pl_module: LightningModule) -> None:
        for parameter in pl_module.parameters():
            parameter.copy_(round_to(parameter, self.dtype))

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        names = without(self.exclude, trained_matrices(weights, self._axes), "share.exclude")
        shared = {
            name: trained_like(
                share_tensor(weights[name], bits, self.init, seed=self.seed), weights[name]
            )
            for name, bits in self._bits_of(names).items()
        }
        return {
            name: trained_like(round_to(parameter.detach(), self.dtype), parameter)
            for name, parameter in {**weights, **shared}.items()
        }

    def verify(self, pl_module: LightningModule) -> None:
        for name, parameter, tie in self._held:
            values = parameter.detach().flatten()
            check_finite(name, values)
            distinct = len(values[tie.members].unique()) if self._tied else 0
            if distinct > 2 ** self.bits_of[name]:
                raise BrokenConstraintError(
                    f"{name}: {distinct} distinct values, more than 2^{self.bits_of[name]}; "
                    "something else than the optimizer writes to the parameters between steps"
                )
            if int(values.count_nonzero()) > len(tie.members):
                raise BrokenConstraintError(
                    f"{name}: weights that were zero when clustered are no longer zero; something "
                    "else than the optimizer writes to the parameters between steps"
                )

    def state_dict(self) -> dict[str, Any]:
        ties = {
            name: {"members": tie.members, "codes": tie.codes, "keepers": tie.keepers}
            for name, tie in self.ties.items()
        }
        return (
            super().state_dict()
            | {"ties": ties, "round": self._round, "tied": self._tied}
            | ({"bits_of": self.bits_of} if self._widths is not None else {})
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._round, self._tied = state_dict["round"], state_dict["tied"]
        self.bits_of = state_dict.get("bits_of", {})
        self.ties = {name: Tie(**tie) for name, tie in state_dict["ties"].items()}
