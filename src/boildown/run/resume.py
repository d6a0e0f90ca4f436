"""Going on with a run: what an earlier start left in its directory, and whether it fits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from boildown.callbacks.newest import config_in_checkpoint, newest_sound, previous_of
from boildown.files.atomic import replacing
from boildown.locate import with_current_targets
from boildown.run.build import config_in
from boildown.run.config import KEYS
from boildown.run.errors import ConfigError
from boildown.run.finished import complete, finished

FREE_KEYS = ("resume", "logger", "name", "share_dense", "run")  # may differ when a run is resumed


def earlier(cfg: DictConfig, directory: Path) -> dict[str, Any] | None:
    """The result of a run that is to be gone on with and is finished; None if there is work to do.

    What is missing beside a result is made again, and a config.yaml that is missing or damaged.

    Args:
        cfg: of the run that is started now.
        directory: of the run.

    Raises:
        ConfigError: if the directory holds a run and it is not to be resumed, or one with other
            settings, naming the first that differs, or too little of one to go on from.
        ValueError: if all its checkpoints are damaged.
    """
    newest, result = directory / "newest.ckpt", directory / "result.json"
    if not cfg.resume:
        if result.exists() or newest.exists() or previous_of(newest).exists():
            raise ConfigError(
                f"hydra.run.dir={directory} holds an earlier run; resume=true goes on with it, "
                "another directory keeps both"
            )
        return None
    done = finished(directory)
    try:
        checkpoint = newest_sound(newest, tell=False)
    except ValueError:
        if done is None:
            raise
        checkpoint = None
    then = _settings(directory, checkpoint, begun=done is not None or checkpoint is not None)
    if then is not None:
        _check_alike(then, cfg, directory)
    if done is not None:
        complete(directory, done)
    elif checkpoint is not None:
        print(f"resuming in {directory}")
    elif result.exists():
        raise ConfigError(
            f"hydra.run.dir={directory} holds a result.json, but its model.boil or "
            "dense.safetensors is gone or damaged, and there is no newest.ckpt to make it from; "
            "put the file back, or begin the run anew in another directory"
        )
    else:
        print(
            f"nothing to resume in {directory}: a new run; hydra.run.dir=DIR names an earlier one"
        )
    return done


def keep_config(cfg: DictConfig, directory: Path) -> None:
    """Write config.yaml, unless the run that goes on has it."""
    path = directory / "config.yaml"
    if not cfg.resume or _read(path) is None:
        with replacing(path) as part:
            part.write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")


def _settings(directory: Path, checkpoint: Path | None, *, begun: bool) -> DictConfig | None:
    """What a run was begun with: what its checkpoint says, or else its config.yaml.

    A config.yaml that is missing, damaged or another is written anew from the checkpoint.

    Raises:
        ConfigError: if there is a run, and neither says.
    """
    path = directory / "config.yaml"
    there = _read(path)
    kept = None if checkpoint is None else config_in_checkpoint(checkpoint)
    what = "is missing" if not path.exists() else "is damaged"
    if kept is None or checkpoint is None:
        if there is None and begun:
            raise ConfigError(
                f"{path} {what}, and no checkpoint holds the settings to write it anew from; put "
                "it back, or begin the run anew in another directory"
            )
        return there
    settings = OmegaConf.create(with_current_targets(kept))
    assert isinstance(settings, DictConfig)
    if there is None or first_difference(there, settings) is not None:
        what = what if there is None else "is not what the run was begun with"
        print(f"{path} {what}: written anew from {checkpoint.name}")
        with replacing(path) as part:
            part.write_text(OmegaConf.to_yaml(settings), encoding="utf-8")
    return settings


def _read(path: Path) -> DictConfig | None:
    """The config of a run in a file; None if there is none, or it is cut or no YAML."""
    try:
        config = config_in(path)
    except Exception:  # whatever YAML and OmegaConf say
        return None
    needed = ("data", "model", "task", "trainer", "budget", "compression", "learning_rate", "seed")
    return config if all(key in config for key in needed) else None


def _check_alike(then: DictConfig, now: DictConfig, directory: Path) -> None:
    different = first_difference(then, now)
    if different is not None:
        place, old, new = different
        raise ConfigError(
            f"{place}: the run to resume in {directory} was started with {old}, not {new}"
        )


def first_difference(then: DictConfig, now: DictConfig) -> tuple[str, Any, Any] | None:
    """The first setting that differs of those that may not, and its two values."""
    before, after = plain(then), plain(now)
    if "run" not in before:
        before = _of_first_version(before, after)
    for key in KEYS:
        old, new = before.get(key), after.get(key)
        if key not in FREE_KEYS and (old or None) != (new or None):  # {} is what came to be later
            return _difference(key, old, new)
    return None


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
    later = (key for key, value in today.items() if value is None and key not in recipe)
    recipe |= dict.fromkeys(later)
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
