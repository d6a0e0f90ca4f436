"""What a config that somebody else may have written may build.

A `_target_` is called with the arguments of its node, so a config can run whatever there is. One's
own command line may name anything; a config read from a file may not.
"""

import ast
import importlib.util
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from boildown.locate import current, defined_in, locate, search_here, within
from boildown.run.errors import ConfigError

ROOMS = ("boildown.data", "boildown.models", "boildown.tasks")
LIBRARIES = (  # whose classes neither fetch, read nor run what their arguments name
    "torch.nn",
    "torch.optim",
    "torchmetrics.aggregation",
    "torchmetrics.classification",
    "torchmetrics.collections",
    "torchmetrics.regression",
)
BUILT = ("data", "model", "task")  # the parts of a config that are built from a file
OWN = ("data", "model")  # which may be from a module in the working directory
_PATH = re.compile(r"[^\W\d_]\w*(\.[^\W\d_]\w*)+")  # no part of which is private


def check_allowed(
    cfg: DictConfig, allow: Sequence[str] = (), directory: Path | None = None
) -> None:
    """Refuse a config from a file that names what may not be built.

    Allowed are classes of boildown's data, models and tasks, and its functions that make models;
    networks and optimizers of torch, and metrics of torchmetrics that need no file; what `allow`
    names; and a model or data from a module in the working directory, which is said on stderr.

    Args:
        cfg: with `data`, `model` and `task`, which are all that may be built of it; resolved.
        allow: what the caller trusts: a class or function by its dotted path, or a module or
            package and with it the classes and functions that are defined in it, but not what it
            has imported from elsewhere.
        directory: that the config came in. Modules in there came with it and are not one's own.

    Raises:
        ConfigError: naming the place, the target and the remedy. Nothing that is not allowed has
            been called, and no module but boildown's and torch's and those in `allow` has been
            imported.
    """
    own = directory is None or directory.resolve() != Path.cwd().resolve()
    for part in BUILT:
        node = _plain(cfg, part)
        for place, target in _targets(node, part):
            if _is_trusted(target, allow) or _is_known(target):
                continue
            if own and place == f"{part}._target_" and part in OWN and _is_here(target, part):
                continue
            raise ConfigError(
                f"{place}: {target} is not among what a config from a file may build; if you "
                f"trust it, allow it by its name (--allow {target})"
            )


def targets_of(cfg: DictConfig) -> list[str]:
    """The dotted paths that a config would build for a proof."""
    nodes = ((part, OmegaConf.to_container(cfg[part], resolve=True)) for part in BUILT)
    return list(dict.fromkeys(target for part, node in nodes for _, target in _targets(node, part)))


def _plain(cfg: DictConfig, part: str) -> dict[Any, Any]:
    """A part of a config as it is written, in which nothing is left to be resolved.

    What is resolved later could still become a `_target_`, as `${oc.create:...}` does.
    """
    plain = OmegaConf.to_container(cfg, resolve=False)
    plain = plain.get(part) if isinstance(plain, dict) else None
    if not isinstance(plain, dict) or not isinstance(plain.get("_target_"), str):
        raise ConfigError(f"{part}: needs a _target_, the dotted path of what to build")
    for place, text in _texts(plain, part):
        if "${" in text:
            raise ConfigError(f"{place}: a config from a file must be resolved, got {text!r}")
    return plain


def _texts(node: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield place, node
    items = node.items() if isinstance(node, dict) else ()
    for key, value in items if not isinstance(node, list) else enumerate(node):
        yield from _texts(value, f"{place}.{key}")


def _targets(node: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield f"{place}._target_", current(str(node["_target_"]))
        for key, value in node.items():
            yield from _targets(value, f"{place}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _targets(value, f"{place}[{i}]")


def _is_trusted(target: str, allow: Sequence[str]) -> bool:
    """Whether the caller named it, or a module that defines it."""
    if target in allow:
        search_here()
        return True
    modules = [name for name in allow if within(target, [name])]
    if not modules or not _PATH.fullmatch(target):
        return False
    search_here()
    return defined_in(_located(target), modules)


def _is_known(target: str) -> bool:
    """Whether a target is one of the kinds that a model is made of and trained by."""
    from torch import nn, optim

    module = target.rpartition(".")[0]
    if not _PATH.fullmatch(target):
        return False
    if not (module == "torchmetrics" or within(module, (*ROOMS, *LIBRARIES))):
        return False
    found = _located(target)
    home = getattr(found, "__module__", None) or ""
    if within(home, ROOMS):
        makes_models = home.startswith("boildown.models.") and inspect.isfunction(found)
        return inspect.isclass(found) or makes_models
    return (
        within(home, LIBRARIES)
        and inspect.isclass(found)
        and issubclass(found, nn.Module | optim.Optimizer)
    )


def _is_here(target: str, part: str) -> bool:
    """Whether a target is a model or data of a module in the working directory.

    The module is imported once its text defines the target and nothing installed shadows it.
    """
    here = Path.cwd().resolve()
    *modules, name = target.split(".")
    if not _PATH.fullmatch(target) or modules[0] in sys.stdlib_module_names:
        return False
    file = here.joinpath(*modules)
    if not any(_defines(f, name) for f in (file.with_suffix(".py"), file / "__init__.py")):
        return False
    search_here()
    try:
        spec = importlib.util.find_spec(modules[0])
    except ValueError:  # of a module that was loaded otherwise
        return False
    top = (here / f"{modules[0]}.py", here / modules[0] / "__init__.py")
    origin = Path(spec.origin or "") if spec is not None else Path()
    if not (origin.is_file() and any(f.is_file() and f.samefile(origin) for f in top)):
        return False
    print(f"{part}: {target}, from {here}", file=sys.stderr)
    found = _located(target)
    if found is None or str(found.__module__).partition(".")[0] != modules[0]:
        return False
    return _makes_model(found) if part == "model" else callable(getattr(found, "prepare", None))


def _defines(file: Path, name: str) -> bool:
    """Whether a module's text defines a class or function, or imports it from another."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    return any(
        (isinstance(line, ast.ClassDef | ast.FunctionDef) and line.name == name)
        or (
            isinstance(line, ast.ImportFrom)
            and any(name == (found.asname or found.name) for found in line.names)
        )
        for line in body
    )


def _makes_model(found: Any) -> bool:
    """Whether something is a network's class, or a function that says that it makes one."""
    from torch import nn

    if inspect.isfunction(found):
        try:
            found = typing.get_type_hints(found).get("return")
        except Exception:  # whatever a hint may be
            return False
    return inspect.isclass(found) and issubclass(found, nn.Module)


def _located(target: str) -> Any:
    """What a path names by import, if it names the same by attributes, which Hydra follows first.

    None if it does not, or there is nothing.
    """
    try:
        found = locate(target)
        parts = target.split(".")
        reached: Any = sys.modules[parts[0]]
        for end in range(1, len(parts)):
            module = sys.modules.get(".".join(parts[: end + 1]))
            reached = getattr(reached, parts[end], module)
    except Exception:  # whatever comes up in a module that is imported
        return None
    return found if reached is found else None
