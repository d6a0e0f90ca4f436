"""The command inspect: where the bytes of a file go, and what two files differ in."""

import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rich.cells import cell_len

from boildown import codec
from boildown.codec import FileReport, TensorReport
from boildown.model_directory import packed_file
from boildown.printable import printable, say


def inspect_files(
    file: Path,
    other: Path | None,
    base: Path | None = None,
    *,
    wide: bool,
    as_json: bool,
    runner_up: bool,
) -> None:
    """Show what each tensor of a file takes, or each layer of two files.

    Args:
        file: a .boil file, or a directory with one.
        other: to compare it with.
        base: the checkpoint, directory or .boil file that they were packed with, if they were.
        wide: whether all columns are shown, however wide the terminal is.
        as_json: whether everything is printed as data instead.
        runner_up: whether it is shown what the next smallest representation would take.

    Raises:
        ValueError: unless they are intact files, and the base the one that they need.
        OSError: if one cannot be read.
    """
    given = None
    if base is not None:  # a file alone is inspected without torch
        from boildown.base_state import load_base

        given = load_base(base)
    report = codec.inspect_file(packed_file(file), base=given, runner_up=runner_up)
    if other is None:
        if as_json:
            print(json.dumps(as_data(report), indent=2))
        else:
            _show(_columns(report), _CAPTION, wide)
        return
    second = codec.inspect_file(packed_file(other), base=given)
    layers = compared(report, second)
    if as_json:
        both = {"files": [str(file), str(other)], "a": as_data(report), "b": as_data(second)}
        print(
            json.dumps(both | {"layers": [dataclasses.asdict(layer) for layer in layers]}, indent=2)
        )
        return
    said = f"A: {printable(str(file))}\nB: {printable(str(other))}"
    _show(_layer_columns(layers, report, second), said, wide)


@dataclass(frozen=True)
class Sum:
    """What several tensors of a file take.

    Attributes:
        tensors: how many are stored; tied ones count once.
        numel: elements.
        nonzero: elements that are not 0.
        bytes: of their payloads.
        bits: of codes of fixed length, the most of any; None if none has codes.
    """

    tensors: int
    numel: int
    nonzero: int
    bytes: int
    bits: int | None

    @classmethod
    def of(cls, tensors: Iterable[TensorReport]) -> "Sum":
        """The sum over those that are stored."""
        stored = [tensor for tensor in tensors if not _is_tied(tensor)]
        return cls(
            len(stored),
            sum(tensor.numel for tensor in stored),
            sum(tensor.nonzero for tensor in stored),
            sum(tensor.bytes for tensor in stored),
            max((t.weight_bits for t in stored if t.weight_bits is not None), default=None),
        )

    @property
    def kept(self) -> str:
        """Percent of the elements that are not 0."""
        return _kept(self.nonzero, self.numel)

    @property
    def ratio(self) -> str:
        """Bytes as dense fp32 over those stored."""
        return f"{4 * self.numel / self.bytes:.1f}" if self.bytes else ""


def by_kind(report: FileReport) -> dict[str, Sum]:
    """The tensors of a file by what they are, told from shape, dtype and name.

    Returns:
        Kind -> sum, for the kinds that there are.
    """
    kinds: dict[str, list[TensorReport]] = {kind: [] for kind in KINDS}
    for tensor in report.tensors:
        if not _is_tied(tensor):
            kinds[kind_of(tensor)].append(tensor)
    return {kind: Sum.of(tensors) for kind, tensors in kinds.items() if tensors}


KINDS = ("kernels", "matrices", "biases", "scales", "statistics", "counters")


def kind_of(tensor: TensorReport) -> str:
    """One of `KINDS`."""
    name = tensor.name.rpartition(".")[2]
    if not tensor.dtype.startswith(("float", "bfloat", "complex")):
        return "counters"
    if name.startswith("running_"):
        return "statistics"
    if len(tensor.shape) > 1:
        return "kernels" if len(tensor.shape) > 2 else "matrices"
    return "biases" if name.startswith("bias") else "scales"


@dataclass(frozen=True)
class LayerPair:
    """A layer in two files; the two factors of a layer are one.

    Attributes:
        name: its dotted path.
        a: its tensors in the first file, None if it is not there.
        b: likewise in the second.
    """

    name: str
    a: Sum | None
    b: Sum | None


def compared(a: FileReport, b: FileReport) -> list[LayerPair]:
    """The layers of two files, in the order of the first; those of the second alone come last."""
    ours = _merged(_layers(a), _layers(b))
    theirs = _merged(_layers(b), _layers(a))
    return [
        LayerPair(name, *(Sum.of(side[name]) if name in side else None for side in (ours, theirs)))
        for name in dict.fromkeys([*ours, *theirs])
    ]


Layers: TypeAlias = dict[str, list[TensorReport]]


def _merged(layers: Layers, other: Layers) -> Layers:
    """The layers of a file, with the two factors of one that the other file has whole as one."""
    found: Layers = {}
    for name, tensors in layers.items():
        outer, _, last = name.rpartition(".")
        whole = last in ("v", "u") and outer in other
        found.setdefault(outer if whole else name, []).extend(tensors)
    return found


def _layers(report: FileReport) -> Layers:
    """Layer -> its tensors, without the modules that all names of the file begin with."""
    paths = [tensor.name.split(".") for tensor in report.tensors]
    common = 0
    for parts in zip(*(path[:-2] for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        common += 1
    found: Layers = {}
    for path, tensor in zip(paths, report.tensors, strict=True):
        found.setdefault(".".join(path[common:-1]) or path[-1], []).append(tensor)
    return found


def as_data(report: FileReport) -> dict[str, Any]:
    """A report as plain data."""
    return {
        "bytes": report.bytes,
        "header": report.header,
        "dense_bytes": report.dense_bytes,
        "ratio": report.dense_bytes / report.bytes,
        "kinds": {kind: dataclasses.asdict(one) for kind, one in by_kind(report).items()},
        "tensors": [dataclasses.asdict(tensor) for tensor in report.tensors],
    }


@dataclass(frozen=True)
class _Column:
    """A column of a table: cells in sections, and the last of all, the total.

    Attributes:
        title: may have several lines.
        sections: rows, then sums.
        total: the last row.
        words: whether it is of text, which stands on the left.
        dispensable: whether a narrow terminal goes without; the largest first.
    """

    title: str
    sections: Sequence[Sequence[str]]
    total: str
    words: bool = False
    dispensable: int = 0


_CAPTION = "bits: of fixed length, if any > after entropy coding; ratio: to dense fp32"


def _columns(report: FileReport) -> list[_Column]:
    tensors, kinds = report.tensors, by_kind(report)
    sums = kinds if len(kinds) > 1 else {}
    size, whole = report.bytes, Sum.of(tensors)

    def column(
        title: str,
        cell: Callable[[TensorReport], str],
        of_sum: Callable[[Sum], str] = lambda one: "",
        header: str = "",
        total: str = "",
        **options: Any,
    ) -> _Column:
        last = [*(of_sum(one) for one in sums.values()), header]
        return _Column(title, [[cell(tensor) for tensor in tensors], last], total, **options)

    def percent(count: int) -> str:
        return f"{100 * count / size:.2f}"

    name = _Column(
        "tensor",
        [[printable(t.name) for t in tensors],
         [*(f"{kind} ({one.tensors})" for kind, one in sums.items()), "(header)"]],
        "total", words=True,
    )  # fmt: skip
    return [
        name,
        column("shape", _shape, lambda s: f"{s.numel:,}", total=f"{whole.numel:,}", dispensable=3),
        column("coder", lambda t: printable(t.coder), words=True, dispensable=4),
        column("kept %", lambda t: _kept(t.nonzero, t.numel),
               lambda s: s.kept, total=whole.kept),
        column("distinct", _distinct, dispensable=5),
        column("weight\nbits", lambda t: _bits(t.weight_bits, t.weight_bits_coded), dispensable=2),
        column("position\nbits", lambda t: _bits(t.position_bits, t.position_bits_coded),
               dispensable=6),
        column("fillers", lambda t: "" if t.fillers is None else f"{t.fillers:,}", dispensable=8),
        column("bytes", lambda t: "tied" if _is_tied(t) else f"{t.bytes:,}",
               lambda s: f"{s.bytes:,}", f"{report.header:,}", f"{size:,}"),
        column("runner-up", _runner_up, words=True),
        column("file %", lambda t: percent(t.bytes), lambda s: percent(s.bytes),
               percent(report.header), "100.00", dispensable=7),
        column("ratio", lambda t: f"{4 * t.numel / t.bytes:.1f}" if t.bytes else "",
               lambda s: s.ratio, total=f"{report.dense_bytes / size:.1f}", dispensable=1),
    ]  # fmt: skip


def _distinct(tensor: TensorReport) -> str:
    return "many" if tensor.distinct is None else f"{tensor.distinct:,}"


def _runner_up(tensor: TensorReport) -> str:
    if tensor.runner_up is None:
        return ""
    return f"{tensor.runner_up} {tensor.runner_up_bytes:,}"


def _layer_columns(layers: Sequence[LayerPair], a: FileReport, b: FileReport) -> list[_Column]:
    one, other = Sum.of(a.tensors), Sum.of(b.tensors)

    def pair(
        title: str, cell: Callable[[Sum], str], header: Sequence[str], total: Sequence[str],
        dispensable: int = 0,
    ) -> list[_Column]:  # fmt: skip
        sides = ([layer.a for layer in layers], [layer.b for layer in layers])
        return [
            _Column(f"{title}\n{side}", [["-" if s is None else cell(s) for s in sums], [over]],
                    end, dispensable=dispensable)
            for side, sums, over, end in zip("AB", sides, header, total, strict=True)
        ]  # fmt: skip

    same = all(x.a and x.b and x.a.numel == x.b.numel for x in layers)
    entries = pair("entries", lambda s: f"{s.numel:,}", ["", ""],
                   [f"{one.numel:,}", f"{other.numel:,}"], 3)  # fmt: skip
    return [
        _Column("layer", [[printable(x.name) for x in layers], ["(header)"]], "total", words=True),
        *([] if same else entries),
        *pair("kept %", lambda s: s.kept, ["", ""], [one.kept, other.kept], 1),
        *pair("weight bits", lambda s: "" if s.bits is None else str(s.bits), ["", ""], ["", ""],
              2),
        *pair("bytes", lambda s: f"{s.bytes:,}", [f"{a.header:,}", f"{b.header:,}"],
              [f"{a.bytes:,}", f"{b.bytes:,}"]),
        _Column("B / A", [[_times(x) for x in layers], [f"{b.header / a.header:.2f}"]],
                f"{b.bytes / a.bytes:.2f}"),
    ]  # fmt: skip


def _times(layer: LayerPair) -> str:
    if layer.a is None or layer.b is None or not layer.a.bytes:
        return ""
    return f"{layer.b.bytes / layer.a.bytes:.2f}"


def _show(columns: list[_Column], caption: str, wide: bool) -> None:
    """Print as many columns as there is room for; no cell is folded."""
    columns = [column for column in columns if any(_cells(column)[len(_titles(column)) :])]
    room = math.inf if wide else shutil.get_terminal_size().columns
    left_out: list[str] = []
    while _width(columns) > room and any(column.dispensable for column in columns):
        worst = max(column.dispensable for column in columns)
        left_out += [" ".join(_titles(c)) for c in columns if c.dispensable == worst]
        columns = [column for column in columns if column.dispensable != worst]
    if sys.stdout.isatty():
        columns = _shortened(columns, room)
    print("\n".join([*_lines(columns), caption]))
    if left_out:
        say(f"no room for {', '.join(left_out)}; --wide and --json say all")


def _shortened(columns: list[_Column], room: float) -> list[_Column]:
    """Names without their beginnings, where a terminal would fold the lines."""
    over = _width(columns) - room
    if over <= 0:
        return columns
    most = max(_longest(columns[0]) - int(over), _LEAST_NAME)
    cut = [
        [cell if len(cell) <= most else f"\u2026{cell[1 - most :]}" for cell in section]
        for section in columns[0].sections
    ]
    return [dataclasses.replace(columns[0], sections=cut), *columns[1:]]


_LEAST_NAME = 12  # letters


def _lines(columns: Sequence[_Column]) -> list[str]:
    """The table, a string for each line."""
    high = max(len(_titles(column)) for column in columns)
    titles = [["", *_titles(column)][-high:] for column in columns]
    widths = [_longest(column) for column in columns]
    rule = "-" * _width(columns)

    def line(cells: Iterable[str]) -> str:
        padded = []
        for column, width, cell in zip(columns, widths, cells, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(cell + space if column.words else space + cell)
        return _GAP.join(padded).rstrip()

    lines = [line(row) for row in zip(*titles, strict=True)]
    for rows in zip(*(column.sections for column in columns), strict=True):
        lines += [rule, *(line(row) for row in zip(*rows, strict=True))]
    return [*lines, rule, line(column.total for column in columns)]


_GAP = "  "


def _titles(column: _Column) -> list[str]:
    return column.title.split("\n")


def _cells(column: _Column) -> list[str]:
    return [*_titles(column), *(c for s in column.sections for c in s), column.total]


def _longest(column: _Column) -> int:
    return max(cell_len(cell) for cell in _cells(column))


def _width(columns: Sequence[_Column]) -> int:
    """Letters of a line of the table."""
    return sum(map(_longest, columns)) + len(_GAP) * (len(columns) - 1)


def _kept(nonzero: int, numel: int) -> str:
    return f"{100 * nonzero / numel if numel else 100.0:.2f}"


def _is_tied(tensor: TensorReport) -> bool:
    return tensor.coder.startswith("tied")


def _shape(tensor: TensorReport) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _bits(fixed: int | None, coded: float | None) -> str:
    if coded is None:
        return ""
    return f"{coded:.2f}" if fixed is None else f"{fixed} > {coded:.2f}"
