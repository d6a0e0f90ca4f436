"""A trained network under study: its layers, what calibration samples show, what a change does."""

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from boildown.calibrate.batches import CalibrationError, Data, calibration_flops, collect
from boildown.calibrate.checks import DIVERGED
from boildown.calibrate.gradients import gradients, parts_of, projected, watching
from boildown.calibrate.samples import Samples, by_group, layer_of, samples_of
from boildown.calibrate.tracing import Following, follows, read_elsewhere
from boildown.forward import evaluating, run, tensors_of
from boildown.lowrank import scheme as of
from boildown.lowrank.batchnorm import fold_batchnorm
from boildown.lowrank.factorize import factorisable, factorize, refused, tied
from boildown.lowrank.fitted_layer import Dense, FittedLayer, Solution
from boildown.lowrank.gap import NONE, relative_gaps
from boildown.lowrank.scheme import Scheme
from boildown.seeds import generator

Schemes = Literal["cheapest", "default"]

FOLDS = 2  # parts of the calibration samples: solutions are judged by those they are not fitted to
KINDS = (nn.Linear, nn.Conv2d)
ALIKE = 0.3  # relative error of a kernel at which its schemes are compared


class Studied:
    """A network, its layers, and what the calibration samples show of them."""

    def __init__(
        self,
        model: nn.Module,
        calibration: Data,
        names: Iterable[str] | None,
        kinds: Schemes | Mapping[str, Scheme],
        samples: int,
        positions: int,
        seed: int,
    ) -> None:
        """Choose the layers, and look at them.

        Args:
            model: it is not touched.
            calibration: inputs.
            names: of the layers; None for all that can be factorised.
            kinds: by what; or each layer's scheme, and then none need have a rank that pays.
            samples: at most.
            positions: places per image.
            seed: of the places.

        Raises:
            CalibrationError: for data or a network that show nothing of the layers.
            ValueError: for layers that cannot be factorised.
        """
        self.parts = _parts(collect(calibration, samples))
        self.batches = [batch for part in self.parts for batch in part]
        self.positions, self.seed, self.rows = positions, seed, samples * positions
        _check_finite(model)
        after = follows(model, self.batches[0])
        chosen = _choose(model, names, after, read_elsewhere(model, self.batches[0]))
        after = {name: _foldable(model, one, after) for name, one in after.items()}
        norms = {name: after[name].batchnorm for name in chosen if name in after}
        self.model = fold_batchnorm(model, [(n, norm) for n, norm in norms.items() if norm])
        self.pass_flops = calibration_flops(self.model, self.batches)
        self.flops = 0
        self.layers = self._layers(chosen, after, kinds)
        self.work = copy.deepcopy(self.model)
        self.reference = [self.outputs(part) for part in self.parts]
        if not any(self.reference):
            raise CalibrationError(
                "the network returns no floating-point tensor to judge its layers by: return "
                "scores or logits, or lists, tuples, mappings or dataclasses of them"
            )
        self.differentiate()

    def _layers(
        self,
        chosen: Sequence[str],
        after: Mapping[str, Following],
        kinds: Schemes | Mapping[str, Scheme],
    ) -> dict[str, FittedLayer]:
        seen = self.see(self.model, chosen)
        found = {}
        for name in chosen:
            module = self.model.get_submodule(name)
            scheme = _scheme(module, kinds) if isinstance(kinds, str) else kinds[name]
            if of.break_even(module, scheme):
                found[name] = FittedLayer(module, scheme, seen[name], after[name].relu)
        if not found and isinstance(kinds, str):
            raise ValueError(
                "nothing can be factorised: the factors of any rank have no fewer parameters than "
                f"{', '.join(chosen)}"
            )
        return found

    def again(self, model: nn.Module) -> "Studied":
        """The same of another network whose layers have these names, by the same schemes."""
        schemes = self.schemes(self.layers)
        samples = self.rows // self.positions
        return Studied(
            model, self.batches, list(schemes), schemes, samples, self.positions, self.seed
        )

    def see(self, model: nn.Module, names: Iterable[str]) -> dict[str, Samples]:
        self.flops += self.pass_flops
        return samples_of(
            model, self.batches, names, rows=self.rows, positions=self.positions, seed=self.seed
        )

    def differentiate(self) -> None:
        """See how the network's outputs answer to what its layers put out, behind their ReLUs."""
        g = generator(self.seed)

        def take(name: str, _: Tensor, gradient: Tensor) -> None:
            rows_by_group = by_group(layer_of(self.work, name), gradient)
            for moments, rows in zip(self.layers[name].gradients, rows_by_group, strict=True):
                moments.update(rows)

        def say(inputs: Tensor) -> Tensor:
            return projected(run(self.work, inputs), g)

        weights = [f"{name}.weight" for name in self.layers]
        with watching(self.work, self.layers, take, behind_relu=True):
            for _ in gradients(self.work, parts_of(self.batches), weights, say):
                pass
        self.flops += 3 * self.pass_flops  # the backward pass is about two forward ones

    def set(self, solutions: Mapping[str, Solution | Dense]) -> None:
        """Make `work` compute what the network of these solutions would."""
        with torch.no_grad():
            for name, layer in self.layers.items():
                module = cast("nn.Linear", self.work.get_submodule(name))
                solution = solutions.get(name)
                own = cast("nn.Linear", layer.module)
                module.weight.copy_(own.weight if solution is None else layer.product(solution))
                if module.bias is not None:
                    bias = None if solution is None else solution.bias
                    module.bias.copy_(own.bias if bias is None else bias)

    def outputs(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """What `work` puts out."""
        with evaluating(self.work):
            found = [tensors_of(run(self.work, batch)) for batch in batches]
        return [t.double() for made in found for t in made if t.is_floating_point()]

    def change(self, name: str, solutions: Sequence[Solution | Dense]) -> float:
        """By how much one layer's solution changes the outputs, each judged by its own part.

        Logits (N, classes) by the Kullback-Leibler divergence of their classes' probabilities,
        which tells the changes that matter from those that do not; else the squared error over the
        variance.
        """
        self.flops += self.pass_flops
        before, now = [], []
        for part, reference, solution in zip(self.parts, self.reference, solutions, strict=True):
            self.set({name: solution})
            before += reference
            now += self.outputs(part)
        if len(before) == sum(map(len, self.parts)) and all(
            t.ndim == 2 and t.shape[1] > 1 for t in before
        ):
            return divergence(torch.cat(before), torch.cat(now))
        missed = spread = 0.0
        for y, z in zip(before, now, strict=True):
            missed += float((y - z).square().sum())
            spread += float((y - y.mean(0)).square().sum())
        return missed / spread if spread else missed

    def folds(self, seen: Samples) -> list[tuple[Samples, Samples]]:
        """Of each part of the samples, the rows of the others and its own; all where none are."""
        found, end = [], 0
        for part in self.parts:
            start, end = end, end + len(part)
            own = (start <= seen.batches) & (seen.batches < end)
            fit, judge = (seen.rows(x) if x.any() else seen for x in (~own, own))
            found.append((fit, judge))
        return found

    def errors(
        self, model: nn.Module, names: Iterable[str], kept: Mapping[str, Tensor] = NONE
    ) -> dict[str, float]:
        """Relative error behind each of these layers of a network, in forward order.

        Args:
            model: the other network.
            names: of the layers.
            kept: layer -> those of its outputs that the other network has; all if absent.
        """
        self.flops += 2 * self.pass_flops
        wanted = set(names)
        relus = {name: one.relu for name, one in self.layers.items() if name in wanted}
        return relative_gaps(self.model, model, self.batches, relus, kept)

    def build(self, solutions: Mapping[str, Solution]) -> nn.Module:
        built = {name: self.layers[name].build(one) for name, one in solutions.items()}
        return factorize(self.model, layers=built)

    def schemes(self, names: Iterable[str]) -> dict[str, Scheme]:
        return {name: self.layers[name].scheme for name in names}

    def parameters(self, ranks: Mapping[str, int]) -> int:
        saved = sum(self.layers[n].dense - self.layers[n].parameters(r) for n, r in ranks.items())
        return sum(p.numel() for p in self.model.parameters()) - saved


def _check_finite(model: nn.Module) -> None:
    """Refuse a network that has diverged; a buffer may be infinite, as masks are.

    Raises:
        CalibrationError: naming the tensor.
    """
    bad = [name for name, p in model.named_parameters() if not torch.isfinite(p).all()]
    bad += [name for name, buffer in model.named_buffers() if torch.isnan(buffer).any()]
    if bad:
        raise CalibrationError(f"{bad[0]} holds NaN or infinity: {DIVERGED}")


def _choose(
    model: nn.Module,
    names: Iterable[str] | None,
    after: Mapping[str, Following],
    read: Collection[str],
) -> list[str]:
    """The layers to look at, in forward order.

    Args:
        model: the network.
        names: those that are asked for; None for all.
        after: those that are reached.
        read: those whose weight is read elsewhere.

    Raises:
        ValueError: for a layer that is not there or cannot be factorised, or if none can.
    """
    able = [n for n in factorisable(model) if isinstance(model.get_submodule(n), KINDS)]
    if names is None:
        chosen = [name for name in after if name in able and name not in read]
        if not chosen:
            raise ValueError("nothing can be factorised: the model has no Linear or Conv2d in use")
        return chosen
    wanted = list(names)
    reasons, modules = refused(model), dict(model.named_modules(remove_duplicate=False))
    for name in wanted:
        if name in reasons:
            raise ValueError(f"{name}: cannot be factorised: {reasons[name]}")
        if name in modules and name not in able:
            kind = type(modules[name]).__name__
            raise ValueError(
                f"{name}: cannot be factorised: {kind} is not one of Linear and Conv2d; leave it "
                f"out of the layers, which can be {', '.join(able) or 'none'}"
            )
        if name in read:
            raise ValueError(
                f"{name}: cannot be factorised: something else than its forward pass reads its "
                "weight; call the layer instead, or leave it out of the layers"
            )
        if name not in able:
            raise ValueError(f"there is no layer {name!r}; there are {', '.join(able) or 'none'}")
    unreached = [name for name in wanted if name not in after]
    return [name for name in after if name in wanted] + unreached


def _scheme(module: nn.Module, kinds: Schemes) -> Scheme:
    """By what a layer is factorised."""
    return of.cheapest(module, ALIKE) if kinds == "cheapest" else of.schemes_for(module)[0]


def _foldable(model: nn.Module, one: Following, after: Mapping[str, Following]) -> Following:
    """What follows a layer, if its batch normalisation can be folded; else nothing does."""
    if one.batchnorm is None:
        return one
    norm = model.get_submodule(one.batchnorm)
    shared = sum(other.batchnorm == one.batchnorm for other in after.values()) > 1
    if shared or norm.running_mean is None or one.batchnorm in tied(model):
        return Following(relu=False, batchnorm=None)
    return one


def divergence(before: Tensor, now: Tensor) -> float:
    """Mean Kullback-Leibler divergence of softmax probabilities, from logits (N, classes)."""
    p, q = before.log_softmax(1), now.log_softmax(1)
    return max(0.0, float((p.exp() * (p - q)).sum(1).mean()))


def _parts(batches: Sequence[Tensor]) -> list[list[Tensor]]:
    """The samples in order in parts of about equal size, batch by batch; one part of one sample."""
    total = sum(map(len, batches))
    parts: list[list[Tensor]] = [[] for _ in range(min(FOLDS, total))]
    start = 0
    for batch in batches:
        owner = torch.arange(start, start + len(batch)) * len(parts) // total
        for k, count in enumerate(torch.bincount(owner, minlength=len(parts)).tolist()):
            first = int((owner < k).sum())
            parts[k] += [batch[first : first + count]] if count else []
        start += len(batch)
    return parts
