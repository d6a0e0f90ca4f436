"""A progress bar that counts the budget, not epochs."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from boildown.callbacks.budget import clock_of, progress_of
from boildown.report.metric import headline


class BudgetBar(ProgressBar):
    """Share of the budget spent, the phase, the newest validation figures, and the time left.

    On a terminal it is a bar; elsewhere a line at each tenth of the budget.

    Args:
        label: of the run, where several write to one place.
    """

    def __init__(self, label: str = "") -> None:
        super().__init__()
        self.label = label
        self._console = Console()
        self._progress: Progress | None = None
        self._drawn = 0.0
        self._tenth = 0
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tenth = int(progress_of(trainer) * 10)
        if self._enabled and trainer.is_global_zero and self._console.is_terminal:
            self._progress = Progress(
                TextColumn("[bold]{task.description:>6}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f}% of {task.fields[budget]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
            )
            self._progress.start()
            self._task = self._progress.add_task("", total=1.0, budget="", figures="")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if not (self._enabled and trainer.is_global_zero):
            return
        now = time.monotonic()
        if now - self._drawn < 0.1:
            return
        self._drawn = now
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        clock = clock_of(trainer)
        progress = progress_of(trainer)
        phase = clock.phase if clock else "train"
        figures = self._figures(trainer)
        if self._progress is not None:
            budget = f"{clock.total:g} {clock.unit}" if clock else "the training"
            self._progress.update(
                self._task, completed=progress, description=phase, figures=figures, budget=budget
            )
        elif int(progress * 10) > self._tenth:
            self._tenth = int(progress * 10)
            self._console.print(
                f"{self.label} {progress:4.0%} {phase:>6}  {figures}".lstrip(), highlight=False
            )

    def _figures(self, trainer: Trainer) -> str:
        logged = trainer.callback_metrics
        shown = (f"val/{headline(logged, 'val')}", "prune/sparsity", "loss")
        return "  ".join(f"{name} {logged[name]:.4f}" for name in shown if name in logged)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._enabled and trainer.is_global_zero:
            self._draw(trainer)  # the last step may have come too soon after the one drawn
        self._close()

    def on_exception(self, *_: Any) -> None:
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
