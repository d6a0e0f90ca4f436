"""What commands that change a run's network have in common: a run goes in, a file comes out."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from boildown.codec import dense_bytes
from boildown.commands.options import Files
from boildown.commands.packing import output_path
from boildown.loading import load
from boildown.report.before_after import BeforeAfter
from boildown.run.build import model_config
from boildown.run.reopen import TrainedRun, open_run
from boildown.saving import pack


@dataclass(frozen=True)
class Rework:
    """A run whose network is to be changed, and the file that is to hold what it becomes.

    Attributes:
        run: it.
        out: the file.
        batches: of the validation data to measure on; None for all.
        before: metrics of the network as it was.
    """

    run: TrainedRun
    out: Path
    batches: int | None
    before: dict[str, float]

    def written(self, model: nn.Module) -> BeforeAfter:
        """Write what the network has become, and measure it from that file.

        Args:
            model: the network, or one of boildown's structures of it.

        Raises:
            OSError: if the file cannot be written.
        """
        size = pack(model, self.out, config=model_config(self.run.config, self.run.data))
        after = self.run.evaluator("val", self.batches)(load(self.out, self.run.model))
        return BeforeAfter(self.before, after, dense_bytes(self.run.model.state_dict()), size)


def opened(files: Files, *, name: str, in_python: str) -> Rework:
    """Open a run, and measure its network.

    Args:
        files: where it is, and where what it becomes shall be.
        name: of the file beside the network's.
        in_python: what does the same to a network that is no run's.

    Raises:
        ValueError: for other arguments, or a network that cannot be built, with the remedy.
        OSError: if a file cannot be read.
    """
    out = files.out
    _check_config(files.path, files.config, in_python)
    if out is not None and out.suffix != ".boil":
        raise ValueError(f"-o {out}: the name must end in .boil; boildown unpack makes others")
    run = open_run(files.path, files.config, files.allow)
    out = output_path(out or run.file.parent / name, run.file, named=out is not None)
    return Rework(run, out, files.batches, run.evaluator("val", files.batches)(run.model))


def _check_config(path: Path, config: Path | None, in_python: str) -> None:
    """Refuse a file of which nothing says what network it is of.

    Raises:
        ValueError: with the remedy.
    """
    beside = path if path.is_dir() else path.parent
    if path.exists() and config is None and not (beside / "config.yaml").is_file():
        raise ValueError(
            f"{path}: no config.yaml beside it says what network it is of and what data to "
            "calibrate with; --config names a run's. For a network of your own, in Python: "
            f"{in_python}, then boildown.pack(network, path)"
        )
