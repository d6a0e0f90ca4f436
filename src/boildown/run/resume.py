"""Going on with a run: what an earlier start left in its directory, and whether it fits."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from boildown.run.build import config_in
from boildown.run.config import KEYS
from boildown.run.errors import ConfigError

FREE_KEYS = ("resume", "logger", "name", "share_dense", "run")  # may differ when a run is resumed


def earlier(cfg: DictConfig, directory: Path) -> dict[str, Any] | None:
    """The result of a run that is to be gone on with and is finished; None if there is work to do.

    Args:
        cfg: of the run that is started now.
        directory: of the run.

    Raises:
        ConfigError: if the directory holds a run and it is not to be resumed, or one with other
            settings, naming the first that differs.
    """
    result = directory / "result.json"
    started = (directory / "newest.ckpt").exists()
    if not cfg.resume:
        if result.exists() or started:
            raise ConfigError(
                f"hydra.run.dir={directory} holds an earlier run; resume=true goes on with it, "
                "another directory keeps both"
            )
        return None
    if (directory / "config.yaml").exists():
        _check_alike(config_in(directory / "config.yaml"), cfg, directory)
    if result.exists():
        return dict(json.loads(result.read_text()))
    print(
        f"resuming in {directory}"
        if started
        else f"nothing to resume in {directory}: a new run; hydra.run.dir=DIR names an earlier one"
    )
    return None


def _check_alike(then: DictConfig, now: DictConfig, directory: Path) -> None:
    before, after = plain(then), plain(now)
    if "run" not in before:
        before = _of_first_version(before, after)
    for key in KEYS:
        old, new = before.get(key), after.get(key)
        if key not in FREE_KEYS and old != new:
            place, old, new = _difference(key, old, new)
            raise ConfigError(
                f"{place}: the run to resume in {directory} was started with {old}, not {new}"
            )


def _difference(key: str, old: Any, new: Any) -> tuple[str, Any, Any]:
    """Where two configs first differ, and what is there."""
    if isinstance(old, dict) and isinstance(new, dict):
        for k in [*old, *(k for k in new if k not in old)]:
            if old.get(k) != new.get(k):
                return _difference(f"{key}.{k}", old.get(k), new.get(k))
    return key, old, new


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A config as plain data, without interpolations."""
    container = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _of_first_version(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """A config of the first version as that of a run today, which has `now`.

    The first version wrote the ratio, the bytes and the bits that it had chosen over those that it
    was given, had rules in the place of amounts, and named every phase's peak.
    """
    recipe = {key: _node(value) for key, value in then["compression"].items()}
    today = now["compression"]
    for key in ("ratio", "bytes", "bits"):
        if key in recipe and today.get(key) is None:
            recipe[key] = None
    if "bits" in recipe and isinstance(recipe.get("share"), dict):
        recipe["share"]["bits"] = recipe["bits"]
    for key, node in recipe.items():
        if isinstance(node, dict) and isinstance(today.get(key), dict):
            recipe[key] = {k: node.get(k, v) for k, v in today[key].items()}
    if today.get("round", ...) is None:  # sharing rounds too
        recipe["round"] = None
    own = dict(then["learning_rate"])
    own["peaks"] = {k: v for k, v in own["peaks"].items() if v != _FIRST_PEAKS.get(k)}
    return {**then, "compression": recipe, "learning_rate": own}


_FIRST_PEAKS = {"dense": 1.0, "lowrank": 1.0, "factored": 1.0, "prune": 1.0, "share": 0.3}
_RULES = {  # argument that held a rule -> what of the rule stands for it today
    "boildown.allocate.sparsity_or_rule": "sparsity",
    "boildown.allocate.factors_or_rule": "factors",
}


def _node(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        key: item[_RULES[item["_target_"]]]
        if isinstance(item, dict) and item.get("_target_") in _RULES
        else item
        for key, item in value.items()
    }
