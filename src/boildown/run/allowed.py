"""What a config that somebody else may have written may build.

A `_target_` is called with the arguments of its node, so a config can run whatever there is. One's
own command line may name anything; a config read from a file may not.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from boildown.locate import current, locate
from boildown.run.errors import ConfigError

LIBRARIES = ("torch", "lightning", "torchmetrics")
ROOMS = ("boildown.data.", "boildown.models.", "boildown.tasks.")
BUILT = ("data", "model", "task")  # the parts of a config that are built from a file
OWN = ("data", "model")  # which may be from a module in the working directory


def check_allowed(cfg: DictConfig, allow: Sequence[str] = ()) -> None:
    """Refuse a config from a file that names what may not be built.

    Allowed are classes of boildown's data, models and tasks, and its functions that make models;
    networks, metrics, optimizers and data modules of torch, Lightning and torchmetrics; whatever
    begins with one of `allow`; and a model or data from a module in the working directory, which
    is said.

    Args:
        cfg: with `data`, `model` and `task`, which are all that may be built of it.
        allow: modules, packages or dotted paths that the caller trusts.

    Raises:
        ConfigError: naming the place, the target and the remedy. Nothing that is not allowed has
            been imported.
    """
    for part in BUILT:
        node = OmegaConf.to_container(cfg[part], resolve=True)
        for place, target in _targets(node, part):
            if _trusted(target, allow) or _is_known(target):
                continue
            if place == f"{part}._target_" and part in OWN and _is_here(target):
                print(f"{part}: {target}, from {Path.cwd()}", file=sys.stderr)
                continue
            raise ConfigError(
                f"{place}: {target} is not among what a config from a file may build; if you "
                f"trust it, allow it by its name (--allow {target.rpartition('.')[0] or target})"
            )


def targets_of(cfg: DictConfig) -> list[str]:
    """The dotted paths that a config would build for a proof."""
    nodes = ((part, OmegaConf.to_container(cfg[part], resolve=True)) for part in BUILT)
    return list(dict.fromkeys(target for part, node in nodes for _, target in _targets(node, part)))


def _targets(node: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield f"{place}._target_", current(str(node["_target_"]))
        for key, value in node.items():
            yield from _targets(value, f"{place}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _targets(value, f"{place}[{i}]")


def _trusted(target: str, allow: Sequence[str]) -> bool:
    return any(target == name or target.startswith(f"{name}.") for name in allow)


def _is_here(target: str) -> bool:
    """Whether a target is a class or function of a module in the working directory."""
    first = target.partition(".")[0]
    here = Path.cwd().resolve()
    if first in (*LIBRARIES, "boildown") or first in sys.stdlib_module_names:
        return False
    if not any(place.is_file() for place in (here / f"{first}.py", here / first / "__init__.py")):
        return False
    if str(here) not in sys.path:
        sys.path.append(str(here))
        importlib.invalidate_caches()
    spec = importlib.util.find_spec(first)
    if spec is None or spec.origin is None or here not in Path(spec.origin).resolve().parents:
        return False
    try:
        found = locate(target)
    except (ImportError, AttributeError, ValueError):
        return False
    return str(getattr(found, "__module__", "")).partition(".")[0] == first


def _is_known(target: str) -> bool:
    """Whether a target is one of the kinds that a model is made of and trained by."""
    first = target.partition(".")[0]
    if first != "boildown" and first not in LIBRARIES:
        return False
    try:
        found = locate(target)
    except (ImportError, AttributeError, ValueError):
        return False
    home = str(getattr(found, "__module__", ""))
    if first == "boildown":
        makes_models = home.startswith("boildown.models.") and inspect.isfunction(found)
        return home.startswith(ROOMS) and (inspect.isclass(found) or makes_models)
    return home.partition(".")[0] in LIBRARIES and inspect.isclass(found) and _is_part(found)


def _is_part(kind: type) -> bool:
    from lightning.pytorch import LightningDataModule
    from torch import nn, optim

    return issubclass(kind, nn.Module | optim.Optimizer | LightningDataModule)
