"""Train weights and activations on uniform grids: when, and keeping what lies behind the grid.

The network sees weights of the grid; the latent ones, which the optimizer moves, are kept aside and
are there for the length of a step alone. So validation, checkpoints and files see what is deployed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from boildown.allocate.widths import By, Groups
from boildown.calibrate.evidence import Evidence
from boildown.callbacks.budget import callbacks_of, clock_of
from boildown.callbacks.constraint import (
    BrokenConstraintError,
    Check,
    Constraint,
    taking_up,
)
from boildown.callbacks.evidence import evidence_of
from boildown.callbacks.held import check_apart, check_dense, tell_held, to_hold
from boildown.callbacks.input_grids import InputGrids
from boildown.callbacks.prune import Prune
from boildown.callbacks.share import ShareWeights
from boildown.callbacks.steps import Steps, relative_rate
from boildown.callbacks.technique import is_number, trained_like, trained_matrices
from boildown.callbacks.widths import Bits, check_widths, given_bits, nominal, widths_of
from boildown.lowrank.factorize import describe
from boildown.name_patterns import by_pattern, without
from boildown.prune.criteria import check_finite
from boildown.quantize.grid import (
    Granularity,
    blocks_of,
    check_granularity,
    limits,
    misfit,
)
from boildown.quantize.observers import OBSERVERS, Observer
from boildown.quantize.rate import rate_gradient
from boildown.quantize.rounding import Rounding, Ternary, Uniform
from boildown.schedule import check_window, fraction

BITS = 8
CORRECTIONS = 4  # of the bits, while a size is asked for


class Quantize(Constraint):
    """Round weights, and what layers get as inputs, to few bits, and train them so.

    From `begin` on the network sees rounded weights. The gradient goes straight through to the
    latent weights behind them and to the steps of the grids, which are learned (LSQ) by an Adam of
    their own. Grids of channels stay grids when a batch-norm is folded into its layer: the codes
    are the same, and each step is multiplied. In another fit of the same network it goes on where
    it was; another network needs a new one.

    Args:
        bits: of weights, 2 to 8 or "ternary" (zero and two learned values), for all matrices and
            kernels, or pattern -> bits for those that the patterns name. First match wins. None:
            8; with `allocation` what the asked size of the file takes.
        allocation: "trace" or "measured" (`boildown.allocate.widths`): the bits are spread, 2 to 8
            for each weight, where they do most; all together take no more bytes than `bits`.
        groups: lists of patterns of weights that get one number of bits then.
        activations: bits of the inputs of linear and convolution layers whose weights are
            quantized, 2 to 8, or pattern of their weights -> bits; None leaves them alone.
        begin: progress from which the network sees rounded weights, a fraction of the budget.
        end: progress from which they have no more than their bits; by default `begin`, with
            `rule="prox"` or `first_bits` halfway from there to the end of the budget.
        granularity: what has a step of its own: "channel", "tensor", or so many inputs, such as 64.
        rule: "round" rounds from `begin` on; "prox" draws the weights to their grid ever closer,
            and rounds them from `end` on (PARQ).
        first_bits: bits at `begin`, from which they go down one by one until `end`.
        observer: how steps start: "sigma" (LSQ+), "mse", "percentile", "minmax".
        rate: what a bit of each weight, in the mean over all, counts in the loss: above 0 the codes
            are drawn to those that take fewer bytes in the file.
        learn: whether steps are learned; if not, they stay as they started.
        step_rate: learning rate of their logarithms at a learning rate that is not scheduled down.
        calibration: makes an iterable of batches to observe activations on, such as a training
            dataloader.
        samples: how many of its samples to observe, at least 1.
        exclude: patterns of weights to leave alone.
        check: see `Constraint`.
        name: for a second `Quantize` in the same Trainer, of other weights.

    Raises:
        ValueError: for a value out of its range, naming it; in `setup` for a `Prune` that is listed
            after this callback, or a `ShareWeights`; when the fit starts for a pattern that matches
            nothing, groups that do not divide a weight's inputs, if no weight is left, or if what
            is held is of another network.

    Source: Esser et al. 2020 (LSQ), https://arxiv.org/abs/1902.08153
    """

    peak = 0.3  # the weights are tuned to their grids

    def __init__(
        self,
        *,
        bits: Bits | Mapping[str, Bits] | None = None,
        allocation: By | None = None,
        groups: Groups = (),
        activations: int | Mapping[str, int] | None = None,
        begin: float = 0.7,
        end: float | None = None,
        granularity: Granularity = "channel",
        rule: Literal["round", "prox"] = "round",
        first_bits: int | None = None,
        observer: Observer = "sigma",
        rate: float = 0.0,
        learn: bool = True,
        step_rate: float = 1e-3,
        calibration: Callable[[], Iterable[Any]] | None = None,
        samples: int = 512,
        exclude: Sequence[str] = (),
        check: Check = "stage",
        name: str = "",
    ) -> None:
        super().__init__(check, name)
        gradual = rule == "prox" or first_bits is not None
        final = end if end is not None else (begin + 1.0) / 2 if gradual else begin
        check_window("quantize", begin, final)
        check_widths(bits, activations, first_bits)
        self._widths, self.groups = widths_of(allocation, "quantize", groups), groups
        if self._widths is not None and (first_bits is not None or "ternary" in given_bits(bits)):
            raise ValueError(
                "quantize.allocation chooses whole bits from 2 to 8 once: leave out "
                "quantize.first_bits and ternary weights"
            )
        self.allocation = allocation
        check_granularity(granularity, "quantize.granularity")
        _check_choices(rule, observer, step_rate, samples, rate)
        self.bits, self.activations = bits, activations
        self.begin, self.end, self.granularity = begin, final, granularity
        self.rule, self.first_bits, self.observer = rule, first_bits, observer
        self.rate = rate
        self.learn, self.calibration, self.samples = learn, calibration, samples
        self.exclude = exclude
        self.bits_of: dict[str, Bits] = {}
        self.latents: dict[str, Tensor] = {}
        self._steps = Steps(step_rate)
        self._held: dict[str, nn.Parameter] = {}
        self._inputs = InputGrids(activations, observer, self._steps if learn else None)
        self._stage, self._slack = -1, 0.0  # bits gone so far; how far from rounded they are
        self._corrected = -1.0  # progress at which the bits were last fitted to the asked size
        self._latent_now = False  # whether the parameters are the latent weights

    @property
    def reached(self) -> bool:
        return bool(self.latents) and self._stage == self._last_stage and self._slack == 0.0

    @property
    def begun(self) -> bool:
        return bool(self.latents)

    @property
    def settings(self) -> dict[str, Any]:
        same = "begin", "end", "granularity", "rule", "first_bits", "observer", "learn"
        given = {"bits": self.bits, "activations": self.activations}
        plain = {k: dict(v) if isinstance(v, Mapping) else v for k, v in given.items()}
        own = {name: getattr(self, name) for name in [*same, "allocation", "rate"]}
        own["groups"] = [list(group) for group in self.groups]
        return own | plain | {"exclude": list(self.exclude)}

    @property
    def amounts(self) -> dict[str, Any]:
        return {"bits": self.bits} if self._widths is not None else {}

    @property
    def held_figures(self) -> dict[str, dict[str, float]]:
        if not self.latents:
            return {}
        return {"bits": {name: nominal(self._bits_now(name)) for name in self.latents}}

    @property
    def _last_stage(self) -> int:
        """How many bits the first grid has more than the last, over all weights."""
        if self.first_bits is None:
            return 0
        least = min((int(nominal(b)) for b in self.bits_of.values()), default=self.first_bits)
        return max(self.first_bits - least, 0)

    def _bits_now(self, name: str) -> Bits:
        final = self.bits_of[name]
        if self.first_bits is None or self._stage >= self._last_stage:
            return final
        now = self.first_bits - max(self._stage, 0)
        return now if now > nominal(final) else final

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        listed = callbacks_of(trainer) if stage == "fit" else []
        for place, other in enumerate(listed):
            if isinstance(other, Prune) and place > listed.index(self):
                raise ValueError(
                    "Quantize comes before Prune in the list of callbacks: weights cut after a "
                    "step would not be seen rounded; list Prune first"
                )
            if isinstance(other, ShareWeights):
                raise ValueError(
                    "Quantize and ShareWeights both say which values weights may have; give one "
                    "of them, or run them one after the other"
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        if any(isinstance(optimizer, torch.optim.LBFGS) for optimizer in trainer.optimizers):
            raise ValueError(
                "quantize: LBFGS looks at the loss several times within a step, where the network "
                "would see weights that are not rounded; give another optimizer, such as AdamW"
            )
        only = ("quantize.bits", self.bits) if isinstance(self.bits, Mapping) else None
        names, left = to_hold(trainer, pl_module, "quantize", self.exclude, only)
        tell_held("quantize", names, left)
        check_dense(pl_module, "quantize", names)
        for name in names:
            self._check_shape(name, pl_module.get_parameter(name).shape)
        if not self.latents:  # else they were chosen, or taken up, before
            self.bits_of = self._bits_of(names)
        if self._widths is not None:
            self._widths.find(names)
        self._inputs.find(pl_module, names)

    def _check_shape(self, name: str, shape: torch.Size) -> None:
        if why := misfit(shape, self.granularity):
            raise ValueError(
                f"quantize.granularity={self.granularity}: {name} has {why}; leave it out with "
                f"quantize.exclude=[{name}], or choose another"
            )

    def _bits_of(self, names: Iterable[str]) -> dict[str, Bits]:
        bits = self.bits if isinstance(self.bits, Mapping) else {"*": self.bits or BITS}
        return by_pattern(bits, names, "quantize.bits")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_apart(trainer, Quantize, "bits_of")
        if not self.latents:
            return
        with taking_up("Quantize"):
            self._take(pl_module)
            self._inputs.attach(pl_module)
            self.hold(pl_module)
            self.verify(pl_module)

    def act(self, trainer: Trainer, pl_module: LightningModule, progress: float) -> None:
        if progress < self.begin:
            return
        u = fraction(progress, self.begin, self.end)
        stage = min(int(u * (self._last_stage + 1)), self._last_stage)
        slack = 1.0 - u if self.rule == "prox" else 0.0
        corrects = self.size is not None and self._corrected < self._correction(progress)
        if self.latents and (stage, slack) == (self._stage, self._slack) and not corrects:
            return
        first, new = not self.latents, stage != self._stage
        self._stage, self._slack = stage, slack
        if first:
            self._start(trainer, pl_module)
        elif new:
            self._refit(self.latents)
        if self._widths is not None and (first or corrects):
            self._choose_bits(trainer, pl_module)
        self._corrected = self._correction(progress)
        self._round(pl_module)

    def _correction(self, progress: float) -> float:
        """The last of the times, up to now, at which the file is looked at again.

        What is trained has other codes than what was measured, so its file has another size.
        """
        width = (1.0 - self.begin) / CORRECTIONS
        if self._widths is None or self.size is None or width == 0.0:
            return self.begin
        return 1.0 if progress >= 1.0 else self.begin + int((progress - self.begin) / width) * width

    def _choose_bits(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Spread the bits over the weights, as the latent ones are."""
        assert self._widths is not None
        evidence = evidence_of(pl_module, list(self.latents), self.calibration, self.samples)
        self._widths.look_at(self.latents, self._made, evidence)
        if self.size is not None and self.is_open:
            latent = {n: trained_like(w, self._held[n]) for n, w in self.latents.items()}
            weights = {**dict(pl_module.named_parameters()), **latent}
            found = self._widths.of_amount(self.size.amount(weights))
        else:
            found = self._widths.as_many_as({n: int(nominal(b)) for n, b in self.bits_of.items()})
        found = trainer.strategy.broadcast(found)
        changed = [name for name in self.latents if found[name] != self.bits_of[name]]
        steps = {name: self._steps_for(name, found[name]) for name in changed}
        self.bits_of = dict(found)
        for name, own in steps.items():
            self._steps.set(name, own)
        self._charge(trainer, evidence)

    def _made(self, name: str, bits: int) -> Tensor:
        """A latent weight as it would be with so many bits."""
        latent = self.latents[name]
        blocks = blocks_of(latent, self.granularity)
        return self._rounding(bits).seen(blocks, self._steps_for(name, bits)).view_as(latent)

    def _steps_for(self, name: str, bits: Bits) -> Tensor:
        """The steps that a weight would have with other bits: as far from a start as they are."""
        blocks, now = blocks_of(self.latents[name], self.granularity), self._bits_now(name)
        start = self._rounding(bits).start(blocks)
        if "ternary" in (bits, now):
            return start
        return start * self._steps[name] / self._rounding(now).start(blocks)

    def _rounded_of(self, weights: Mapping[str, Tensor], name: str, bits: Bits) -> Tensor:
        """A weight on a grid that suits it."""
        blocks, rounding = blocks_of(weights[name].detach(), self.granularity), self._rounding(bits)
        return rounding.seen(blocks, rounding.start(blocks)).view_as(weights[name])

    def _charge(self, trainer: Trainer, evidence: Evidence) -> None:
        clock = clock_of(trainer)
        if clock is not None:
            clock.charge(evidence.flops * trainer.world_size)

    @torch.no_grad()
    def _start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the weights as they are for the latent ones, and observe the activations."""
        for name in self.bits_of:
            check_finite(name, pl_module.get_parameter(name))
        self.latents = {n: pl_module.get_parameter(n).detach().clone() for n in self.bits_of}
        self._take(pl_module)
        self._refit(self.latents)
        evidence = evidence_of(pl_module, [], self.calibration, self.samples)
        self._inputs.observe(trainer, pl_module, lambda: evidence.inputs)
        self._charge(trainer, evidence)

    def _take(self, pl_module: LightningModule) -> None:
        """Know the parameters that the latent weights stand behind."""
        self._held = {}
        for name, latent in self.latents.items():
            parameter = pl_module.get_parameter(name)
            if parameter.shape != latent.shape:
                raise IndexError(f"{name} has the shape {list(parameter.shape)}")
            self.latents[name] = latent.to(parameter.device)
            self._held[name] = parameter
        self._steps.to({name: parameter.device for name, parameter in self._held.items()})

    def _rounding(self, bits: Bits) -> Rounding:
        return Ternary() if bits == "ternary" else Uniform(bits, self.observer)

    def _refit(self, names: Iterable[str]) -> None:
        """Steps anew, for the bits that there are now."""
        for name in names:
            blocks = blocks_of(self.latents[name], self.granularity)
            self._steps.set(name, self._rounding(self._bits_now(name)).start(blocks))

    @torch.no_grad()
    def steer(self, pl_module: LightningModule) -> None:
        """Give the optimizer the latent weights and their gradients."""
        if not self.latents or self._latent_now:
            return
        for name, parameter in self._held.items():
            if parameter.grad is not None and self._slack == 0.0:
                blocks = blocks_of(self.latents[name], self.granularity)
                rounding = self._rounding(self._bits_now(name))
                grad, by_steps = rounding.back(
                    blocks_of(parameter.grad, self.granularity),
                    blocks,
                    blocks_of(parameter.detach(), self.granularity),
                    self._steps[name],
                )
                if self.rate and isinstance(rounding, Uniform):
                    more = self._of_rate(name, blocks, rounding)
                    grad, by_steps = grad + more[0], by_steps + more[1]
                if grad.data_ptr() != parameter.grad.data_ptr():
                    parameter.grad.copy_(grad.view_as(parameter))
                if self.learn:
                    self._steps.gradient(name, by_steps)
            parameter.copy_(self.latents[name])
        self._latent_now = True
        if self.learn:
            self._inputs.steer(pl_module)

    def _of_rate(self, name: str, blocks: Tensor, rounding: Uniform) -> tuple[Tensor, Tensor]:
        """What the bits of the codes add to the gradients of a weight and of its steps."""
        seen = blocks_of(self._held[name].detach(), self.granularity)
        ends = limits(rounding.bits)
        by_latent, by_steps = rate_gradient(blocks, seen, self._steps[name], *ends)
        share = self.rate / sum(latent.numel() for latent in self.latents.values())
        size = blocks.shape[1] * ends[1]  # as the gradients of steps are scaled
        return share * by_latent, share * by_steps / size**0.5

    @torch.no_grad()
    def hold(self, pl_module: LightningModule, stepped: Optimizer | None = None) -> None:
        if not self.latents:
            return
        if stepped is not None and self._latent_now:
            for name, parameter in self._held.items():
                self.latents[name].copy_(parameter)
            if self.learn:
                self._steps.move(relative_rate(stepped))
                self._inputs.follow()
        self._round(pl_module)

    @torch.no_grad()
    def _round(self, pl_module: LightningModule) -> None:
        """Let the network see what lies on the grids."""
        self._latent_now = False
        for name, parameter in self._held.items():
            blocks, steps = blocks_of(self.latents[name], self.granularity), self._steps[name]
            rounding = self._rounding(self._bits_now(name))
            if self._slack > 0.0:
                seen = rounding.drawn(blocks, steps, self._slack)
            else:
                seen = rounding.seen(blocks, steps)
            parameter.copy_(seen.view_as(parameter))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        if self._latent_now:  # the loss scaler skipped the step
            self._steps.forget()
            self._round(pl_module)
        super().on_train_batch_end(trainer, pl_module, *rest)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self._inputs.freeze(pl_module)

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        names = without(self.exclude, trained_matrices(weights), "quantize.exclude")
        names = [n for n in names if not misfit(weights[n].shape, self.granularity)]
        bits, made = self._bits_of(names), partial(self._rounded_of, weights)
        if self._widths is not None:
            self._widths.look_at({name: weights[name] for name in bits}, made, None)
            whole = {name: int(nominal(width)) for name, width in bits.items()}
            of = self._widths.of_amount
            bits = dict(self._widths.as_many_as(whole) if amount is None else of(amount))
        # in training by the steps that are learned
        now = made if self._widths is None else self._widths.made
        return {**weights, **{n: trained_like(now(n, b), weights[n]) for n, b in bits.items()}}

    def preview_config(
        self, config: dict[str, Any], weights: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        return describe(config, self._inputs.entries())

    def verify(self, pl_module: LightningModule) -> None:
        if self._slack > 0.0 or self._latent_now:
            return
        for name, parameter in self._held.items():
            check_finite(name, parameter)
            rounding = self._rounding(self._bits_now(name))
            blocks = blocks_of(parameter.detach(), self.granularity)
            expected = rounding.seen(
                blocks_of(self.latents[name], self.granularity), self._steps[name]
            )
            if not torch.equal(blocks, expected):
                raise BrokenConstraintError(
                    f"{name}: its values are not those of its grid of {self._bits_now(name)} bits; "
                    "something else than the optimizer writes to the parameters between steps"
                )
        self._inputs.verify(pl_module)

    def state_dict(self) -> dict[str, Any]:
        own = {"latents": self.latents, "bits_of": self.bits_of, "stage": self._stage}
        own |= {"slack": self._slack, "corrected": self._corrected}
        own |= {"inputs": self._inputs.state_dict(), "steps": self._steps.state_dict()}
        return super().state_dict() | own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.latents, self.bits_of = state_dict["latents"], state_dict["bits_of"]
        self._stage, self._slack = state_dict["stage"], state_dict["slack"]
        self._corrected = state_dict["corrected"]
        self._steps.load_state_dict(state_dict["steps"])
        self._inputs.load_state_dict(state_dict["inputs"])


def _check_choices(
    rule: object, observer: object, step_rate: object, samples: object, rate: object
) -> None:
    """Refuse what is no setting.

    Raises:
        ValueError: naming it.
    """
    if rule not in ("round", "prox"):
        raise ValueError(f"quantize.rule must be round or prox, got {rule!r}")
    if observer not in OBSERVERS:
        raise ValueError(
            f"quantize.observer must be one of {', '.join(OBSERVERS)}, got {observer!r}"
        )
    if not (is_number(step_rate) and 0.0 < step_rate < 1.0):
        raise ValueError(f"quantize.step_rate must be in (0, 1), got {step_rate!r}")
    if not (is_number(rate) and 0.0 <= rate < float("inf")):
        raise ValueError(f"quantize.rate must be a number of at least 0, got {rate!r}")
    if type(samples) is not int or samples < 1:
        raise ValueError(f"quantize.samples must be a whole number of at least 1, got {samples!r}")
