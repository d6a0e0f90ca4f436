"""Where a key stands that was looked for in the wrong place, or under a name like its own.

Imports neither torch nor Lightning.
"""

import difflib
from collections.abc import Iterator

from omegaconf import DictConfig

_LIKE = 0.7  # how like a name must be to be meant: num_epochs, epochs
_MOST = 3  # places to name
ELSEWHERE = {"max_epochs": "budget.epochs", "min_epochs": "budget.epochs",
             "max_steps": "budget.steps", "max_time": "budget.seconds",
             "val_check_interval": "validations", "check_val_every_n_epoch": "validations",
             "default_root_dir": "hydra.run.dir", "out": "hydra.run.dir"}  # fmt: skip
"""What is known by another name elsewhere, and what it is called here."""

OF_RECIPES = ("ratio", "bytes", "sparsity", "keep", "bits")
"""What the recipes have in common: keys of a config with one."""


def meant(cfg: DictConfig, given: str) -> list[str]:
    """The keys of a config that may have been meant by one that it does not have, likeliest first.

    Args:
        cfg: the whole config.
        given: the dotted key that there is not.
    """
    *above, last = given.split(".")
    if last in ELSEWHERE:
        return [ELSEWHERE[last]]
    if last in OF_RECIPES and last not in cfg.get("compression", {}):
        return [f"+compression=deep compression.{last}"]
    there = sorted((key for key in _keys(cfg) if key != given), key=lambda key: key.count("."))
    exact = [key for key in there if f".{key}".endswith(f".{given}")] or [
        key for key in there if key.rpartition(".")[2] == last
    ]
    if exact:
        return exact[:_MOST]
    beside = [key for key in there if key.rpartition(".")[0] == ".".join(above)]
    for keys in (beside, there):
        names = list(dict.fromkeys(key.rpartition(".")[2] for key in keys))
        like = difflib.get_close_matches(last, names, 1, _LIKE)
        if like:
            return [key for key in keys if key.rpartition(".")[2] == like[0]][:_MOST]
    return []


def _keys(node: DictConfig, above: str = "") -> Iterator[str]:
    for key in map(str, node):
        if key.startswith("_") or (not above and key == "hydra"):
            continue
        yield f"{above}{key}"
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing()):
            yield from _keys(child, f"{above}{key}.")
