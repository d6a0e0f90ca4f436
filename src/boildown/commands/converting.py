"""The command export: a file's model in another file, and what is said of it."""

from collections.abc import Sequence
from pathlib import Path

from boildown.commands.opening import opened
from boildown.commands.packing import output_path
from boildown.exporting import Exported, export
from boildown.exporting.file import ENDINGS, Kind
from boildown.printable import printable, say


def export_file(
    path: Path,
    to: Kind | None,
    out: Path | None,
    config: Path | None,
    allow: Sequence[str],
    shape: tuple[int, ...] | None,
) -> None:
    """Export a file's model, and tell what became whole numbers and what did not.

    Args:
        path: of a .boil file, or of a run's directory.
        to: the kind of file; None for what `out` ends in, or ONNX.
        out: the file to write; None for a new one beside the .boil file.
        config: of the run; None for config.yaml beside the file, or without one for the model that
            the file describes.
        allow: what the config may build beside what any may (`boildown.run.allowed`).
        shape: of one sample, where there is no config; None for what the file says.

    Raises:
        ValueError: with the remedy.
        OSError: if a file cannot be read or written.
    """
    file = path / "model.boil" if path.is_dir() else path
    if not file.exists():
        raise ValueError(f"{path}: there is no such run or file")
    kinds = {kind: ending for ending, kind in ENDINGS.items()}
    if out is None:
        to = to or "onnx"
    target = output_path(out or file.with_suffix(kinds[to or "onnx"]), file, named=out is not None)
    model, example = opened(file, config, allow, shape)
    try:
        made = export(model, target, example, to=to)
    except ImportError as error:
        raise ValueError(str(error)) from error
    _tell(made)


def _tell(made: Exported) -> None:
    print(f"{printable(str(made.path))}: {made.bytes:,} bytes")
    if made.integers:
        bits = sorted(set(made.integers.values()))
        print(
            f"{len(made.integers)} weights are whole numbers of {', '.join(map(str, bits))} bits, "
            f"a byte each; outputs differ by {made.difference:.1e} of the largest"
        )
    for name, why in made.left.items():
        print(f"{printable(name)}: {why}")
    if made.saturating:
        say(
            f"on CPUs with AVX2 and without VNNI, sums of {', '.join(made.saturating)} may be "
            "clipped at 16 bits: train with weights of 7 bits, or set onnxruntime's option "
            "session.x64quantprecision to 1"
        )
