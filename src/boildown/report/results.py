"""Read the result.json files of runs; what is not sound is left out, with the reason."""

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boildown.files.regular import check_regular
from boildown.report.limits import LARGEST, SMALLEST, why_too_much

SCHEMA = 1
# One of these in a directory marks it as a run's.
MARKS = ("error.json", "newest.ckpt", "config.yaml", ".hydra")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a report needs of one result.json.

    Attributes:
        directory: of the run.
        place: the same, short, for people.
        name: of the run.
        seed: of the run.
        config: dotted key -> value (None, bool, number or text; a list as its JSON).
        params: parameters of the dense model.
        bytes: length of the file.
        dense: test metrics at the start of compression.
        compressed: test metrics of the file.
        met: whether the file has the size that was asked for; None if none was.
        flops: of all training.
        reused: of these, FLOPs that another run had spent.
        seconds: of training.
        budget: what limited the training, such as {"flops": 1e12}.
        by_phase: phase -> {"flops", "steps", "seconds"}, in order.
        extras: further costs (skipped_steps, wasted_flops, flops_credited) where they are given.
        curve: what each validation gave, in order: "phase", and the finite figures; each row has
            "progress".
        samples: in the test set; None where the result does not say.
        layers: what each tensor of the file takes: "name", "shape" (as text), and of "bytes",
            "nonzero", "distinct", "rank" and "numel" those that are given.
        learning_rates: the rule of the learning rate, dotted key -> value, where it is given.
        environment: versions and machine.
    """

    directory: Path
    place: str
    name: str
    seed: int
    config: Mapping[str, Any]
    params: int
    bytes: int
    dense: Mapping[str, float]
    compressed: Mapping[str, float]
    met: bool | None
    flops: float
    reused: float
    seconds: float
    budget: Mapping[str, float]
    by_phase: Mapping[str, Mapping[str, float]]
    extras: Mapping[str, float] = field(default_factory=dict)
    curve: Sequence[Mapping[str, Any]] = ()
    samples: int | None = None
    layers: Sequence[Mapping[str, Any]] = ()
    learning_rates: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Dense fp32 bytes / file bytes."""
        return 4.0 * self.params / self.bytes

    @property
    def techniques(self) -> tuple[str, ...]:
        """What compressed it, such as ("prune", "share")."""
        keys = (k.split(".") for k in self.config if k.startswith("compression."))
        return tuple(dict.fromkeys(k[1] for k in keys if len(k) == 3 and k[2] == "_target_"))

    @property
    def begin(self) -> float:
        """The progress at which compression begins; 1 for a dense run."""
        return min(self.begins.values(), default=1.0)

    @property
    def begins(self) -> dict[str, float]:
        """Technique -> the progress at which it begins, where the config says so."""
        found = {t: self.config.get(f"compression.{t}.begin") for t in self.techniques}
        return {t: float(b) for t, b in found.items() if isinstance(b, int | float)}

    def at_end(self, metric: str) -> float | None:
        """The last value of a validation metric, if it was measured at the end."""
        for row in reversed(self.curve):
            if metric in row:
                return row[metric] if row["progress"] >= 0.99 else None
        return None


@dataclass(frozen=True)
class LeftOut:
    """A directory that is no part of the report, and why."""

    place: str
    why: str


class UnsoundError(ValueError):
    """A result that cannot be used; says why."""


def collect(
    paths: Sequence[Path], tick: Callable[[int], None] = lambda done: None
) -> tuple[list[Run], list[LeftOut]]:
    """The results in directories and all below them, in the order of their paths.

    Args:
        paths: directories to search, or result.json files.
        tick: called with 1 after each result.

    Returns:
        The runs, and what was left out. A run found twice counts once.

    Raises:
        FileNotFoundError: if a path does not exist.
        NotADirectoryError: if it is a file of another kind.
    """
    directories = find(paths)
    root = _common_root(paths)
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    for directory in directories:
        place = _place(directory, root)
        try:
            runs.append(read(directory, place))
        except UnsoundError as error:
            left_out.append(LeftOut(place, str(error)))
        except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
            why = f"result.json cannot be understood: {type(error).__name__}: {_short(error)}"
            left_out.append(LeftOut(place, why))
        tick(1)
    left_out.extend(
        LeftOut(printable(str(path)), _nothing_in(path))
        for path in paths
        if path.is_dir() and not any(d.is_relative_to(path.resolve()) for d in directories)
    )
    return runs, left_out


def find(paths: Sequence[Path]) -> list[Path]:
    """The run directories in `paths` and all below them, resolved, sorted, each once.

    Raises:
        FileNotFoundError: if a path does not exist.
        NotADirectoryError: if it is a file of another kind.
    """
    found: set[Path] = set()
    for path in paths:
        if path.name == "result.json" and path.is_file():
            found.add(path.parent.resolve())
        elif not path.exists():
            raise FileNotFoundError(f"{path}: no such directory")
        elif not path.is_dir():
            raise NotADirectoryError(f"{path}: neither a directory nor a result.json")
        else:
            found |= set(_walk(path.resolve()))
    return sorted(found, key=_natural)


def _walk(top: Path) -> Iterator[Path]:
    for place, directories, files in os.walk(top):
        here = {*files, *directories}
        if "result.json" in here or not here.isdisjoint(MARKS):
            yield Path(place)
        directories[:] = [d for d in directories if not d.startswith(".") and d != "wandb"]


def _natural(path: Path) -> list[tuple[tuple[int, int, str], ...]]:
    """A sort key that puts a number 2 before a number 10."""
    return [_pieces(part) for part in path.parts]


def _pieces(text: str) -> tuple[tuple[int, int, str], ...]:
    pieces: list[str] = []
    for character in text:
        digit = character.isascii() and character.isdigit()
        if pieces and digit == (pieces[-1].isascii() and pieces[-1].isdigit()):
            pieces[-1] += character
        else:
            pieces.append(character)
    return tuple((0, int(p), p) if p.isascii() and p.isdigit() else (1, 0, p) for p in pieces)


def _common_root(paths: Sequence[Path]) -> Path:
    tops = [p.resolve().parent if p.is_file() else p.resolve() for p in paths]
    return Path(os.path.commonpath(tops))


def _place(directory: Path, root: Path) -> str:
    relative = os.path.relpath(directory, root)
    return printable(directory.name if relative == "." else relative)


def _nothing_in(path: Path) -> str:
    return "an empty directory" if not any(path.iterdir()) else "no result.json in it or below it"


def read(directory: Path, place: str) -> Run:
    """The run in a directory.

    Raises:
        UnsoundError: if there is no result, or none that can be used.
    """
    path = directory / "result.json"
    try:
        check_regular(path)
        if path.stat().st_size > _BYTES_MOST:
            raise UnsoundError(f"result.json has over {_BYTES_MOST:,} bytes, more than any run's")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UnsoundError(_unfinished(directory)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnsoundError(f"result.json cannot be read: {_short(error)}") from None
    if not text.strip():
        raise UnsoundError("result.json is empty")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnsoundError(f"result.json is broken or truncated: {_short(error)}") from None
    reason = why_too_much(data)
    if reason is not None:
        raise UnsoundError(f"result.json: {reason}")
    return parse(data, directory, place)


_BYTES_MOST = 1 << 26


def _unfinished(directory: Path) -> str:
    try:
        check_regular(directory / "error.json")
        with (directory / "error.json").open(encoding="utf-8") as file:
            error = json.loads(file.read(_BYTES_MOST))["error"]
        return f"failed: {_short(error)}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    if (directory / "newest.ckpt").exists():
        told = f"unfinished{_at(directory / 'metrics.csv')}: a checkpoint but no result.json"
        return f"{told}; it runs, or resume=true goes on with it"
    return "no result.json: stopped before its first checkpoint"


def _at(metrics: Path) -> str:
    """How far an unfinished run was at its last validation, where that can be read."""
    try:
        check_regular(metrics)
        with metrics.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file.read(_BYTES_MOST).splitlines()))
        progress = float(rows[-1]["progress"])
    except (OSError, ValueError, LookupError, TypeError, csv.Error):
        return ""
    return f" at {progress:.0%} of its budget" if 0.0 <= progress <= 1.0 else ""


def _short(error: object) -> str:
    text = " ".join(printable(" ".join(str(error).split())).split())
    return text if len(text) <= 300 else text[:299] + "…"


def _is_number(value: object) -> bool:
    """Whether a report can compare, scale and draw a figure."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value == 0 or SMALLEST <= abs(value) <= LARGEST


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value < 2**53


def _is_cost(value: object) -> bool:
    return _is_number(value) and float(value) >= 0  # type: ignore[arg-type]


_NEEDED: dict[str, Callable[[Any], bool]] = {
    "name": lambda v: isinstance(v, str),
    "seed": lambda v: type(v) is int and abs(v) < 2**64,
    "config": lambda v: isinstance(v, dict),
    "dense.params": _is_count,
    "dense.metrics": lambda v: isinstance(v, dict),
    "compressed.bytes": _is_count,
    "compressed.metrics": lambda v: isinstance(v, dict),
    "compute.flops": _is_cost,
    "compute.seconds": _is_cost,
    "compute.by_phase": lambda v: isinstance(v, dict),
}


def parse(data: Any, directory: Path, place: str) -> Run:
    """The content of a result.json as a run.

    Raises:
        UnsoundError: for another schema, missing keys or values that make no sense, named.
    """
    if not isinstance(data, dict):
        raise UnsoundError("result.json holds no object")
    if "schema" not in data:
        raise UnsoundError("result.json lacks schema")
    if type(data["schema"]) is not int or data["schema"] != SCHEMA:
        found = _short(repr(data["schema"]))
        raise UnsoundError(f"schema {found}; this version reads schema {SCHEMA}")
    missing = [key for key in _NEEDED if _get(data, key) is _ABSENT]
    if missing:
        raise UnsoundError(f"result.json lacks {', '.join(missing)}")
    for key, valid in _NEEDED.items():
        value = _get(data, key)
        if not valid(value):
            raise UnsoundError(f"result.json: {key} makes no sense: {_short(repr(value))}")
    compute = data["compute"]
    phases = {}
    for phase, costs in compute["by_phase"].items():
        if not isinstance(costs, dict) or not all(_is_cost(c) for c in costs.values()):
            raise UnsoundError(f"result.json: compute.by_phase.{_short(phase)} makes no sense")
        phases[printable(phase)] = {k: float(v) for k, v in costs.items()}
    measured = {printable(k): v for k, v in data["compressed"]["metrics"].items()}
    metrics = _numbers(measured)
    broken = [f"{_short(k)} = {_short(repr(v))}" for k, v in measured.items() if k not in metrics]
    extreme = [m for m, v in measured.items() if m not in metrics and _is_extreme(v)]
    if (broken and not metrics) or extreme:
        raise UnsoundError(
            f"compressed.metrics: {', '.join(broken[:_NAMED])}: no number to compare"
        )
    target = data.get("target")
    met = target.get("met") if isinstance(target, dict) and target.get("ratio") else None
    return Run(
        directory=directory,
        place=place,
        name=printable(data["name"]),
        seed=data["seed"],
        config=flatten(data["config"]),
        params=data["dense"]["params"],
        bytes=data["compressed"]["bytes"],
        dense=_numbers(data["dense"]["metrics"]),
        compressed=metrics,
        met=met if isinstance(met, bool) else None,
        flops=float(compute["flops"]),
        reused=float(compute["reused"]) if _is_cost(compute.get("reused")) else 0.0,
        seconds=float(compute["seconds"]),
        budget=_numbers(compute.get("budget")),
        by_phase=phases,
        extras={k: float(compute[k]) for k in EXTRAS if _is_cost(compute.get(k))},
        curve=_rows(data.get("curve")),
        samples=data["test_samples"] if _is_count(data.get("test_samples")) else None,
        layers=_layers(data.get("layers")),
        learning_rates=_rates(data.get("learning_rates")),
        environment=flatten(data.get("environment")),
    )


_NAMED = 6


def _is_extreme(value: object) -> bool:
    """Whether a value is a finite number that no measurement gives."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and not _is_number(value) and abs(value) < math.inf  # type: ignore[arg-type]


EXTRAS = ("skipped_steps", "wasted_flops", "flops_credited")
_ABSENT = object()


def _get(data: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(data, dict) or part not in data:
            return _ABSENT
        data = data[part]
    return data


def _numbers(metrics: Any) -> dict[str, float]:
    if not isinstance(metrics, dict):
        return {}
    return {printable(k): float(v) for k, v in metrics.items() if _is_number(v)}


def _rows(curve: Any) -> list[dict[str, Any]]:
    rows = []
    for row in curve if isinstance(curve, list) else []:
        numbers = _numbers(row)
        if "progress" in numbers:
            phase = row.get("phase")
            rows.append({**numbers, "phase": phase if isinstance(phase, str) else "dense"})
    return rows


def _layers(layers: Any) -> list[dict[str, Any]]:
    """The tensors that are named and counted; a tied one takes no bytes and is left out."""
    rows = []
    for layer in layers if isinstance(layers, list) else []:
        if not isinstance(layer, dict) or not isinstance(layer.get("name"), str):
            continue
        shape = layer.get("shape")
        if not isinstance(shape, list) or not all(_is_count(size) for size in shape):
            continue
        row = {k: layer.get(k) for k in _COUNTED if k == "bytes" or layer.get(k) is not None}
        if not all(_is_count(v) or v == 0 for v in row.values()):
            continue
        numel = math.prod(shape)
        if _is_count(numel) and not str(layer.get("coder", "")).startswith("tied"):
            name, sizes = printable(layer["name"]), "x".join(map(str, shape)) or "scalar"
            rows.append({"name": name, "shape": sizes, "numel": numel, **row})
    return rows


_COUNTED = ("bytes", "nonzero", "distinct", "rank")


def _rates(rates: Any) -> dict[str, Any]:
    return flatten(rates) if isinstance(rates, dict) else flatten({"all": rates} if rates else {})


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """A tree of mappings as dotted keys; lists as their JSON, texts printable.

    >>> flatten({"a": {"b": 1, "c": [1, 2]}, "d": None})
    {'a.b': 1, 'a.c': '[1, 2]', 'd': None}
    """
    flat: dict[str, Any] = {}
    if not isinstance(node, dict) or not node:
        return flat
    stack: list[tuple[str, Any]] = [(prefix, node)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict) and value:
            inner = [
                (f"{key}.{printable(k)}" if key else printable(k), v) for k, v in value.items()
            ]
            stack.extend(reversed(inner))
        elif isinstance(value, dict | list):
            flat[key] = printable(json.dumps(value))
        else:
            flat[key] = _plain(value)
    return flat


def _plain(value: Any) -> Any:
    """A value to compare, sort and show: numbers that no setting has are texts."""
    if isinstance(value, str):
        return printable(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (
        value if not number or _is_number(value) or value in (math.inf, -math.inf) else f"{value}"
    )


def printable(text: str) -> str:
    """Text of a file, which must not steer the terminal and can be encoded."""
    return text if text.isprintable() else ascii(text)[1:-1]


def without_repeats(
    runs: Iterable[Run], identity: Callable[[Run], object]
) -> tuple[list[Run], list[LeftOut]]:
    """Keep the first of runs that repeat one config and seed."""
    first: dict[object, Run] = {}
    left_out = []
    for run in runs:
        earlier = first.setdefault(identity(run), run)
        if earlier is not run:
            same = (run.bytes, run.compressed) == (earlier.bytes, earlier.compressed)
            figures = "with the same figures" if same else "but with other figures"
            why = f"repeats the config and seed of {earlier.place}, {figures}"
            left_out.append(LeftOut(run.place, why))
    return list(first.values()), left_out
