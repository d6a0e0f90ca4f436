"""What a recipe is made of: callbacks that compress, and say what a run must know of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeGuard

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from boildown.allocate.size import AskedSize
from boildown.callbacks.trained import warn_of_evaluation

HOLDING = ("act", "steer", "hold", "verify")  # what a `Constraint` has


class Technique(Callback):
    """Base of every node of a recipe; a subclass sets or overrides what is not as here.

    A technique does nothing to a training before its `begin` but what `before` says, so runs that
    are alike until then may have that part in common.

    Attributes:
        begin: progress at which it begins to act, a fraction of the budget; its phase in the ledger
            begins there, and the learning rate restarts. What acts only when the budget is spent,
            at 1, has no phase.
        end: progress from which its target holds, at least `begin`.
        peak: factor on the learning rate from `begin` on, unless `learning_rate.peaks` says more.
        afterwards: name of the phase that begins at `end`, for a technique whose work is then done;
            None: its phase goes on until the next technique's.
        size: what finds the amount, set by a run in which the file's size is asked for.
        calibration: makes an iterable of training batches, such as a `train_dataloader`; set by a
            run unless it is given.
    """

    called: ClassVar[tuple[str, ...]] = ()  # of `HOLDING`, those that something calls
    begin: float = 1.0
    end: float = 1.0
    peak: float = 1.0
    afterwards: str | None = None
    size: AskedSize | None = None
    calibration: Callable[[], Iterable[Any]] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        idle = [name for name in HOLDING if name in cls.__dict__ and name not in cls.called]
        if idle:
            raise TypeError(
                f"{cls.__name__}.{idle[0]} would never be called: only a "
                "boildown.callbacks.Constraint acts, steers, holds and verifies; derive it from "
                "that, or use Lightning's hooks"
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        listed: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if next(other for other in listed if isinstance(other, Technique)) is self:  # once a fit
            warn_of_evaluation(trainer, pl_module)

    @property
    def before(self) -> dict[str, Any]:
        """Settings that change the training before `begin`, as plain data."""
        return {}

    @property
    def amounts(self) -> dict[str, Any]:
        """The arguments that say how much it compresses, by name; None where one is not given.

        Where there are some and none is given, the asked size of the file decides (`size`).
        """
        return {}

    @property
    def is_open(self) -> bool:
        """Whether the asked size decides how much it compresses."""
        return bool(self.amounts) and all(value is None for value in self.amounts.values())

    @property
    def results(self) -> dict[str, Any]:
        """What it adds to result.json when the run is done, by key, as plain data."""
        return {}

    @property
    def held_figures(self) -> dict[str, dict[str, float]]:
        """What it holds now: figure, such as "sparsity" -> weight or layer -> value.

        Logged at each validation, so it must be known without looking at the weights.
        """
        return {}

    def suit(self, ratio: float | None) -> dict[str, Any]:
        """Choose what was left to the asked ratio and is not searched for, such as bits.

        Called before the training.

        Args:
            ratio: fp32 bytes of the parameters / bytes of the file, as asked for; None: no size is.

        Returns:
            Argument -> what was chosen for it, for the result.
        """
        return {}

    def look_at(self, network: LightningModule) -> None:
        """Find in a network what a preview must know beside the weights.

        Called before each fit of a run in which a size is asked for.
        """

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        """What the parameters would be if the technique acted on them now, and did all it will.

        Args:
            weights: name -> parameter, all that will be in the file; read only. A technique before
                this one may have put others in the place of some.
            amount: how much, from 0 (as little as it can) to 1 (all it can); larger makes a smaller
                file. None: as it was told.

        Returns:
            name -> parameter, those it leaves alone included.
        """
        return dict(weights)

    def preview_config(
        self, config: dict[str, Any], weights: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        """The model's config in the file, if its parameters were those of a preview.

        Args:
            config: of the model as it is.
            weights: what `preview` returned, named as in the model.
        """
        return config


def trained_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A parameter of a preview, trained or frozen as the one that it stands for."""
    return nn.Parameter(tensor.detach(), requires_grad=parameter.requires_grad)


def trained_matrices(weights: Mapping[str, Tensor], axes: int = 2) -> list[str]:
    """The names of the trained parameters with at least `axes` axes."""
    return [n for n, p in weights.items() if p.requires_grad and p.ndim >= axes]


def dtype_named(name: str, who: str) -> torch.dtype:
    """The float type that a file stores values in.

    Raises:
        ValueError: for another name than float32, float16 or bfloat16.
    """
    if name not in ("float32", "float16", "bfloat16"):
        raise ValueError(f"{who}.dtype must be float32, float16 or bfloat16, got {name!r}")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def is_number(value: object) -> TypeGuard[float]:
    """Whether a setting is a number, which True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
