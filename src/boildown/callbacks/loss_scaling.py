"""The loss scale under fp16: set it, watch it, say which layers overflow or vanish."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from boildown.amp.flushing import PROBE_SEED, Fraction, flushed, order_one, overflowed
from boildown.amp.plugins import check_optimizers, found_overflow, precision_of, scaler_of

COLLAPSED = 1.0  # a scale below it makes gradients smaller, not larger
FALLING = 10  # skipped steps in a row that are worth a warning
VANISHED = 0.9  # fraction of a layer's gradient entries flushed to zero that is worth a warning


class LossScaling(Callback):
    """Set the trainer's loss scaler, log what it does, and end a run that it cannot save.

    fp16 flushes gradients below 2^-25 to zero. The loss is multiplied by a scale before the
    backward pass and the gradients divided by it after; when one of them overflows, the step is
    skipped and the scale multiplied by `backoff_factor`; after `growth_interval` steps without, by
    `growth_factor`. The scale is in the checkpoint, and a resumed run goes on with it.

    Needs a trainer with a loss scaler: `Trainer(plugins=[boildown.amp.plugins.fp16()])`. Put it
    before `Prune` and `ShareWeights`. Logged at each validation:

    - `amp/scale`: now.
    - `amp/skipped_steps`: since the training began.
    - `amp/overflow/LAYER`: the fraction of infinite and NaN entries in the gradients of a layer's
      matrices and kernels, over all steps tried since the last validation. Layers below the one
      that overflowed are infinite too, for the gradient passes through them later.
    - `amp/underflow/LAYER`: the fraction of the entries of the gradient with respect to a layer's
      output that are zero in fp16 and would not be in exact arithmetic, in the steps probed since
      the last validation. On each `every`-th step the backward pass runs once more beforehand, on
      the same graph, its magnitudes set to order one at every layer, where nothing overflows or is
      flushed; an entry that is zero even so (behind a dead ReLU, at a token without a loss) has no
      path to the loss and does not count. It says how many entries are lost, not how much they
      would have mattered. Layers whose forward is never called, such as the projection inside
      torch's MultiheadAttention, are not probed.

    Args:
        initial_scale: positive and finite.
        growth_factor: above 1.
        backoff_factor: in (0, 1).
        growth_interval: steps, at least 1.
        every: steps between probes, or 0 for none; a probe costs about one backward pass without
            the gradients of weights, which is charged to no budget.
        patience: steps in a row that may be skipped at a scale of 1 or less before the run ends
            with an error, at least 1.

    Raises:
        ValueError: for a value out of its range, naming it; in `setup` if there is no loss scaler.
        RuntimeError: in training, when no step gets made any more.

    Source: Micikevicius et al. 2018, section 3.2, https://arxiv.org/abs/1710.03740
    """

    def __init__(
        self,
        *,
        initial_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        every: int = 50,
        patience: int = 50,
    ) -> None:
        for name, value, valid, holds in (
            ("initial_scale", initial_scale, "positive and finite", 0 < initial_scale < 2.0**127),
            ("growth_factor", growth_factor, "above 1", 1 < growth_factor < 2.0**127),
            ("backoff_factor", backoff_factor, "in (0, 1)", 0 < backoff_factor < 1),
            ("growth_interval", growth_interval, "at least 1", growth_interval >= 1),
            ("every", every, "at least 0", every >= 0),
            ("patience", patience, "at least 1", patience >= 1),
        ):
            if not holds:
                raise ValueError(f"loss_scaling.{name} must be {valid}, got {value}")
        self.settings = {
            "scale": float(initial_scale),
            "growth_factor": float(growth_factor),
            "backoff_factor": float(backoff_factor),
            "growth_interval": int(growth_interval),
            "_growth_tracker": 0,
        }
        self.every, self.patience = every, patience
        self.scale = float(initial_scale)
        self.tried = self.made = 0
        self.overflow: dict[str, Fraction] = {}
        self.underflow: dict[str, Fraction] = {}
        self._logged: dict[str, float] = {}
        self._in_a_row = self._at_one = 0
        self._warned: set[str] = set()
        self._before = (0, 0)  # tried and made before this batch
        self._probed_at = -1
        self._layers: dict[str, nn.Module] = {}
        self._matrices: dict[str, list[nn.Parameter]] = {}
        self._handles: list[RemovableHandle] = []
        self._edges: list[GradientEdge] = []
        self._alive: dict[int, Tensor] = {}
        self._probing = False

    @property
    def skipped(self) -> int:
        """Steps that were skipped since the training began."""
        return self.tried - self.made

    # Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        scaler = scaler_of(trainer)
        if scaler is None:
            raise ValueError(
                f"LossScaling: the trainer has no loss scaler (precision {precision_of(trainer)}); "
                "give Trainer(plugins=[boildown.amp.plugins.fp16()]), or trainer=amp"
            )
        scaler.load_state_dict(dict(self.settings))  # the checkpoint's, if any, follows

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_optimizers(trainer)
        for optimizer in trainer.optimizers[:1]:
            optimizer.register_step_post_hook(self._on_real_step)
        for name, module in pl_module.named_modules():
            own = [p for p in module.parameters(recurse=False) if p.requires_grad and p.ndim > 1]
            if own:
                self._layers[name], self._matrices[name] = module, own

    def _on_real_step(self, *_: Any) -> None:
        self.made += 1

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._before = (self.tried, self.made)
        if self.every and self.tried % self.every == 0 and self.tried != self._probed_at:
            self._probed_at = self.tried
            self._handles = [
                module.register_forward_hook(self._watch(name))
                for name, module in self._layers.items()
            ]

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        if self._handles:
            self._release()
            if self._edges and bool(torch.isfinite(loss)):
                self._probe(loss, scaler_of(trainer))
            self._edges = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if optimizer is not trainer.optimizers[0]:
            return
        self.tried += 1
        scaler = scaler_of(trainer)
        bad = scaler is not None and found_overflow(scaler, optimizer)
        for name, matrices in self._matrices.items():
            lost = sum(overflowed(p.grad) for p in matrices if p.grad is not None) if bad else 0
            fraction = self.overflow.setdefault(name, Fraction())
            fraction.add(lost, sum(p.numel() for p in matrices))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._release()
        self._edges, self._alive = [], {}
        before = self.scale
        scaler = scaler_of(trainer)
        assert scaler is not None
        self.scale = scaler.get_scale()
        tried, made = self._before
        if self.made > made:
            self._in_a_row = self._at_one = 0
        elif self.tried > tried:
            self._in_a_row += 1
            self._at_one += before <= COLLAPSED
            self._look_at_scale()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        for kind, fractions in (("overflow", self.overflow), ("underflow", self.underflow)):
            for name in self._layers:
                if name in fractions and fractions[name].whole:
                    self._logged[f"amp/{kind}/{name}"] = fractions[name].value
            fractions.clear()
        figures = {"amp/scale": self.scale, "amp/skipped_steps": float(self.skipped)}
        pl_module.log_dict(figures | self._logged)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.skipped and not self.made:
            raise RuntimeError(
                f"all {self.skipped} optimizer steps were skipped, so nothing was trained; the "
                f"loss scale came down to {self.scale:g}: lower loss_scaling.initial_scale, or, if "
                "the loss is infinite or NaN in fp32 too, mend the data or the learning rate"
            )

    def on_exception(self, *_: Any) -> None:
        self._release()

    # what they do

    def _look_at_scale(self) -> None:
        if self._at_one >= self.patience:
            raise RuntimeError(
                f"the last {self._in_a_row} optimizer steps were all skipped, though the loss "
                f"scale has come down to {self.scale:g}: the loss or a gradient is infinite or NaN "
                "at any scale; mend the data, lower task.optimizer.lr, or train with trainer=bf16 "
                "or trainer=default"
            )
        if self.scale < COLLAPSED:
            self._warn(
                "scale",
                f"the loss scale has fallen to {self.scale:g}, below which fp16 loses more than "
                "it gains; lower task.optimizer.lr, clip gradients (trainer.gradient_clip_val), or "
                "use trainer=bf16, whose range needs no scale",
            )
        elif self._in_a_row >= FALLING:
            self._warn(
                "falling",
                f"{self._in_a_row} steps in a row were skipped, and the loss scale is down to "
                f"{self.scale:g}; if that happens at the beginning only, a lower "
                "loss_scaling.initial_scale saves these steps, else lower task.optimizer.lr",
            )

    def _warn(self, what: str, message: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            rank_zero_warn(message)

    def _watch(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        """A forward hook that listens to the gradient of each output of a layer."""

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not (isinstance(output, Tensor) and output.requires_grad):
                return
            key = len(self._edges)
            self._edges.append(get_gradient_edge(output))  # of now: a later op may work in place

            def listen(gradient: Tensor) -> Tensor | None:
                if self._probing:
                    self._alive[key] = gradient != 0
                    return order_one(gradient)
                if key in self._alive:
                    fraction = self.underflow.setdefault(name, Fraction())
                    fraction.add(*flushed(gradient, self._alive.pop(key)))
                    self._look_at_layer(name, fraction.value)
                return None

            output.register_hook(listen)

        return hook

    def _look_at_layer(self, name: str, fraction: float) -> None:
        if fraction > VANISHED:
            self._warn(
                "vanishing",
                f"{fraction:.0%} of the gradient at the output of {name} is flushed to zero at "
                f"loss scale {self.scale:g}; raise loss_scaling.initial_scale, lower "
                "loss_scaling.growth_interval so that it grows sooner, or use trainer=bf16",
            )

    def _probe(self, loss: Tensor, scaler: torch.amp.GradScaler | None) -> None:
        """Find where the gradient is zero for want of a path, before the real backward pass."""
        scale = scaler.get_scale() if scaler is not None else 1.0
        seed = torch.full_like(loss, PROBE_SEED / scale)
        self._probing = True
        try:
            torch.autograd.grad(
                loss, self._edges, grad_outputs=seed, retain_graph=True, allow_unused=True
            )
        except RuntimeError as error:
            self._alive, self.every = {}, 0
            self._warn("probe", f"underflow is not measured: no second backward pass ({error})")
        finally:
            self._probing = False

    def _release(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def state_dict(self) -> dict[str, Any]:
        fractions = {
            kind: {n: [s.part, s.whole] for n, s in getattr(self, kind).items()}
            for kind in ("overflow", "underflow")
        }
        names = ("scale", "tried", "made", "_logged", "_in_a_row", "_at_one", "_probed_at")
        return fractions | {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)
        for kind in ("overflow", "underflow"):
            fractions = {name: Fraction(*counts) for name, counts in state_dict[kind].items()}
            setattr(self, kind, fractions)
