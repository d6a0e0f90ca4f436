"""A run that is asked to stop saves its state, and says by its exit code that it can go on."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from boildown.callbacks.save import Stopped

RESUMABLE = 75  # exit code after SIGTERM: EX_TEMPFAIL of sysexits.h, "try again"
INTERRUPTED = 130  # exit code after Ctrl-C: 128 + SIGINT, as of a shell
GRACE = 30.0  # seconds that other processes of a run have for leaving, before they are killed


class Signals(Callback):
    """What SIGTERM and Ctrl-C do to a run.

    While it trains they are noted, for `SaveNewest` to act on; a second one, and one at any other
    time, ends the run at once: nothing that is on the disk is half.

    Attributes:
        asked: the signal that asked for an end, if one did.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._trains = False

    @property
    def code(self) -> int:
        """The exit code of a run that was stopped."""
        return INTERRUPTED if self.asked == signal.SIGINT else RESUMABLE

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Heed the signals while the block runs; the main thread alone can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        usual = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        self._install()
        try:
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note signals from here on, instead of Lightning.

        Its handler talks to the other processes in the middle of whatever these are saying, and it
        leaves without saving.
        """
        self._trains = True
        self._install()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trains = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        self._trains = False

    def _install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again = self.asked is not None
        self.asked = number
        if again or not self._trains:
            raise Stopped


@contextmanager
def stoppable(signals: Signals, directory: Path, *, leads: bool) -> Iterator[None]:
    """Let a run be stopped inside the block: it ends with one line and its exit code.

    A process that does not lead ends with 0, for Lightning kills the leading one beside a process
    that failed.

    Raises:
        SystemExit: with RESUMABLE or INTERRUPTED.
    """
    try:
        with signals.heeded():
            yield
    except (Stopped, KeyboardInterrupt) as stopped:
        if isinstance(stopped, KeyboardInterrupt):
            signals.asked = signal.SIGINT
        if leads:
            how = "goes on" if (directory / "newest.ckpt").exists() else "begins anew"
            print(f"stopped; resume=true hydra.run.dir={directory} {how}", flush=True)
        raise SystemExit(signals.code if leads else 0) from None


def end_others(trainer: Trainer) -> None:
    """See that the processes which Lightning started end, with this one about to end."""
    for process in getattr(trainer.strategy.launcher, "procs", ()):
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
