"""Train weights and activations on uniform grids: when, and keeping what lies behind the grid.

The network sees weights of the grid; the latent ones, which the optimizer moves, are kept aside and
are there for the length of a step alone. So validation, checkpoints and files see what is deployed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim import Optimizer

from boildown.amp.plugins import scaler_of
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
from boildown.callbacks.prune import Prune
from boildown.callbacks.share import ShareWeights
from boildown.callbacks.steps import Steps
from boildown.callbacks.technique import is_number, trained_like, trained_matrices
from boildown.name_patterns import by_pattern, without
from boildown.prune.criteria import check_finite
from boildown.quantize.activations import (
    InputGrid,
    attach,
    grid_on,
    layers_of,
    observed,
)
from boildown.quantize.grid import (
    Granularity,
    blocks_of,
    check_bits,
    check_granularity,
    misfit,
)
from boildown.quantize.observers import OBSERVERS, Observer
from boildown.quantize.rounding import Rounding, Ternary, Uniform
from boildown.schedule import check_window, fraction

BITS = 8
Bits = int | Literal["ternary"]


class Quantize(Constraint):
    """Round weights, and what layers get as inputs, to few bits, and train them so.

    From `begin` on the network sees rounded weights. The gradient goes straight through to the
    latent weights behind them and to the steps of the grids, which are learned (LSQ) by an Adam of
    their own. Grids of channels stay grids when a batch-norm is folded into its layer: the codes
    are the same, and each step is multiplied. In another fit of the same network it goes on where
    it was; another network needs a new one.

    Args:
        bits: of weights, 2 to 8 or "ternary" (zero and two learned values), for all matrices and
            kernels, or pattern -> bits for those that the patterns name. First match wins.
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
        bits: Bits | Mapping[str, Bits] = BITS,
        activations: int | Mapping[str, int] | None = None,
        begin: float = 0.7,
        end: float | None = None,
        granularity: Granularity = "channel",
        rule: Literal["round", "prox"] = "round",
        first_bits: int | None = None,
        observer: Observer = "sigma",
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
        _check_bits(bits, activations, first_bits)
        check_granularity(granularity, "quantize.granularity")
        if rule not in ("round", "prox"):
            raise ValueError(f"quantize.rule must be round or prox, got {rule!r}")
        if observer not in OBSERVERS:
            raise ValueError(
                f"quantize.observer must be one of {', '.join(OBSERVERS)}, got {observer!r}"
            )
        if not (is_number(step_rate) and 0.0 < step_rate < 1.0):
            raise ValueError(f"quantize.step_rate must be in (0, 1), got {step_rate!r}")
        if type(samples) is not int or samples < 1:
            raise ValueError(
                f"quantize.samples must be a whole number of at least 1, got {samples!r}"
            )
        self.bits, self.activations = bits, activations
        self.begin, self.end, self.granularity = begin, final, granularity
        self.rule, self.first_bits, self.observer = rule, first_bits, observer
        self.learn, self.calibration, self.samples = learn, calibration, samples
        self.exclude = exclude
        self.bits_of: dict[str, Bits] = {}
        self.input_bits: dict[str, int] = {}  # layer -> bits
        self.latents: dict[str, Tensor] = {}
        self._steps = Steps(step_rate)
        self._held: list[tuple[str, nn.Parameter, Rounding]] = []
        self._hooks: dict[str, InputGrid] = {}
        self._stage, self._slack = -1, 0.0  # bits gone so far; how far from rounded they are
        self._latent_now = False  # whether the parameters are the latent weights

    @property
    def reached(self) -> bool:
        return bool(self.latents) and self._stage == self._last_stage and self._slack == 0.0

    @property
    def begun(self) -> bool:
        return bool(self.latents)

    @property
    def settings(self) -> dict[str, Any]:
        same = ("begin", "end", "granularity", "rule", "first_bits", "observer", "learn")
        given = {"bits": self.bits, "activations": self.activations}
        plain = {k: dict(v) if isinstance(v, Mapping) else v for k, v in given.items()}
        return {name: getattr(self, name) for name in same} | plain | {
            "exclude": list(self.exclude)
        }  # fmt: skip

    @property
    def held_figures(self) -> dict[str, dict[str, float]]:
        if not self.latents:
            return {}
        return {"bits": {name: _nominal(self._bits_now(name)) for name in self.latents}}

    @property
    def _last_stage(self) -> int:
        """How many bits the first grid has more than the last, over all weights."""
        if self.first_bits is None:
            return 0
        least = min((int(_nominal(b)) for b in self.bits_of.values()), default=self.first_bits)
        return max(self.first_bits - least, 0)

    def _bits_now(self, name: str) -> Bits:
        final = self.bits_of[name]
        if self.first_bits is None or self._stage >= self._last_stage:
            return final
        now = self.first_bits - max(self._stage, 0)
        return now if now > _nominal(final) else final

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
        self.bits_of = self._bits_of(names)
        self.input_bits = self._input_bits_of(pl_module, names)

    def _check_shape(self, name: str, shape: torch.Size) -> None:
        if why := misfit(shape, self.granularity):
            raise ValueError(
                f"quantize.granularity={self.granularity}: {name} has {why}; leave it out with "
                f"quantize.exclude=[{name}], or choose another"
            )

    def _bits_of(self, names: Iterable[str]) -> dict[str, Bits]:
        bits = self.bits if isinstance(self.bits, Mapping) else {"*": self.bits}
        return by_pattern(bits, names, "quantize.bits")

    def _input_bits_of(self, model: nn.Module, names: list[str]) -> dict[str, int]:
        if self.activations is None:
            return {}
        layers = {f"{n}.weight" if n else "weight": n for n in layers_of(model, names)}
        without_grid = [name for name in names if name not in layers]
        if without_grid:
            rank_zero_info(
                f"quantize.activations: the inputs of {', '.join(without_grid)} stay as they are: "
                "only those of linear and convolution layers have grids"
            )
        given = self.activations
        bits = by_pattern(
            given if isinstance(given, Mapping) else {"*": given}, layers, "quantize.activations"
        )
        return {layers[name]: width for name, width in bits.items()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_apart(trainer, Quantize, "bits_of")
        if not self.latents:
            return
        with taking_up("Quantize"):
            self._take(pl_module)
            for name, hook in self._hooks.items():
                self._attach(pl_module, name, hook)
            self.hold(pl_module)
            self.verify(pl_module)

    def act(self, trainer: Trainer, pl_module: LightningModule, progress: float) -> None:
        if progress < self.begin:
            return
        u = fraction(progress, self.begin, self.end)
        stage = min(int(u * (self._last_stage + 1)), self._last_stage)
        slack = 1.0 - u if self.rule == "prox" else 0.0
        if self.latents and (stage, slack) == (self._stage, self._slack):
            return
        first, new = not self.latents, stage != self._stage
        self._stage, self._slack = stage, slack
        if first:
            self._start(trainer, pl_module)
        elif new:
            self._refit(pl_module)
        self._round(pl_module)

    @torch.no_grad()
    def _start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the weights as they are for the latent ones, and observe the activations."""
        for name in self.bits_of:
            check_finite(name, pl_module.get_parameter(name))
        self.latents = {n: pl_module.get_parameter(n).detach().clone() for n in self.bits_of}
        self._take(pl_module)
        self._refit(pl_module)
        if self.input_bits:
            evidence = evidence_of(pl_module, [], self.calibration, self.samples)
            self._observe(trainer, pl_module, evidence)

    def _observe(self, trainer: Trainer, pl_module: LightningModule, evidence: Evidence) -> None:
        observer: Observer = "mse" if self.observer == "sigma" else self.observer
        grids = observed(pl_module, evidence.inputs, self.input_bits, observer)
        missing = [name for name in self.input_bits if name not in grids]
        if missing:
            raise ValueError(
                f"quantize.activations: the calibration data never reach layer {missing[0]}; leave "
                f"it out with quantize.exclude=[{missing[0]}.weight]"
            )
        found = {n: (float(g.scale), int(g.zero)) for n, g in grids.items()}
        for name, (scale, zero) in trainer.strategy.broadcast(found).items():
            step = torch.tensor(scale, requires_grad=self.learn)
            self._hooks[name] = InputGrid(step, zero, self.input_bits[name])
            self._attach(pl_module, name, self._hooks[name])
        clock = clock_of(trainer)
        if clock is not None:
            clock.charge(evidence.flops * trainer.world_size)

    def _attach(self, pl_module: LightningModule, name: str, hook: InputGrid) -> None:
        device = next(pl_module.parameters()).device
        hook.step = hook.step.detach().to(device).requires_grad_(self.learn)
        attach(pl_module.get_submodule(name), hook)

    def _take(self, pl_module: LightningModule) -> None:
        """Know the parameters that the latent weights stand behind."""
        self._held = []
        for name, latent in self.latents.items():
            parameter = pl_module.get_parameter(name)
            if parameter.shape != latent.shape:
                raise IndexError(f"{name} has the shape {list(parameter.shape)}")
            self.latents[name] = latent.to(parameter.device)
            self._held.append((name, parameter, self._rounding(name)))

    def _rounding(self, name: str) -> Rounding:
        bits = self._bits_now(name)
        return Ternary() if bits == "ternary" else Uniform(bits, self.observer)

    def _refit(self, pl_module: LightningModule) -> None:
        """Steps anew, for the bits that there are now."""
        self._take(pl_module)
        for name, _, rounding in self._held:
            blocks = blocks_of(self.latents[name], self.granularity)
            self._steps.set(name, rounding.start(blocks))

    @torch.no_grad()
    def steer(self, pl_module: LightningModule) -> None:
        """Give the optimizer the latent weights and their gradients."""
        if not self.latents or self._latent_now:
            return
        for name, parameter, rounding in self._held:
            if parameter.grad is not None and self._slack == 0.0:
                blocks = blocks_of(self.latents[name], self.granularity)
                grad, by_steps = rounding.back(
                    blocks_of(parameter.grad, self.granularity),
                    blocks,
                    blocks_of(parameter.detach(), self.granularity),
                    self._steps[name],
                )
                parameter.grad.copy_(grad.view_as(parameter))
                if self.learn:
                    self._steps.gradient(name, by_steps)
            parameter.copy_(self.latents[name])
        self._latent_now = True
        if self.learn:
            self._steps_of_inputs(pl_module)

    def _steps_of_inputs(self, pl_module: LightningModule) -> None:
        """Take the gradients that the steps of the activations have gathered."""
        scaler = scaler_of(pl_module.trainer)
        scale = 1.0 if scaler is None else scaler.get_scale()
        for name, hook in self._hooks.items():
            if hook.step.grad is None:
                continue
            grad = hook.step.grad.reshape(1, 1) / scale
            if pl_module.trainer.world_size > 1:
                grad = pl_module.trainer.strategy.reduce(grad, reduce_op="mean")
            if f"{name}>" not in self._steps:
                self._steps.set(f"{name}>", hook.step.detach().reshape(1, 1))
            self._steps.gradient(f"{name}>", grad)
            hook.step.grad = None

    @torch.no_grad()
    def hold(self, pl_module: LightningModule, stepped: Optimizer | None = None) -> None:
        if not self.latents:
            return
        if stepped is not None and self._latent_now:
            for name, parameter, _ in self._held:
                self.latents[name].copy_(parameter)
            if self.learn:
                self._steps.move(_relative_rate(stepped))
                for name, hook in self._hooks.items():
                    if f"{name}>" in self._steps:
                        hook.step.data.copy_(self._steps[f"{name}>"].reshape(()))
        self._round(pl_module)

    @torch.no_grad()
    def _round(self, pl_module: LightningModule) -> None:
        """Let the network see what lies on the grids."""
        self._latent_now = False
        for name, parameter, rounding in self._held:
            blocks, steps = blocks_of(self.latents[name], self.granularity), self._steps[name]
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
        for name, hook in self._hooks.items():  # what stays is no part of this training
            frozen = InputGrid(hook.step.detach().clone(), hook.zero, hook.bits)
            attach(pl_module.get_submodule(name), frozen)

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        names = without(self.exclude, trained_matrices(weights), "quantize.exclude")
        found = dict(weights)
        for name, bits in self._bits_of(names).items():
            if misfit(weights[name].shape, self.granularity):
                continue
            blocks = blocks_of(weights[name].detach(), self.granularity)
            rounding: Rounding = Ternary() if bits == "ternary" else Uniform(bits, self.observer)
            seen = rounding.seen(blocks, rounding.start(blocks))
            found[name] = trained_like(seen.view_as(weights[name]), weights[name])
        return found

    def verify(self, pl_module: LightningModule) -> None:
        if self._slack > 0.0 or self._latent_now:
            return
        for name, parameter, rounding in self._held:
            check_finite(name, parameter)
            blocks = blocks_of(parameter.detach(), self.granularity)
            expected = rounding.seen(
                blocks_of(self.latents[name], self.granularity), self._steps[name]
            )
            if not torch.equal(blocks, expected):
                raise BrokenConstraintError(
                    f"{name}: its values are not those of its grid of {self._bits_now(name)} bits; "
                    "something else than the optimizer writes to the parameters between steps"
                )
        for name in self._hooks:
            if grid_on(pl_module.get_submodule(name)) is None:
                raise BrokenConstraintError(
                    f"{name}: the hook that rounds its inputs was removed from the layer"
                )

    def state_dict(self) -> dict[str, Any]:
        hooks = {name: [float(h.step.detach()), h.zero, h.bits] for name, h in self._hooks.items()}
        own = {"latents": self.latents, "bits_of": self.bits_of, "inputs": hooks}
        own |= {"stage": self._stage, "slack": self._slack, "steps": self._steps.state_dict()}
        return super().state_dict() | own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.latents, self.bits_of = state_dict["latents"], state_dict["bits_of"]
        self._stage, self._slack = state_dict["stage"], state_dict["slack"]
        self._steps.load_state_dict(state_dict["steps"])
        self._hooks = {
            name: InputGrid(torch.tensor(step, requires_grad=self.learn), zero, bits)
            for name, (step, zero, bits) in state_dict["inputs"].items()
        }


def _nominal(bits: Bits) -> float:
    return 1.585 if bits == "ternary" else float(bits)


def _relative_rate(optimizer: Optimizer) -> float:
    """The learning rate, as a fraction of what it is without a schedule."""
    group = optimizer.param_groups[0]
    return float(group["lr"]) / float(group.get("initial_lr", group["lr"]) or 1.0)


def _check_bits(bits: object, activations: object, first: object) -> None:
    """Refuse widths that are none.

    Raises:
        ValueError: naming it.
    """
    for what, given in (("bits", bits), ("activations", activations)):
        if isinstance(given, Mapping) and not given:
            raise ValueError(f"quantize.{what} must name at least one tensor, got {{}}")
        several = given if isinstance(given, Mapping) else {"": given}
        for pattern, width in several.items():
            where = f"quantize.{what}" + (f"[{pattern!r}]" if pattern else "")
            if (what, width) in (("bits", "ternary"), ("activations", None)):
                continue
            check_bits(width, where)
    if first is not None:
        check_bits(first, "quantize.first_bits")
