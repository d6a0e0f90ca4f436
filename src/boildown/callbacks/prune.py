"""Prune while training: when to cut, and keeping what was cut at zero."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from boildown.calibrate.evidence import Evidence
from boildown.callbacks.budget import callbacks_of, clock_of
from boildown.callbacks.constraint import (
    BrokenConstraintError,
    Check,
    Constraint,
    fitting,
    forget_cut,
    forget_momentum,
    taking_up,
)
from boildown.callbacks.evidence import evidence_of
from boildown.callbacks.held import check_apart, check_dense, tell_held, to_hold
from boildown.callbacks.learning_rate import ScheduleLearningRate, rates_before_schedules
from boildown.callbacks.movement import Movement
from boildown.callbacks.pull import SupportPull
from boildown.callbacks.refit import not_fitted, refit
from boildown.callbacks.selection import Selection
from boildown.callbacks.technique import trained_like, trained_matrices
from boildown.callbacks.zeros import Zeros
from boildown.name_patterns import by_pattern, without
from boildown.prune.criteria import Criterion, magnitude, scored
from boildown.prune.forms import check_mix
from boildown.prune.masks import at_floor, packed, unpacked
from boildown.prune.reconstruct import Method, Named, method_named
from boildown.prune.scopes import Scope
from boildown.schedule import Cubic, OneShot, Rounds, Schedule, check_window, fraction

CUBIC = Cubic()
REWOUND = 0.06  # of the asked size, by which rewinding may make the file smaller


class Prune(Constraint):
    """Cut the weights that matter least as `schedule` asks for more zeros, and hold them at zero.

    The weights that an optimizer trains are pruned (`boildown.structure.weights`): not biases,
    norms and scales, nor what is frozen or in no optimizer when the first cut falls. A cut falls
    before a step; once cut, a weight stays zero through momentum, weight decay, skipped steps and
    resume. No tensor is emptied by a ranking of all together: it keeps a tenth of its fraction.
    Equal on all ranks under DDP. In another fit of the same network it goes on where it was;
    another network needs a new one.

    Args:
        sparsity: final fraction of zeros over all pruned tensors, in [0, 1). Give this, `flops`
            (or both, which are then both met) or `keep`, or in a run none and the file's size.
        flops: final fraction of a forward pass's operations that the pruned tensors take, in
            (0, 1], if zeros cost nothing: of each entry that stays, as often as it is applied. A
            ranking of all together then goes by score per operation.
        keep: pattern -> final fraction of a tensor's weights that stay, in (0, 1]; tensors that no
            pattern names are not pruned. First match wins.
        scope: without `keep`, rank all tensors together ("global"), or each by itself: equally
            sparse ("layer"), small ones less so ("erk", `boildown.prune.densities`), or each by
            what cutting it does, which is measured at `begin`, once, on `samples` of the training
            data ("sensitivity", `boildown.prune.allocation`).
        pattern: what is cut as one (`boildown.prune.patterns`): None single weights, "2:4" all but
            two of each four inputs, and by itself no more, "1x4" blocks of outputs x inputs.
        begin: progress at the first cut, as a fraction of the budget.
        end: progress from which the target holds.
        schedule: target over the window (`boildown.schedule`); `Rounds` is prune, fine-tune, prune
            again.
        cuts: into how many cuts a gradual schedule is split, at least 1; `Rounds` has one for each
            and `OneShot` one, at `begin`.
        criterion: weights, evidence -> scores, or of the weights alone
            (`boildown.prune.criteria`); the smallest are cut. It is tried on one batch before the
            training.
        calibration: makes an iterable of batches for criteria that ask for evidence, such as a
            training dataloader.
        samples: how many of its samples to judge by, at least 1.
        exclude: patterns of tensors to leave alone.
        reconstruct: "sparsegpt", "alps" or "obs" (`boildown.prune.reconstruct`) let the weights and
            biases of linear layers and two-dimensional convolutions make up for each cut, and
            choose which of a tensor's weights go; how many do, the criterion decides. "refit" keeps
            the criterion's choice. None: the training alone makes up for it.
        mix: with `reconstruct`, how much the loss counts beside the layers' outputs, in [0, 1].
        rule: "cut" sets weights to zero at each cut; "admm" does so at the last alone, and at the
            others finds anew what it would leave, towards which the weights are pulled.
        mu: with "admm", how hard they are pulled at first and at last, in units of the loss.
        rewind: "weights" sets the survivors back to their values at `rewind_to` after each cut (the
            lottery ticket), "learning_rate" restarts its schedule at each round, None does neither.
        rewind_to: progress whose weights are kept for rewinding.
        check: see `Constraint`.
        name: for a second `Prune` in the same Trainer, of other tensors.

    Raises:
        ValueError: for a value out of its range, naming it; when the fit starts for a criterion
            that scores wrongly, a pattern of names that matches nothing, a tensor that `pattern`
            does not divide, if no parameter is left to prune, or if the masks held are of another
            network.

    Source: Han et al. 2015, https://arxiv.org/abs/1506.02626; rewinding: Frankle et al. 2019,
    https://arxiv.org/abs/1903.01611, Renda et al. 2020, https://arxiv.org/abs/2003.02389
    """

    def __init__(
        self,
        *,
        sparsity: float | None = None,
        flops: float | None = None,
        keep: Mapping[str, float] | None = None,
        scope: Scope = "global",
        pattern: str | None = None,
        criterion: Criterion = magnitude,
        calibration: Callable[[], Iterable[Any]] | None = None,
        samples: int = 512,
        begin: float = 0.35,
        end: float = 0.7,
        schedule: Schedule = CUBIC,
        cuts: int = 20,
        exclude: Sequence[str] = (),
        reconstruct: Named | Method | None = None,
        mix: float = 0.0,
        rule: Literal["cut", "admm"] = "cut",
        mu: Sequence[float] = (10.0, 30.0),
        rewind: Literal["weights", "learning_rate"] | None = None,
        rewind_to: float = 0.0,
        check: Check = "stage",
        name: str = "",
    ) -> None:
        super().__init__(check, name)
        check_window("prune", begin, end)
        for what, count in (("cuts", cuts), ("samples", samples)):
            if type(count) is not int or count < 1:
                raise ValueError(
                    f"prune.{what} must be a whole number of at least 1, got {count!r}"
                )
        _check_function("schedule", schedule, "boildown.schedule.Cubic()")
        _check_function("criterion", criterion, "boildown.prune.criteria.magnitude")
        self.selection = Selection(sparsity, flops, keep, scope, pattern, schedule)
        self.calibration, self.samples = calibration, samples
        self.begin, self.end, self.schedule, self.criterion = begin, end, schedule, criterion
        self.cuts = schedule.n if isinstance(schedule, OneShot | Rounds) else cuts
        self.exclude, self.rewind, self.rewind_to = exclude, rewind, rewind_to
        self._zeros = Zeros()
        self.names: list[str] = []
        self._scores: dict[str, Tensor] = {}  # while a cut is made
        self._movement: Movement | None = None  # if the criterion has asked for it
        self._time, self._target = -1.0, 0.0
        named = "prune.reconstruct"
        self.method = None if reconstruct is None else method_named(reconstruct, named)
        self.mix = mix
        self.rule, self._pull = rule, SupportPull(mu)
        self._rates: dict[str, float] = {}  # weight -> its learning rate before any schedule
        self._at_floor: set[str] = set()  # those that were warned of
        self._settled = False  # whether the asked size was met once more before what follows
        self._early: dict[str, Tensor] = {}
        self._check_rules()

    def _check_rules(self) -> None:
        """Refuse what does not go together.

        Raises:
            ValueError: naming it.
        """
        begin, end = self.begin, self.end
        check_mix(self.mix, "prune.mix")
        if self.mix and self.method is None:
            raise ValueError(
                f"prune.mix = {self.mix} says what prune.reconstruct fits to; give that too"
            )
        if self.rule not in ("cut", "admm"):
            raise ValueError(f"prune.rule must be cut or admm, got {self.rule!r}")
        at_once = begin == end or self._last == 0.0
        if self.rule == "admm" and (at_once or self.rewind == "weights"):
            raise ValueError(
                "prune.rule=admm pulls the weights over the window: end must be after begin, with "
                "a schedule such as boildown.schedule.Cubic(), and without prune.rewind=weights"
            )
        if self.rewind not in (None, "weights", "learning_rate"):
            raise ValueError(
                f"prune.rewind must be weights, learning_rate or null, got {self.rewind!r}"
            )
        if not 0.0 <= self.rewind_to <= begin:
            raise ValueError(
                f"prune.rewind_to must lie in [0, begin = {begin}], before the first cut, "
                f"got {self.rewind_to}"
            )
        if self.rewind == "weights" and self.method is not None:
            raise ValueError(
                "prune.rewind=weights sets back what prune.reconstruct has fitted; give one of them"
            )
        if self.rewind == "weights" and (begin == 1.0 or end == self._last == 1.0):
            raise ValueError(
                f"prune.rewind=weights needs training after the last cut, which falls at the very "
                f"end of the budget with {begin=} {end=}; give an earlier begin or end"
            )

    @property
    def reached(self) -> bool:
        return bool(self.masks) and self._time >= self._last

    @property
    def settings(self) -> dict[str, Any]:
        same = ("begin", "end", "cuts", "rule", "rewind", "rewind_to")
        own = {name: getattr(self, name) for name in same} | {"exclude": list(self.exclude)}
        own |= {"reconstruct": getattr(self.method, "__name__", None), "mix": self.mix}
        return own | {"schedule": type(self.schedule).__name__} | self.selection.settings

    @property
    def begun(self) -> bool:
        return bool(self.masks or self._pull.nearest)

    @property
    def held_figures(self) -> dict[str, dict[str, float]]:
        return {"sparsity": {name: 1.0 - kept for name, kept in self.densities.items()}}

    @property
    def before(self) -> dict[str, Any]:
        return {"rewind": self.rewind, "rewind_to": self.rewind_to}

    @property
    def amounts(self) -> dict[str, Any]:
        return {name: getattr(self.selection, name) for name in ("sparsity", "flops", "keep")}

    @property
    def masks(self) -> dict[str, Tensor]:
        """Weight -> bool tensor of its shape; False is held at zero."""
        return self._zeros.masks

    @property
    def densities(self) -> dict[str, float]:
        """Of the masks, for the ledger."""
        return self._zeros.densities

    @property
    def sparsity(self) -> float:
        """Fraction of zeros now, over the tensors that are pruned."""
        return self._zeros.sparsity

    @property
    def _changes_on(self) -> bool:
        """Whether the weights are far from final when their last cut falls."""
        return self.rewind == "weights"

    @property
    def _last(self) -> float:
        """The time of the last cut."""
        return (self.cuts - 1) / self.cuts if isinstance(self.schedule, OneShot | Rounds) else 1.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        undecided = self.is_open and self.size is None and not self.selection.pattern.least
        if stage == "fit" and undecided:
            raise ValueError(
                "prune: how much is to be cut? give sparsity, such as Prune(sparsity=0.9), "
                "flops or keep"
            )
        if stage == "fit" and self.rewind == "learning_rate":
            rates = [c for c in callbacks_of(trainer) if isinstance(c, ScheduleLearningRate)]
            if not rates:
                raise ValueError(
                    "prune.rewind=learning_rate needs ScheduleLearningRate among the callbacks"
                )
            width = (self.end - self.begin) / self.cuts
            rates[0].restart_at([self.begin + i * width for i in range(self.cuts)])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        self._find(trainer, pl_module)

    def _find(self, trainer: Trainer, pl_module: LightningModule) -> None:
        keep = self.selection.keep
        only = None if keep is None else ("prune.keep", keep)
        names, left = to_hold(trainer, pl_module, "prune", self.exclude, only)
        if names != self.names:
            tell_held("prune", names, left)
        self.names = names
        check_dense(pl_module, "prune", self.names)
        self.selection.check_shapes({n: pl_module.get_parameter(n).shape for n in self.names})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_apart(trainer, Prune, "names")
        self._rates = rates_before_schedules(trainer, pl_module) if self.rule == "admm" else {}
        with taking_up("Prune"):
            self._set_masks(self.masks, pl_module)
            self.verify(pl_module)
        if not self.masks:
            evidence = self._score(pl_module, samples=1)  # what is wrong with it shows now
            self._scores = {}
            self.selection.count_operations(pl_module, evidence)
            left = not_fitted(pl_module, evidence) if self.method is not None else []
            if left:
                rank_zero_info(
                    f"prune.reconstruct: {', '.join(left)} will be cut, and nothing makes up for "
                    "it: only linear layers and two-dimensional convolutions can be fitted"
                )
        if self._movement is not None and (self.begin == self.end or self.schedule(0.0, 1.0) > 0):
            raise ValueError(
                "prune.criterion judges by the movement since the first cut, at which nothing has "
                "moved yet: prune gradually, with end after begin and a schedule such as "
                f"boildown.schedule.Cubic(), not {type(self.schedule).__name__}"
            )

    def act(self, trainer: Trainer, pl_module: LightningModule, progress: float) -> None:
        if self.rewind == "weights" and not self._early and progress >= self.rewind_to:
            self._early = {n: p.detach().clone() for n, p in pl_module.named_parameters()}
        if progress < self.begin:
            return
        u = fraction(progress, self.begin, self.end)
        time = u if u >= 1.0 else math.floor(u * self.cuts + 1e-9) / self.cuts
        due = time > self._time and self._time < self._last
        settles = self.size is not None and progress >= self.size.settled_at and not self._settled
        if not (due or settles):
            return
        self._settled = settles
        if self.rule == "admm" and time < self._last:
            self._draw(trainer, pl_module, time)
            return
        self._cut(trainer, pl_module, time if due else self._time)
        if due and self.rewind == "weights":
            self._rewind(trainer, pl_module)

    @torch.no_grad()
    def _cut(self, trainer: Trainer, pl_module: LightningModule, time: float) -> None:
        if not self.masks:  # parameters may have been unfrozen since the fit began
            self._find(trainer, pl_module)
        evidence = self._score(pl_module, self.samples)
        self.selection.measure(pl_module, evidence, self._scores)
        masks = self._choose(pl_module, time)
        before = self.masks or {name: torch.ones_like(mask) for name, mask in masks.items()}
        masks = trainer.strategy.broadcast({n: mask & before[n] for n, mask in masks.items()})
        self._pull.load_state_dict({"mu": 0.0, "nearest": {}, "owed": {}})  # it has done its part
        if self.method is not None and not self._settled:  # then the file was measured as it is
            by = self.selection.pattern, self.method, self.mix
            masks = refit(trainer, pl_module, evidence, masks, before, *by)
        self._done(trainer, evidence, time)
        self._set_masks(masks, pl_module)
        if self.selection.keep is None and self.selection.scope == "global":
            self._warn_of_floors()
        for name, mask in self.masks.items():
            forget_cut(trainer, pl_module.get_parameter(name), mask)
        self.hold(pl_module)
        self.verify(pl_module)

    @torch.no_grad()
    def _draw(self, trainer: Trainer, pl_module: LightningModule, time: float) -> None:
        """Find anew what the weights are pulled towards."""
        if self._time < 0.0:
            self._find(trainer, pl_module)
        evidence = self._score(pl_module, self.samples)
        self.selection.measure(pl_module, evidence, self._scores)
        masks = trainer.strategy.broadcast(self._choose(pl_module, time))
        weights = {name: pl_module.get_parameter(name) for name in masks}
        self._pull.renew(weights, masks, time)
        self._done(trainer, evidence, time)

    def _done(self, trainer: Trainer, evidence: Evidence, time: float) -> None:
        self._scores, self._time = {}, time
        clock = clock_of(trainer)
        if clock is not None and evidence.flops:
            clock.charge(evidence.flops * trainer.world_size)

    def _warn_of_floors(self) -> None:
        """Name the layers that a ranking of all would have emptied, each once."""
        found = {n: d for n, d in at_floor(self.masks).items() if n not in self._at_floor}
        self._at_floor |= set(found)
        if found:
            named = ", ".join(f"{name} keeps {kept:.2%}" for name, kept in found.items())
            rank_zero_warn(
                f"prune: at a sparsity of {self.sparsity:.1%} over all, {named}: ranked by score "
                "nearly all would go, and the floor alone is left. Remedies: prune.scope=layer, "
                "prune.keep for each layer, prune.exclude, or less sparsity"
            )

    def _score(self, pl_module: LightningModule, samples: int) -> Evidence:
        """Find the scores of the weights as they are now; gives what they were judged by."""
        weights = {name: pl_module.get_parameter(name) for name in self.names}
        moved = partial(self._moved, weights)
        evidence = evidence_of(pl_module, self.names, self.calibration, samples, moved)
        judged = self._pull.shifted(weights) if self._pull.nearest else weights
        self._scores = scored(self.criterion, judged, evidence)
        if self._movement is not None and not self._movement.sums:
            self._scores = magnitude(weights, evidence)  # until something has moved
        for name, mask in self.masks.items():  # what is cut goes first, so it stays cut
            self._scores[name] = self._scores[name].masked_fill(~mask, -torch.inf)
        return evidence

    def _moved(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What the criterion asks for, from now on at hand."""
        self._movement = self._movement or Movement()
        sums = self._movement.sums
        return {n: sums[n] if n in sums else torch.zeros_like(w) for n, w in weights.items()}

    def _choose(self, pl_module: LightningModule, time: float) -> dict[str, Tensor]:
        target = None
        if self.size is not None and self.is_open:
            if not self.masks or time >= self._last:
                self._target = self._asked_target(pl_module)
            target = self._target
        return self.selection.masks(self._scores, time, target)

    def _asked_target(self, pl_module: LightningModule) -> float:
        """The sparsity that meets the asked size.

        Weights that are rewound and trained again take other bytes than those the cut was measured
        on, and what is cut does not come back: until the last correction, that much is left over.
        """
        assert self.size is not None
        weights = dict(pl_module.named_parameters())
        if not self._changes_on or self._settled:
            return self.size.amount(weights)
        self.size.check_reach(weights)
        return replace(self.size, bytes=self.size.bytes * (1.0 + REWOUND)).amount(weights)

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        scores = self._scores
        if not scores:  # before the training, where magnitudes stand for what is not known yet
            names = without(self.exclude, trained_matrices(weights), "prune.exclude")
            if self.selection.keep is not None:
                names = list(by_pattern(self.selection.keep, names, "prune.keep"))
            names = self.selection.fitting(weights, names)
            scores = {name: weights[name].detach().abs() for name in names}
        masks = self.selection.masks(scores, 1.0, amount)
        cut = {
            name: trained_like(torch.where(mask, weights[name].detach(), 0.0), weights[name])
            for name, mask in masks.items()
        }
        return {**weights, **cut}

    @torch.no_grad()
    def _rewind(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, parameter in pl_module.named_parameters():
            parameter.copy_(self._early[name])
        forget_momentum(trainer, list(pl_module.parameters()))
        for other in callbacks_of(trainer):
            if isinstance(other, Prune):
                other.hold(pl_module)

    def _set_masks(self, masks: Mapping[str, Tensor], pl_module: LightningModule) -> None:
        self._zeros.take(masks, {name: pl_module.get_parameter(name) for name in masks})

    @torch.no_grad()
    def steer(self, pl_module: LightningModule) -> None:
        if self._movement is not None:
            self._movement.before_step(self._zeros.weights)
        self._zeros.clear_gradients()

    @torch.no_grad()
    def hold(self, pl_module: LightningModule, stepped: Optimizer | None = None) -> None:
        if self._movement is not None and stepped is not None:
            self._movement.after_step(stepped)
        if self._pull.nearest and stepped is not None:
            weights = {name: pl_module.get_parameter(name) for name in self._pull.nearest}
            self._pull.after_step(stepped, weights, self._rates)
        self._zeros.clear()

    def verify(self, pl_module: LightningModule) -> None:
        for name, mask in self.masks.items():
            alive = int((pl_module.get_parameter(name)[~mask] != 0).sum())
            if alive:
                raise BrokenConstraintError(
                    f"{name}: {alive} pruned weights are not zero; something else than the "
                    "optimizer writes to the parameters between steps"
                )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if fitting(trainer):
            pl_module.log("/".join(filter(None, ("prune", self.name, "sparsity"))), self.sparsity)

    def state_dict(self) -> dict[str, Any]:
        own = {"masks": packed(self.masks), "time": self._time, "target": self._target}
        own["shapes"] = {name: list(mask.shape) for name, mask in self.masks.items()}
        own |= {"settled": self._settled, "selection": self.selection.state_dict()}
        if self._pull.nearest:
            own["pull"] = self._pull.state_dict()
        if self._movement is not None:
            own["movement"] = self._movement.sums
        return super().state_dict() | own | {"early": self._early}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._time, self._target = state_dict["time"], state_dict["target"]
        self._early = state_dict["early"]
        if "pull" in state_dict:
            self._pull.load_state_dict(state_dict["pull"])
        self._movement = Movement(state_dict["movement"]) if "movement" in state_dict else None
        self._settled = state_dict.get("settled", False)  # the first version did not settle
        self._zeros.masks = unpacked(state_dict["masks"], state_dict["shapes"])
        if "selection" in state_dict:  # an older version had measured nothing
            self.selection.load_state_dict(state_dict["selection"])


def _check_function(what: str, given: object, example: str) -> None:
    if isinstance(given, type) or not callable(given):
        raise ValueError(f"prune.{what} must be a function such as {example}, got {given!r}")
