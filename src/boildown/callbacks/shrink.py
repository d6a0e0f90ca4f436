"""Structured pruning between two fits: whole channels, units and heads go, and the rest trains on.

Which groups there are and what is left of a network is `boildown.structure.shrink`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from boildown.callbacks.budget import clock_of
from boildown.callbacks.constraint import BrokenConstraintError, Check
from boildown.callbacks.evidence import evidence_of
from boildown.callbacks.held import tell_held
from boildown.callbacks.restructuring import Restructuring
from boildown.callbacks.technique import is_number, trained_like
from boildown.callbacks.trained import trained_in
from boildown.flops import forward_flops
from boildown.lowrank.factorize import describe, structure_in
from boildown.name_patterns import without
from boildown.prune.criteria import Criterion, magnitude, scored
from boildown.schedule import check_window
from boildown.structure import selection
from boildown.structure.dependencies import Group
from boildown.structure.resize import NUMBERS, SHAPES, restructured, structure, tensors_in
from boildown.structure.selection import Scope
from boildown.structure.shrink import filled, groups_of, removed, shrink, sliced, smaller, zero
from boildown.structure.weights import weights_in


class Shrink(Restructuring):
    """Remove the channels, units and heads that matter least, with all that depends on them.

    `Shrink(parameters=0.5)` alone halves the network. Its groups of units are found in one forward
    pass of an example before the training. At `at` the fit stops, and the units with the smallest
    scores go; `restructure` gives the narrower network for the next fit.

    Args:
        parameters: how many of the network's parameters are left, in (0, 1). Give this or `flops`,
            or in a run neither and the size of the file.
        flops: how many of the operations of a forward pass are left, in (0, 1).
        at: progress at which the units go, where this fit ends.
        criterion: weights, evidence -> scores, or of the weights alone
            (`boildown.prune.criteria`); a unit's score is the sum of those of its weights.
        scope: "group" takes the same fraction of every group, "global" ranks all units by their
            score per weight. A tenth of each group stays in any case.
        multiple: the channels that a group makes stay a multiple of it; 8 is fastest on CPUs with
            wide vectors, and hits what is asked less exactly.
        calibration: makes an iterable of batches for criteria that ask for evidence.
        samples: how many of its samples to judge by, at least 1.
        exclude: patterns of groups to leave alone, which are named after their first layer.
        otherwise: where the forward pass cannot be followed, or nothing can be removed: "refuse"
            before the training, or "mask", with a warning: rows of the layers but for the last are
            then set to zero and held there, which makes the file smaller and not the network. What
            is asked of `flops` is refused all the same.
        check: see `Constraint`.

    Attributes:
        groups: what there is to remove; () before the training.
        plan: group -> the units that go; {} before `at`.
        report: for each group, how many units there were and are.

    Raises:
        ValueError: for a value out of range, naming it; when the fit starts, for a forward pass
            that cannot be followed, if no group is found, or for less than can be reached.

    Source: Fang et al. 2023, https://arxiv.org/abs/2301.12900; Li et al. 2017 (filters by the sum
    of their magnitudes), https://arxiv.org/abs/1608.08710
    """

    afterwards = "shrunk"

    def __init__(
        self,
        *,
        parameters: float | None = None,
        flops: float | None = None,
        at: float = 0.35,
        criterion: Criterion = magnitude,
        scope: Scope = "group",
        multiple: int = 1,
        calibration: Callable[[], Iterable[Any]] | None = None,
        samples: int = 512,
        exclude: Sequence[str] = (),
        otherwise: Literal["refuse", "mask"] = "refuse",
        check: Check = "stage",
    ) -> None:
        super().__init__(check)
        check_window("shrink", at, at)
        if parameters is not None and flops is not None:
            raise ValueError("shrink: give either parameters or flops, and not both")
        for what, left in (("parameters", parameters), ("flops", flops)):
            if left is not None and not (is_number(left) and 0.0 < left < 1.0):
                raise ValueError(
                    f"shrink.{what} must be the fraction that is left, in (0, 1), got {left!r}"
                )
        if scope not in ("global", "group"):
            raise ValueError(f"shrink.scope must be 'global' or 'group', got {scope!r}")
        for what, count in (("samples", samples), ("multiple", multiple)):
            if type(count) is not int or count < 1:
                raise ValueError(
                    f"shrink.{what} must be a whole number of at least 1, got {count!r}"
                )
        if otherwise not in ("refuse", "mask"):
            raise ValueError(f"shrink.otherwise must be 'refuse' or 'mask', got {otherwise!r}")
        self.parameters, self.flops, self.scope = parameters, flops, scope
        self.begin = self.end = at
        self.multiple = multiple
        self.criterion, self.calibration, self.samples = criterion, calibration, samples
        self.exclude, self.otherwise = exclude, otherwise
        self.masks = False  # whether rows are held at zero, as nothing could be removed
        self.groups: tuple[Group, ...] = ()
        self.plan: dict[str, list[int]] = {}
        self._chosen = False
        self.report: list[dict[str, Any]] = []
        self._example: Any = None
        self._names: dict[str, list[str]] = {}  # of each tensor, all that it has if it is tied
        self._scores: dict[str, Tensor] = {}  # while units are chosen

    @property
    def amounts(self) -> dict[str, Any]:
        return {"parameters": self.parameters, "flops": self.flops}

    @property
    def reached(self) -> bool:
        return self._chosen

    @property
    def settings(self) -> dict[str, Any]:
        same = ("parameters", "flops", "scope", "multiple", "end")
        return {name: getattr(self, name) for name in same}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and self.is_open and self.size is None:
            raise ValueError(
                "shrink: how much is to go? give parameters, such as Shrink(parameters=0.5), "
                "or flops"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.example_input_array is not None:
            self._find(pl_module, pl_module.example_input_array, trained_in(trainer))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self.groups and self.structure is None:
            inputs = batch[0] if isinstance(batch, tuple | list) else batch
            self._find(pl_module, inputs, trained_in(trainer))
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def _find(
        self, pl_module: LightningModule, example: Any, trained: set[int] | None = None
    ) -> None:
        """Find the groups, and say what may go and what may not."""
        if self.structure is not None:
            if self.masks and not self.groups:
                self.groups = tuple(rows(pl_module))
            return
        self._example = _one(example, pl_module.device)
        try:
            self.groups = tuple(self._removable(pl_module, trained))
        except ValueError as error:
            if self.otherwise == "refuse" or self.flops is not None:
                raise  # zeros save no operations
            why = str(error).removeprefix("shrink: ")
            self.masks, self.groups = True, tuple(rows(pl_module))
            if trained is not None:
                rank_zero_warn(
                    f"shrink: {why}. Rows of {', '.join(g.name for g in self.groups)} are set to "
                    "zero instead: the file gets smaller, but the network no narrower or faster"
                )
        names: dict[int, list[str]] = {}
        tensors = tensors_in(pl_module)
        for name, tensor in tensors.items():
            names.setdefault(id(tensor), []).append(name)
        self._names = {name: names[id(tensor)] for name, tensor in tensors.items()}
        if trained is not None and not self.is_open:
            self._within(pl_module, self._order(magnitude(weights_in(pl_module), _NONE)))

    def _removable(self, pl_module: LightningModule, trained: set[int] | None) -> list[Group]:
        """The groups of which units may go.

        Raises:
            ValueError: if there are none, or the forward pass cannot be followed.
        """
        found, left = groups_of(pl_module, self._example)
        named = without(self.exclude, [group.name for group in found], "shrink.exclude")
        left |= {g.name: "shrink.exclude" for g in found if g.name not in named}
        found = [group for group in found if group.name in named]
        there = dict(pl_module.named_parameters())
        for group in found if trained is not None else ():
            if any(n in there and id(there[n]) not in (trained or ()) for n, _ in group.places):
                left[group.name] = "no optimizer trains all of it"
        found = [group for group in found if group.name not in left]
        if not found:
            reasons = "; ".join(f"{name}: {why}" for name, why in left.items())
            raise ValueError(
                f"shrink: {type(pl_module).__name__} has no units that may go"
                f"{f' ({reasons})' if reasons else ''}; Prune puts single weights to zero instead"
            )
        if trained is not None:
            tell_held("shrink", [group.name for group in found], left)
        return found

    def _order(self, scores: Mapping[str, Tensor]) -> selection.Order:
        return selection.order(self.groups, scores, self.scope, self.multiple)

    def _within(self, pl_module: LightningModule, ordered: selection.Order) -> dict[str, list[int]]:
        """The units that go for what may be left."""
        shapes = {name: p.shape for name, p in pl_module.named_parameters()}

        def parameters(plan: Mapping[str, Sequence[int]]) -> float:
            return selection.parameters_left(plan, self.groups, shapes)

        def flops(plan: Mapping[str, Sequence[int]]) -> float:
            return forward_flops(smaller(pl_module, plan, self.groups), self._example)

        cost, left = (parameters, self.parameters) if self.flops is None else (flops, self.flops)
        assert left is not None
        try:
            return selection.fewest(ordered, cost, left * cost({}))
        except ValueError as error:
            what = "parameters" if self.flops is None else "flops"
            raise ValueError(f"shrink.{what}={left}: {error}") from None

    def act(self, trainer: Trainer, pl_module: LightningModule, progress: float) -> None:
        if self.ending and progress >= self.end and not self._chosen:
            self._choose(trainer, pl_module)

    @torch.no_grad()
    def _choose(self, trainer: Trainer, pl_module: LightningModule) -> None:
        weights = weights_in(pl_module)
        evidence = evidence_of(pl_module, weights, self.calibration, self.samples)
        with torch.enable_grad():
            self._scores = scored(self.criterion, weights, evidence)
        if self.is_open:
            assert self.size is not None
            ordered = self._order(self._scores)
            amount = self.size.amount(dict(pl_module.named_parameters()))
            plan = selection.first(ordered, round(amount * len(ordered)))
        else:
            plan = self._within(pl_module, self._order(self._scores))
        self._scores = {}
        self.plan, self._chosen = trainer.strategy.broadcast(plan), True
        zero(pl_module, self.plan, self.groups)
        clock = clock_of(trainer)
        if clock is not None and evidence.flops:
            clock.charge(evidence.flops * trainer.world_size)

    def look_at(self, network: LightningModule) -> None:
        self._find(network, network.example_input_array)

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        if self.structure is not None or not self.groups:
            return dict(weights)
        plan = self.plan if self._chosen else self._planned(weights, amount)
        gone = removed(plan, self.groups)
        left = (filled if self.masks else sliced)(weights, gone)
        made = {name: trained_like(tensor, weights[name]) for name, tensor in left.items()}
        return dict(weights) | made

    def _planned(self, weights: Mapping[str, Tensor], amount: float | None) -> dict[str, list[int]]:
        """The units that would go; flops, which weights say nothing of, stand for parameters."""
        scores = self._scores
        if not scores:  # before the training, where magnitudes stand for what is not known yet
            places = {name for group in self.groups for name, _ in group.places}
            judged = {n: p for n, p in weights.items() if n in places and p.ndim > 1}
            scores = magnitude(judged, _NONE)
        ordered = self._order(scores)
        if amount is not None:
            return selection.first(ordered, round(amount * len(ordered)))
        cost = partial(
            selection.parameters_left,
            groups=self.groups,
            shapes={name: weight.shape for name, weight in weights.items()},
        )
        left = self.parameters or self.flops or 1.0
        return selection.fewest(ordered, cost, left * cost({}))

    def steer(self, pl_module: LightningModule) -> None:
        """Gradients are left alone: what is held at zero is put back there after each step."""

    def hold(self, pl_module: LightningModule, stepped: Optimizer | None = None) -> None:
        if self.masks and self.plan:
            zero(pl_module, self.plan, self.groups)

    def verify(self, pl_module: LightningModule) -> None:
        if (self.structure is not None and not self.masks) or not self.groups:
            return
        parameters = dict(pl_module.named_parameters())
        for (name, axis), gone in removed(self.plan, self.groups).items():
            if name in parameters:
                there = parameters[name].index_select(axis, gone.to(parameters[name].device))
                if there.count_nonzero():
                    raise BrokenConstraintError(
                        f"{name}: what is to go is not zero; something else than the optimizer "
                        "writes to the parameters between steps"
                    )

    def restructure(self, model: nn.Module) -> nn.Module:
        """The network without the units that go.

        Args:
            model: the network that was trained, or the part of the LightningModule that is.

        Raises:
            RuntimeError: if the fit ended before the units were chosen.
            ValueError: if it is another network, or says something else without them.
        """
        if not self._chosen:
            raise RuntimeError(f"shrink: no units were chosen: the fit ended before {self.end}")
        groups = _inside(model, self.groups)
        built = model if self.masks else shrink(model, self.plan, self._example, groups)
        self.structure = structure(model, built)
        self.report = [
            {
                "name": g.name.removeprefix("model."),
                "units": len(g),
                "left": len(g) - len(self.plan.get(g.name, ())),
            }
            for g in groups
        ]
        return built

    def rebuild(self, model: nn.Module) -> nn.Module:
        assert self.structure is not None
        return restructured(model, self.structure)

    def describe(self, config: dict[str, Any]) -> dict[str, Any]:
        if structure_in(config):
            raise ValueError(
                "shrink: it must come before what else changes the structure, such as lowrank"
            )
        return super().describe(config)

    def preview_config(
        self, config: dict[str, Any], weights: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        if self.structure is not None or not self.groups or self.masks:
            return config
        found: dict[str, dict[str, Any]] = {}
        for path in (name for group in self.groups for name, _ in group.places):
            for name in self._names[path]:
                layer, _, own = name.removeprefix("model.").rpartition(".")
                vectors = [n for n in weights if n.rpartition(".")[0] == layer]
                like = f"{layer}.{own}" if f"{layer}.{own}" in weights else min(vectors, default="")
                if like in weights:  # statistics are as long as the norm's parameters
                    shapes = found.setdefault(layer, {SHAPES: {}})[SHAPES]
                    shapes[own] = list(weights[like].shape)
        for group in self.groups:
            for (path, attribute), each in group.numbers.items():
                entry = found.setdefault(path.removeprefix("model."), {})
                entry.setdefault(NUMBERS, {})[attribute] = each * len(group)
        return describe(config, found)

    @property
    def results(self) -> dict[str, Any]:
        return {"groups": self.report}

    def state_dict(self) -> dict[str, Any]:
        own: dict[str, Any] = {"plan": {name: list(units) for name, units in self.plan.items()}}
        own |= {"report": [dict(row) for row in self.report], "masks": self.masks}
        own |= {"chosen": self._chosen}
        return super().state_dict() | own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.plan, self.report = state_dict["plan"], state_dict["report"]
        self.masks, self._chosen = state_dict["masks"], state_dict["chosen"]


def rows(model: nn.Module) -> list[Group]:
    """Rows of the layers with weights, but for the last: units that nothing is known of."""
    layers = [
        (name.removesuffix(".weight"), weight)
        for name, weight in weights_in(model).items()
        if name.endswith(".weight") and len(weight) > 1
    ]
    there = dict(model.named_parameters())
    found = []
    for layer, weight in layers[:-1]:
        places = [(f"{layer}.{own}", 0) for own in ("weight", "bias") if f"{layer}.{own}" in there]
        units = tuple(
            {place: torch.tensor([row]) for place in places} for row in range(len(weight))
        )
        found.append(Group(layer, units))
    return found


_NONE: Any = None  # evidence, which magnitudes do not ask for


def _one(example: Any, device: torch.device) -> Any:
    """The first two samples of an example, on the device."""
    if isinstance(example, Tensor):
        return example[:2].to(device)
    if isinstance(example, Mapping):
        return {key: _one(value, device) for key, value in example.items()}
    if isinstance(example, tuple | list):
        return tuple(_one(value, device) for value in example)
    return example


def _inside(model: nn.Module, groups: Sequence[Group]) -> list[Group]:
    """Groups of a network, named as in a part of it.

    Raises:
        ValueError: if they do not all lie in this part.
    """
    own = tensors_in(model)
    name = groups[0].places[0][0]
    starts = [at + 1 for at, letter in enumerate(name) if letter == "."]
    start = next((name[:at] for at in (0, *starts) if name[at:] in own), None)

    def inner(path: str) -> str:
        if start is None or not path.startswith(start):
            raise ValueError(f"shrink: {path} is no parameter of this {type(model).__name__}")
        return path.removeprefix(start)

    found = []
    for group in groups:
        units = tuple(
            {(inner(path), axis): at for (path, axis), at in unit.items()} for unit in group.units
        )
        numbers = {(inner(f"{p}.")[:-1], a): each for (p, a), each in group.numbers.items()}
        found.append(Group(group.name, units, numbers))
    return found
