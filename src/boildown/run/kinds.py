"""Whether the plain values in a config are of the kinds that annotations ask for.

Imports neither torch nor Lightning.
"""

import collections.abc
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ANY_LIST = (list, tuple, collections.abc.Sequence, collections.abc.Collection,
             collections.abc.Iterable)  # fmt: skip
_ANY_MAPPING = (dict, collections.abc.Mapping)
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "null",
}


def misfits(target: Any, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings of another kind than their arguments are annotated with.

    An annotation that says nothing of plain values, such as that of a class, fits everything.

    Args:
        target: class or function that the settings are the arguments of.
        settings: plain, nested in mappings and lists.

    Yields:
        Name of the setting, and what it must be, in words.
    """
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(function)
        parameters = inspect.signature(target).parameters
    except Exception:  # whatever an annotation may be
        return
    for name, value in settings.items():
        if (
            name in hints
            and name in parameters
            and value != parameters[name].default
            and not _fits(value, hints[name])
        ):
            yield name, _words(hints[name])


def _members(hint: Any) -> Sequence[Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [member for part in typing.get_args(hint) for member in _members(part)]
    return [hint]


def _fits(value: Any, hint: Any) -> bool:
    return any(_is(value, member) for member in _members(hint))


def _is(value: Any, hint: Any) -> bool:
    """Whether a value is of one kind, or the kind is none of plain values."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(value, Mapping) and "_target_" in value:
        return True  # what is built from it is not known yet
    if origin is typing.Literal:
        return value in arguments
    if hint is bool:
        return isinstance(value, bool) or (type(value) is int and value in (0, 1))
    if hint is int:
        return type(value) is int
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint in (str, type(None)):
        return isinstance(value, hint)
    if origin is collections.abc.Callable:
        return False  # nothing plain can be called
    if (origin or hint) in _ANY_MAPPING:
        return isinstance(value, Mapping) and (
            len(arguments) != 2
            or all(_fits(k, arguments[0]) and _fits(v, arguments[1]) for k, v in value.items())
        )
    if (origin or hint) in _ANY_LIST:
        if isinstance(value, str):  # which is a sequence of texts too
            return (origin or hint) in _ANY_LIST[2:] and arguments in ((), (str,))
        each = arguments[0] if len(set(arguments) - {...}) == 1 else Any
        return isinstance(value, list | tuple) and all(_fits(item, each) for item in value)
    return True


def _words(hint: Any) -> str:
    """What fits an annotation.

    >>> _words(int | float | None), _words(typing.Literal["a", "b", "c", "d"])
    ('a number or null', 'a, b, c or d')
    """
    members = _members(hint)
    words = [w for m in members if m is not int or float not in members for w in _in_words(m)]
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last


def _in_words(hint: Any) -> list[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return [str(argument) for argument in arguments]
    if origin is collections.abc.Callable:
        return ["something that a _target_ builds"]
    if (origin or hint) in _ANY_MAPPING:
        return ["a mapping"]
    if (origin or hint) in _ANY_LIST:
        kinds = {int: "whole numbers", float: "numbers", str: "texts"}
        of = kinds.get(arguments[0]) if arguments else None
        return [f"a list of {of}" if of else "a list"]
    return [_WORDS.get(hint, str(getattr(hint, "__name__", hint)))]
