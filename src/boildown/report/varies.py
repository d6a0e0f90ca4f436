"""What varies between the runs of a section, in the user's own settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from boildown.report import words
from boildown.report.groups import Setting, differences, is_free
from boildown.report.results import Run

RECIPE = "recipe"
_SHOWN = 8  # settings in a sentence, and values of each


def varying(runs: Sequence[Run]) -> list[Setting]:
    """The settings that tell the runs apart, without those that follow from others.

    A setting that is the same wherever the ones before it are, such as the bits that a run chose
    for its ratio, adds nothing and is left out. Short keys come first, for they are a user's.
    """
    told: list[Setting] = []
    held: list[tuple[str, ...]] = [() for _ in runs]
    recipes = [" + ".join(run.techniques) or "not compressed" for run in runs]
    if len(set(recipes)) > 1:
        told.append(_setting(RECIPE, recipes))
        held = [(recipe,) for recipe in recipes]
    differing = [s for s in differences(runs)[0] if not _is_aside(s.key)]
    for setting in sorted(differing, key=lambda s: s.key.count(".")):
        values = [str(run.config.get(setting.key, "(absent)")) for run in runs]
        if _follows(values, held):
            continue
        told.append(_setting(setting.key, values))
        held = [(*before, value) for before, value in zip(held, values, strict=True)]
    return told


def _is_aside(key: str) -> bool:
    return is_free(key) or key.startswith("environment.")


def _follows(values: Sequence[str], held: Sequence[tuple[str, ...]]) -> bool:
    """Whether what is held already tells each value."""
    return len(set(zip(values, held, strict=True))) == len(set(held))


def _setting(key: str, values: Sequence[str]) -> Setting:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return Setting(key, tuple(sorted(counts.items(), key=lambda item: words.numeric(item[0]))))


def varying_sentence(settings: Sequence[Setting]) -> str:
    """What varies, in words.

    >>> varying_sentence([Setting("compression.ratio", (("10", 3), ("20", 3)))])
    'The runs differ in compression.ratio (10 and 20); all else that was set is the same.'
    """
    if not settings:
        return "The runs do not differ in anything that was set."
    told = [f"{s.key} ({_values([value for value, _ in s.values])})" for s in settings[:_SHOWN]]
    if len(settings) > _SHOWN:
        return f"The runs differ in {', '.join(told)} and {len(settings) - _SHOWN} more settings."
    return f"The runs differ in {words.listing(told)}; all else that was set is the same."


def _values(values: Sequence[str]) -> str:
    shown = [words.shorten(value, 40) for value in values]
    if len(shown) > _SHOWN:
        return f"{shown[0]} to {shown[-1]}, {len(shown)} values"
    return words.listing(shown)


def settings_of(runs: Sequence[Run], most: int) -> list[tuple[str, Mapping[int, Any]]]:
    """Settings that differ, each with the place of every run's value among its own.

    Args:
        runs: in the order of their numbers.
        most: how many settings.

    Returns:
        (key, {"values": [...], "of": [...]}) pairs, the shortest keys first.
    """
    differing = [s for s in differences(runs)[0] if not is_free(s.key)]
    made: list[tuple[str, Any]] = []
    for setting in sorted(differing, key=lambda s: s.key.count("."))[:most]:
        values = [_value(run, setting.key) for run in runs]
        known = {value: i for i, value in enumerate(dict.fromkeys(values))}
        made.append((setting.key, {"values": list(known), "of": [known[v] for v in values]}))
    return made


def _value(run: Run, key: str) -> str:
    if key.startswith("environment."):
        value = run.environment.get(key.removeprefix("environment."), "(absent)")
    else:
        value = run.config.get(key, "(absent)")
    return "null" if value is None else words.shorten(str(value), 60)
