"""The run's curve: one row at each validation, kept in the checkpoint and in metrics.csv."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from boildown.callbacks.budget import clock_of, progress_of, validates_fit
from boildown.files.csv import write_csv


class Record(Callback):
    """Collect what was logged at each validation, with what it had cost so far.

    Put it after the callbacks that log. The file is rewritten whole each time, so a resumed run's
    file holds no row twice.

    Args:
        path: of the CSV file; None keeps the rows in memory only.
        size: the bytes of the file that the network as it is would make; None: not recorded.
    """

    def __init__(
        self, path: str | Path | None = None, size: Callable[[], int] | None = None
    ) -> None:
        self.path = Path(path) if path is not None else None
        self.size = size
        self.rows: list[dict[str, Any]] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not validates_fit(trainer):
            return
        size = {} if self.size is None else {"bytes": self.size()}
        epoch = trainer.current_epoch
        row: dict[str, Any] = {"progress": progress_of(trainer), "epoch": epoch, **size}
        clock = clock_of(trainer)
        if clock is not None:
            row |= {"phase": clock.phase, "steps": clock.steps, "flops": clock.flops}
            row["seconds"] = round(clock.seconds, 3)
        logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
        row |= {name: value for name, value in logged.items() if name not in row}
        self.rows.append(row)
        self._write(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.rows:  # of the checkpoint; the file may be gone, or be ahead of it
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and self.path is not None:
            write_csv(self.path, self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]
