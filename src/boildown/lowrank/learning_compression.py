"""The learning-compression algorithm: ranks of all layers, learned while a network trains.

State in, state out. The L step trains under a pull towards the nearest network of low rank, T:
mu/2 ||W - T||^2 - <Y, W - T>. The C step finds T anew, its ranks for all layers at once, as the
nearest network to W - Y / mu; then Y <- Y - mu (W - T), and mu grows.

Source: Idelbayev & Carreira-Perpinan, CVPR 2020, algorithm 1,
https://openaccess.thecvf.com/content_CVPR_2020/html/Idelbayev_Low-Rank_Compression_of_Neural_Nets_Learning_the_Rank_of_Each_Layer_CVPR_2020_paper.html
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from boildown.lowrank import factored_layer
from boildown.lowrank.costs import Layer, cost_of
from boildown.lowrank.factorize import factorize
from boildown.lowrank.form import Form
from boildown.lowrank.ranks import energy_ranks
from boildown.lowrank.scheme import fold, matrices
from boildown.lowrank.svd import Spectrum, decompose, svd_flops
from boildown.lowrank.target import Ranks, Spectra, Target, values_of
from boildown.schedule import Schedule, check_window, fraction

SETTLED = 0.75  # of the window, from where on the ranks are those of the final cost


@dataclass(frozen=True)
class State:
    """Where the algorithm is.

    Attributes:
        step: the newest C step, -1 before the first.
        factors: what was searched for; None if nothing was.
        ranks: of the newest C step.
        nearest: layer -> T, of its weight's shape.
        owed: layer -> Y, likewise; {} without multipliers.
        dense: layer -> its singular values before the first C step.
    """

    step: int = -1
    factors: float | None = None
    ranks: Ranks = field(default_factory=dict)
    nearest: dict[str, Tensor] = field(default_factory=dict)
    owed: dict[str, Tensor] = field(default_factory=dict)
    dense: dict[str, Tensor] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """As plain data, under the names that checkpoints have."""
        found = {name: getattr(self, name) for name in ("ranks", "nearest", "owed", "dense")}
        return {"step": self.step, "share": self.factors} | {n: dict(v) for n, v in found.items()}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "State":
        """From what `state_dict` returned, whatever else is in there."""
        names = ("step", "share", "ranks", "nearest", "owed", "dense")
        return cls(*(state[name] for name in names))

    def targets(self, mu: float) -> dict[str, Tensor]:
        """T + Y / mu, where the weights of layers with a rank are pulled until the next C step."""
        return {
            name: nearest + self.owed[name] / mu if name in self.owed else nearest
            for name, nearest in self.nearest.items()
            if self.ranks[name] is not None
        }


@dataclass(frozen=True)
class Network:
    """What the algorithm reads of a network.

    Attributes:
        layers: what the ranks of each layer cost.
        parameters: by their names; a layer's weight is `NAME.weight`.
    """

    layers: Mapping[str, Layer]
    parameters: Mapping[str, Tensor]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Layer -> W."""
        return {name: self.parameters[f"{name}.weight"] for name in self.layers}


@dataclass(frozen=True)
class Algorithm:
    """When C steps come, what they aim at, and how hard the weights are pulled between them.

    Attributes:
        target: of the ranks.
        begin: progress at the first C step.
        end: progress at the last one; equal to `begin` for a truncation without a pull.
        steps: C steps after the first, evenly spread over the window, at least 1.
        mu: the first and the last mu, above 0, growing by a constant factor from step to step.
        schedule: of the fraction that is saved, over the first three quarters of the window.
        multipliers: whether to keep Y (the augmented Lagrangian); else the quadratic penalty.

    Raises:
        ValueError: for a value out of range.
    """

    target: Target
    begin: float
    end: float
    steps: int
    mu: Sequence[float]
    schedule: Schedule
    multipliers: bool

    def __post_init__(self) -> None:
        check_window("lowrank", self.begin, self.end)
        if self.steps < 1:
            raise ValueError(f"lowrank.steps must be at least 1, got {self.steps}")
        if len(self.mu) != 2 or not 0.0 < self.mu[0] <= self.mu[1] < math.inf:
            raise ValueError(
                f"lowrank.mu must be two numbers, 0 < first <= last, got {list(self.mu)}"
            )

    @property
    def last(self) -> int:
        """The number of the last C step; the first is 0."""
        return self.steps if self.end > self.begin else 0

    def step_at(self, progress: float) -> int:
        """The C step that is due, -1 before the first."""
        if progress < self.begin:
            return -1
        at = fraction(progress, self.begin, self.end)
        return self.last if at >= 1.0 else math.floor(at * self.steps + 1e-9)

    def mu_after(self, step: int) -> float:
        """That of the training after a C step."""
        first, last = self.mu
        u = min(max(step, 0) / max(self.steps - 1, 1), 1.0)
        return float(first * (last / first) ** u)

    def c_step(
        self,
        state: State,
        step: int,
        network: Network,
        forms: Mapping[str, Sequence[Form]] | None,
        agree: Callable[[Ranks], Ranks],
        search: Callable[[Spectra], float] | None = None,
    ) -> tuple[State, int]:
        """The nearest network of low rank, its ranks chosen for all layers at once.

        Args:
            state: before.
            step: the C step that is due.
            network: as it is trained.
            forms: layer -> what makes an error of each group large; None for its own size.
            agree: the ranks that all processes take, of those of this one.
            search: finds what the layers may cost, if the target leaves it open; asked at the
                first C step, halfway, and at the last.

        Returns:
            The state after it, and the operations of its decompositions.
        """
        mu, weights, layers = self.mu_after(state.step), network.weights, network.layers
        dense = state.dense or {
            name: values_of(each) for name, each in spectra_of(weights, layers, state.owed).items()
        }
        spectra = spectra_of(weights, layers, state.owed, mu, forms)
        factors = state.factors
        again = state.step < self.steps // 2 <= step or step == self.last
        if search is not None and (factors is None or again):
            factors = search(spectra)
        u = min(step / (SETTLED * self.last), 1.0) if self.last else 1.0
        ranks = self.target.chosen(
            spectra, layers, mu=mu, factors=factors, eased=lambda final: self.schedule(u, final)
        )
        now = replace(state, step=step, factors=factors, dense=dense, ranks=agree(ranks))
        now = _compressed(now, weights, layers, spectra, mu if self.multipliers else None)
        if step == self.last:
            now = replace(now, owed={})
        count = sum(
            svd_flops(s.u.shape[0], s.v.shape[0]) for each in spectra.values() for s in each
        )
        return now, count


def spectra_of(
    weights: Mapping[str, Tensor],
    layers: Mapping[str, Layer],
    owed: Mapping[str, Tensor] | None = None,
    mu: float = 1.0,
    forms: Mapping[str, Sequence[Form]] | None = None,
) -> dict[str, list[Spectrum]]:
    """The singular values of W - Y / mu, for each group of each layer.

    Args:
        weights: layer -> W.
        layers: how they are matrices.
        owed: layer -> Y; zero where absent.
        mu: of the training since the C step before.
        forms: layer -> what makes an error of each group large; None for its own size.

    Raises:
        ValueError: for a weight that is not finite, by name.
    """
    spectra = {}
    for name, layer in layers.items():
        wanted = weights[name].detach()
        if owed and name in owed:
            wanted = wanted - owed[name] / mu
        split = matrices(wanted, layer.scheme, layer.groups)
        ways = [form.decompose for form in forms[name]] if forms else [decompose] * len(split)
        try:
            spectra[name] = [way(matrix) for way, matrix in zip(ways, split, strict=True)]
        except ValueError as error:
            raise ValueError(f"lowrank: {name}: {error}") from None
    return spectra


def _compressed(
    state: State,
    weights: Mapping[str, Tensor],
    layers: Mapping[str, Layer],
    spectra: Spectra,
    mu: float | None,
) -> State:
    """The nearest network of the state's ranks, and what is owed to it; mu is None without Y."""
    nearest, owed = {}, dict(state.owed)
    for name, layer in layers.items():
        weight, rank = weights[name].detach(), state.ranks[name]
        if rank is None:
            nearest[name] = weight.clone()
        else:
            parts = [s.truncate(rank).product() for s in spectra[name]]
            folded = fold(torch.stack(parts), layer.scheme, weight.shape)
            nearest[name] = folded.to(weight.dtype).contiguous()
        if mu is not None and state.nearest:
            before = owed.get(name, torch.zeros_like(nearest[name]))
            owed[name] = before - mu * (weight - nearest[name])
    return replace(state, nearest=nearest, owed=owed)


@torch.no_grad()
def pull(weight: Tensor, target: Tensor, rate: float, mu: float) -> None:
    """The proximal step of the penalty, in place: W <- (W + a target) / (1 + a), a = rate mu.

    It minimises ||W' - W||^2 / (2 rate) + mu/2 ||W' - target||^2: stable at any mu, and apart from
    the optimizer, so that Adam does not rescale it.
    """
    a = rate * mu
    weight.lerp_(target, a / (1.0 + a))


def distance(state: State, weights: Mapping[str, Tensor]) -> float:
    """||W - T|| / ||W|| over all layers; 0 for weights that are all zero."""
    apart = size = 0.0
    for name, nearest in state.nearest.items():
        weight = weights[name].detach()
        apart += float((weight - nearest).square().sum())
        size += float(weight.square().sum())
    return math.sqrt(apart / size) if size else 0.0


def factorized(
    model: nn.Module, layers: Mapping[str, Layer], state: State
) -> tuple[nn.Module, dict[str, str]]:
    """The network with two smaller layers in place of each that has a rank.

    Args:
        model: the network that was trained, or a part of it that has all the layers.
        layers: its layers, and how they are matrices.
        state: after the last C step.

    Returns:
        The new network, and layer -> its name in `model`.

    Raises:
        ValueError: if it is another network.
    """
    own = {id(module): name for name, module in model.named_modules()}
    for name, layer in layers.items():
        if id(layer.module) not in own:
            raise ValueError(f"lowrank: {name} is no layer of this {type(model).__name__}")
    names = {name: own[id(layer.module)] for name, layer in layers.items()}
    chosen = {name: rank for name, rank in state.ranks.items() if rank is not None}
    ranks = {names[name]: rank for name, rank in chosen.items()}
    schemes = {names[name]: layers[name].scheme for name in chosen}
    return factorize(model, ranks, schemes=schemes), names


def factors_in(
    parameters: Mapping[str, Tensor],
    layers: Mapping[str, Layer],
    spectra: Spectra,
    ranks: Ranks,
) -> dict[str, Tensor]:
    """The parameters of the network with two smaller layers in place of each that has a rank.

    Args:
        parameters: of the network as it is, by their names.
        layers: how they are matrices.
        spectra: of their weights.
        ranks: of each.

    Returns:
        The same parameters but for those of the layers with a rank, for which
        `NAME.v.weight`, `NAME.u.weight` and `NAME.u.bias` stand.
    """
    found = dict(parameters)
    for name, rank in ranks.items():
        if rank is None:
            continue
        parts = [each.truncate(rank) for each in spectra[name]]
        bias = found.pop(f"{name}.bias", None)
        weight = found.pop(f"{name}.weight")
        built = factored_layer.layers(layers[name].module, layers[name].scheme, parts, bias)
        for own, parameter in built.named_parameters():
            like = bias if own == "u.bias" and bias is not None else weight
            found[f"{name}.{own}"] = parameter.detach().requires_grad_(like.requires_grad)
    return found


def structure_of(
    layers: Mapping[str, Layer], weights: Mapping[str, Tensor]
) -> dict[str, dict[str, Any]]:
    """What a network with parameters of `factors_in` has become, as plain data.

    Args:
        layers: how they are matrices.
        weights: name -> parameter; names may lack what all layers' names begin with.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, layer in layers.items():
        own = next((n for n in _endings(name) if f"{n}.u.weight" in weights), None)
        if own is None:
            continue
        inner = weights[f"{own}.v.weight"]
        embeds = layer.scheme == "embedding"
        rank = inner.shape[1] if embeds else inner.shape[0] // layer.groups
        found[own] = {"scheme": layer.scheme, "rank": rank}
    return found


def _endings(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def report(
    state: State, layers: Mapping[str, Layer], unit: str, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What was chosen, and what one energy threshold would choose at the same cost.

    Args:
        state: after the last C step.
        layers: what their ranks cost.
        unit: of the costs.
        names: layer -> its name in the report.
    """
    costs = {name: layer.costs for name, layer in layers.items()}
    dense = {name: layer.dense for name, layer in layers.items()}
    spent = cost_of(layers, state.ranks)
    by_energy = energy_ranks(state.dense, costs, spent, dense=dense)
    return [
        {
            "name": names[name],
            "scheme": layer.scheme,
            "rank": state.ranks[name],
            "rank_by_energy": by_energy[name],
            "full_rank": len(state.dense[name]),
            "cost": layer.cost(state.ranks[name]),
            "dense_cost": layer.dense,
            "unit": unit,
        }
        for name, layer in layers.items()
    ]
