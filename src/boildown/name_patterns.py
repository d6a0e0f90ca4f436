"""Which tensors a setting is meant for: shell patterns over parameter names. Pure, no torch."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

T = TypeVar("T")


def matches(pattern: str, name: str) -> bool:
    """Whether `pattern` means the tensor `name`.

    A pattern is a shell pattern for the tensor's dotted name or for its module's, from any dot on:
    `fc1`, `fc1.weight`, `net.fc1` and `*.fc?.weight` all mean `model.net.fc1.weight`; `fc1` means
    `fc1.weight` and `fc1.bias` both.

    >>> [matches(p, "model.fc1.weight") for p in ("fc1", "fc?.weight", "weight", "fc", "*")]
    [True, True, True, False, True]
    """
    parts = name.split(".")
    ends = (len(parts), len(parts) - 1)
    return any(
        fnmatchcase(".".join(parts[start:end]), pattern) for end in ends for start in range(end)
    )


def by_pattern(settings: Mapping[str, T], names: Iterable[str], what: str) -> dict[str, T]:
    """Each name's setting, from the first pattern that matches it; unmatched names are left out.

    Args:
        settings: pattern -> value, in order of precedence.
        names: the tensors there are.
        what: the setting's own name, for errors.

    Raises:
        ValueError: if a pattern matches nothing, naming it and the names there are.
    """
    names = list(names)
    check_patterns(settings, names, what)
    found = {}
    for name in names:
        for pattern, value in settings.items():
            if matches(pattern, name):
                found[name] = value
                break
    return found


def without(excluded: Sequence[str], names: Iterable[str], what: str) -> list[str]:
    """The names that no pattern of `excluded`, or the one pattern that it is, matches.

    Raises:
        ValueError: if a pattern matches nothing, naming it and the names there are.

    >>> without("fc1", ["fc1.weight", "fc2.weight"], "exclude")
    ['fc2.weight']
    """
    names = list(names)
    excluded = [excluded] if isinstance(excluded, str) else excluded
    check_patterns(excluded, names, what)
    return [name for name in names if not any(matches(pattern, name) for pattern in excluded)]


def check_patterns(patterns: Iterable[str], names: Sequence[str], what: str) -> None:
    """Refuse patterns that match nothing.

    Raises:
        ValueError: naming the pattern and the names there are.
    """
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            raise ValueError(
                f"{what}: the pattern {pattern!r} matches no tensor; there are {', '.join(names)}"
            )
