"""What a dotted path in a config or a file names, today and under the names of earlier versions.

Imports neither torch nor Lightning.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

RENAMED = {
    "boildown.gradients": "boildown.amp.flushing",
    "boildown.language": "boildown.tasks.language",
    "boildown.precision": "boildown.amp.plugins",
    "boildown.prune": "boildown.prune.criteria",
    "boildown.share": "boildown.share.kmeans",
    "boildown.sweep": "boildown.run.sweep",
    "boildown.task": "boildown.tasks.classification",
    "boildown.width": "boildown.tasks.width",
}
"""Module of an earlier version -> where its functions and classes are now.

Files and configs keep the names of the version that wrote them. An entry is never removed.
"""


def current(path: str) -> str:
    """The path that names today what `path` named when it was written.

    >>> current("boildown.task.Classification"), current("torch.optim.SGD")
    ('boildown.tasks.classification.Classification', 'torch.optim.SGD')
    """
    module, _, name = path.rpartition(".")
    return f"{RENAMED[module]}.{name}" if module in RENAMED else path


def with_current_targets(config: Any) -> Any:
    """A copy of a plain config in which each `_target_` is the current path."""
    if isinstance(config, Mapping):
        return {
            key: current(value)
            if key == "_target_" and isinstance(value, str)
            else with_current_targets(value)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [with_current_targets(item) for item in config]
    return config


def moved(package: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package that was one module, for what was in there."""

    def get(name: str) -> Any:
        home = RENAMED[package]
        if name.startswith("_"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home), name)

    return get


def locate(path: str) -> Callable[..., Any]:
    """The object at a dotted path, which may be that of an earlier version.

    Raises:
        ImportError, AttributeError, ValueError: if there is none.
    """
    module, _, name = current(path).rpartition(".")
    if not module:
        raise ValueError("not a dotted path")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if "." not in module:
            raise ImportError(f"no module {module!r}") from error
        found = getattr(locate(module), name)
    if not callable(found):
        raise ValueError("not callable")
    return found  # type: ignore[no-any-return]


def search_here() -> None:
    """Let modules of the working directory be found, after all that are installed."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
        importlib.invalidate_caches()


def within(path: str, prefixes: Iterable[str]) -> bool:
    """Whether a dotted path is one of `prefixes` or lies in one of them.

    >>> within("net.parts.Block", ["net"]), within("network.Net", ["net"]), within("net", [])
    (True, False, False)
    """
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)


def defined_in(found: object, modules: Iterable[str]) -> bool:
    """Whether something is a class or function that is defined, not imported, in one of `modules`.

    Who trusts a package trusts what its authors wrote, not `package.os.system`.
    """
    own = inspect.isclass(found) or inspect.isfunction(found)
    return own and within(str(found.__module__), modules)
