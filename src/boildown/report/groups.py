"""Which runs belong together: sections that may be compared, lines of one model, cells of seeds."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from statistics import fmean
from typing import Any

from boildown.report import words
from boildown.report.results import LeftOut, Run

FREE = ("name", "resume", "share_dense", "experiment", "logger")  # do not affect the training
# Settings under compression that say how far to compress.
TARGETS = ("ratio", "bytes", "sparsity", "keep", "bits", "rank", "ranks", "energy")
FILES = ("_target_", "root", "path", "name")  # settings under data that say which data
FIRST = ("test/error", "test/bits_per_byte")
ABSENT = "(absent)"
MANY = 24  # a plot with more lines has no legend entry for each

Items = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Cell:
    """Runs that differ by the seed alone."""

    label: str
    phrase: str
    params: int
    runs: tuple[Run, ...]

    @cached_property
    def bytes(self) -> float:
        """Mean length of the files."""
        return fmean(run.bytes for run in self.runs)

    @cached_property
    def ratio(self) -> float:
        """Dense fp32 bytes / file bytes."""
        return 4.0 * self.params / self.bytes

    @property
    def target(self) -> float | None:
        """The size that was asked for, in bytes."""
        asked = self.runs[0].config.get("compression.bytes")
        return float(asked) if isinstance(asked, int | float) and asked else None

    @property
    def bits(self) -> float:
        """The fewest bits of a weight's code that the config asks for; 32 where it does not say."""
        asked = [
            float(value)
            for key, value in self.runs[0].config.items()
            if key.startswith("compression.") and "bits" in key.split(".")
            if isinstance(value, int | float) and value > 0
        ]
        return min(asked, default=32.0)

    def values(self, metric: str) -> list[float]:
        """The files' test metric, by seed."""
        return [run.compressed[metric] for run in self.runs]

    def validation(self, metric: str) -> float | None:
        """Mean of the last validation; None where a seed lacks it."""
        values = [run.at_end(f"val/{metric.rpartition('/')[2]}") for run in self.runs]
        known = [v for v in values if v is not None]
        return fmean(known) if len(known) == len(values) else None


@dataclass(frozen=True)
class Line:
    """A model trained one way, at all its targets: a line in the plots."""

    label: str
    phrase: str
    params: int
    cells: tuple[Cell, ...]
    variant: str = ""  # what tells it from other lines of its model

    @property
    def runs(self) -> list[Run]:
        """All its runs."""
        return [run for cell in self.cells for run in cell.runs]


@dataclass(frozen=True)
class Section:
    """Runs on the same data, measured alike, with the same budget: they may stand in one plot."""

    data: str
    metric: str
    budget: str
    lines: tuple[Line, ...]
    labelled_by: str

    @property
    def runs(self) -> list[Run]:
        """All its runs."""
        return [run for line in self.lines for run in line.runs]

    @property
    def title(self) -> str:
        """What it is about."""
        measured = self.metric.replace("/", " ").replace("_", " ")
        return f"{self.data}, {measured}, budget {self.budget}"

    @property
    def samples(self) -> int | None:
        """In the test set; None where a run does not say, or they differ."""
        (count, *others) = {run.samples for run in self.runs}
        return None if others else count

    @property
    def sizes(self) -> list[int]:
        """The models' parameters, growing."""
        return sorted({line.params for line in self.lines})


def _hashable(value: Any) -> Any:
    return (type(value).__name__, value) if isinstance(value, bool) else value


def is_free(key: str) -> bool:
    """Whether a setting does not affect the training."""
    return key.partition(".")[0] in FREE


def _is_seed(key: str, value: Any, run: Run) -> bool:
    return key.rpartition(".")[2] == "seed" and value == run.seed


def _is_target(key: str) -> bool:
    parts = key.split(".")
    if parts[0] != "compression" or parts[-1].startswith("_"):
        return False
    return parts[-1] in TARGETS or not {"keep", "bits", "ranks"}.isdisjoint(parts[1:-1])


def identity(run: Run) -> object:
    """What is equal in repeats of a run: config and seed."""
    items = ((k, _hashable(v)) for k, v in run.config.items() if not is_free(k))
    return run.seed, frozenset(items)


def metric_of(runs: Sequence[Run]) -> tuple[dict[int, str], list[LeftOut]]:
    """By which metric each run of one data set is compared.

    test/error, or test/bits_per_byte, or else the first test metric that all the others have.

    Returns:
        Index of the run -> metric, and the runs without one.
    """
    chosen: dict[int, str] = {}
    for i, run in enumerate(runs):
        metric = next((m for m in FIRST if m in run.compressed), None)
        if metric is not None:
            chosen[i] = metric
    rest = [i for i in range(len(runs)) if i not in chosen]
    left_out = []
    if rest:
        named = [m for m in runs[rest[0]].compressed if m.startswith("test/")]
        common = [m for m in named if all(m in runs[i].compressed for i in rest)]
        for i in rest:
            own = [m for m in runs[i].compressed if m.startswith("test/")]
            if common or own:
                chosen[i] = (common or own)[0]
            else:
                left_out.append(LeftOut(runs[i].place, "compressed.metrics holds no test metric"))
    return chosen, left_out


def sections(runs: Sequence[Run]) -> tuple[list[Section], list[LeftOut]]:
    """Sort runs into sections, in order of data, metric and budget.

    Returns:
        The sections, and the runs that fit in none.
    """
    by_data: dict[Items, list[Run]] = defaultdict(list)
    for run in runs:
        by_data[_data_of(run)].append(run)
    parts: dict[tuple[Items, str, Items], list[Run]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for data, members in by_data.items():
        chosen, without = metric_of(members)
        left_out += without
        for i, metric in chosen.items():
            parts[data, metric, tuple(sorted(members[i].budget.items()))].append(members[i])
    names = _data_names([data for data, _, _ in parts])
    made = [
        _section(names[data], metric, budget, members)
        for (data, metric, budget), members in parts.items()
    ]
    order = {id(s): (s.data, s.metric, sorted(s.runs[0].budget.items())) for s in made}
    return sorted(made, key=lambda s: order[id(s)]), left_out


def _data_of(run: Run) -> Items:
    return tuple((k, _hashable(run.config.get(f"data.{k}"))) for k in FILES)


def _data_names(kinds: Sequence[Items]) -> dict[Items, str]:
    """A short name for each data set, longer where two would have the same."""
    names = {}
    for kind in kinds:
        target, *places = (value for _, value in kind)
        short = str(target).rpartition(".")[2] if target else "unnamed data"
        names[kind] = (short, ", ".join(str(p) for p in places if p))
    count = defaultdict(set)
    for kind, (short, _) in names.items():
        count[short].add(kind)
    told = {}
    for kind, (short, place) in names.items():
        path = dict(kind).get("path")
        if len(count[short]) > 1:
            told[kind] = f"{short} ({place or 'default place'})"
        else:
            told[kind] = f"{short} ({PurePath(str(path)).name})" if path else short
    return told


def _budget_name(budget: Items) -> str:
    if not budget:
        return "unknown"
    told = []
    for name, amount in budget:
        if name == "flops":
            told.append(f"{words.flops(amount)} FLOPs")
        else:
            told.append(f"{amount:g} {name}")
    return ", ".join(told)


def _section(data: str, metric: str, budget: Items, runs: Sequence[Run]) -> Section:
    models: dict[Items, int] = {}
    grouped: dict[tuple[Items, Items, tuple[str, ...]], dict[Items, list[Run]]] = {}
    for run in runs:
        model: list[tuple[str, Any]] = []
        other: list[tuple[str, Any]] = []
        target: list[tuple[str, Any]] = []
        for key, value in run.config.items():
            if is_free(key) or _is_seed(key, value, run) or key.startswith("budget."):
                continue
            kind = model if key.startswith("model.") else target if _is_target(key) else other
            kind.append((key, _hashable(value)))
        model.append(("params", run.params))
        models[tuple(model)] = run.params
        cells = grouped.setdefault((tuple(model), tuple(other), run.techniques), {})
        cells.setdefault(tuple(target), []).append(run)
    labels, labelled_by = _size_labels(models)
    variants = _variant_labels(list(grouped))
    lines = []
    for (model_key, other_key, techniques), cells in grouped.items():
        label, phrase = labels[model_key]
        variant = variants[model_key, other_key, techniques]
        if variant and len(models) == 1:
            label = phrase = variant
        elif variant:
            label, phrase = f"{label}, {variant}", f"{phrase} ({variant})"
        made = [
            Cell(label, phrase, models[model_key], tuple(sorted(members, key=lambda r: r.seed)))
            for members in cells.values()
        ]
        made.sort(key=lambda cell: cell.bytes)
        lines.append(Line(label, phrase, models[model_key], tuple(made), variant))
    lines.sort(key=lambda line: (line.params, line.label))
    return Section(data, metric, _budget_name(budget), tuple(lines), labelled_by)


def _size_labels(models: Mapping[Items, int]) -> tuple[dict[Items, tuple[str, str]], str]:
    """For each model a label and a phrase for sentences; and what they are named by."""
    configs = [dict(model) for model in models]
    keys = list(dict.fromkeys(key for config in configs for key in config if key != "params"))
    differing = [k for k in keys if len({c.get(k, ABSENT) for c in configs}) > 1]

    classes = [str(c.get("model._target_", "model")).rpartition(".")[2] for c in configs]

    def telling(labels: Sequence[object]) -> bool:
        return len(set(labels)) == len(configs)

    if "model.width" in differing and telling([c.get("model.width") for c in configs]):
        differing = ["model.width"]
    if len(configs) > 1 and len(differing) == 1 and differing[0] != "model._target_":
        name = differing[0].rpartition(".")[2].replace("_", " ")
        made = {}
        for model, config, own in zip(models, configs, classes, strict=True):
            value = config.get(differing[0])
            label = f"{name} {_plain(value)}"
            made[model] = (own, own) if value is None else (label, f"the model trained at {label}")
        return made, differing[0]
    if telling(classes):
        made = {m: (t, t) for m, t in zip(models, classes, strict=True)}
        return made, "model._target_"
    if telling([c["params"] for c in configs]):
        told = [f"{c['params']:,} parameters" for c in configs]
        made = {m: (t, f"the model of {t}") for m, t in zip(models, told, strict=True)}
        return made, "params"
    told = []
    for config in configs:
        parts = [f"{k.rpartition('.')[2]}={_plain(config.get(k, ABSENT))}" for k in differing]
        told.append(f"{config['params']:,} parameters, {', '.join(parts)}")
    made = {m: (t, f"the model of {t}") for m, t in zip(models, told, strict=True)}
    return made, "params"


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        value = value[1]
    return "null" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)


def _variant_labels(
    groups: Sequence[tuple[Items, Items, tuple[str, ...]]],
) -> dict[tuple[Items, Items, tuple[str, ...]], str]:
    """A label for each line of a model: the settings that differ among them, each once."""
    by_model = defaultdict(list)
    for group in groups:
        by_model[group[0]].append(group)
    recipes = {techniques for _, _, techniques in groups if techniques}
    mixed = len({techniques for _, _, techniques in groups}) > 1
    labels = {}
    for members in by_model.values():
        settings = {group: dict(group[1]) for group in members}
        shared = [key for key in _columns([*settings.values()]) if not _of_recipe(key)]
        own = {t: _columns([settings[g] for g in members if g[2] == t]) for t in recipes | {()}}
        for group in members:
            columns = [*shared, *filter(_of_recipe, own[group[2]])]
            parts = []
            if mixed and (len(recipes) > 1 or not group[2]):
                parts.append(" + ".join(group[2]) or "not compressed")
            for key in columns:
                held = settings[group].get(key, ABSENT)
                if held != ABSENT:
                    parts.append(f"{_short(key, columns)}={_plain(held)}")
            labels[group] = ", ".join(parts)
        counts: dict[str, int] = defaultdict(int)
        for group in members:
            counts[labels[group]] += 1
            if counts[labels[group]] > 1:
                labels[group] += f" ({counts[labels[group]]})"
    return labels


def _of_recipe(key: str) -> bool:
    """Whether other recipes have other values as a matter of course."""
    return key.startswith("compression.")


def _columns(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values differ, of those that always change together the shortest."""
    columns: dict[tuple[Any, ...], str] = {}
    for key in dict.fromkeys(key for own in settings for key in own):
        held = tuple(own.get(key, ABSENT) for own in settings)
        if len({v for v in held if v != ABSENT}) > 1:
            known = columns.get(held)
            if known is None or key.count(".") < known.count("."):
                columns[held] = key
    return list(columns.values())


def _short(key: str, among: Iterable[str]) -> str:
    leaf = key.rpartition(".")[2]
    return key if sum(k.rpartition(".")[2] == leaf for k in among) > 1 else leaf


@dataclass(frozen=True)
class Setting:
    """A key of the configs or environments: its values with how many runs have each."""

    key: str
    values: tuple[tuple[str, int], ...]
    also: tuple[str, ...] = ()


def differences(runs: Sequence[Run]) -> tuple[list[Setting], list[Setting]]:
    """The keys whose values differ between runs, and those whose values are equal.

    Keys that always change together with the same values are one setting under the shortest name.
    """
    tables = [
        {**r.config, **{f"environment.{k}": v for k, v in r.environment.items()}} for r in runs
    ]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    columns: dict[tuple[Any, ...], list[str]] = {}
    common = []
    for key in keys:
        column = tuple(_plain(table.get(key, ABSENT)) for table in tables)
        if len(set(column)) > 1:
            columns.setdefault(column, []).append(key)
        else:
            common.append(Setting(key, ((column[0], len(runs)),)))
    differing = []
    for column, names in columns.items():
        first = min(names, key=lambda n: n.count("."))
        counts: dict[str, int] = defaultdict(int)
        for text in column:
            counts[text] += 1
        ordered = sorted(counts.items(), key=lambda item: words.numeric(item[0]))
        also = tuple(n for n in names if n != first)
        differing.append(Setting(first, tuple(ordered), also))
    return differing, common
