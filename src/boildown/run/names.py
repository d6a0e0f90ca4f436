"""What a run is called where it is compared with others: a name of its own, its group, its kind."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from boildown.run.recipe import nodes_of

LONGEST = 128  # characters of a name on wandb
LONGEST_TAG = 64
# Overrides that make no other training, or that the first part of a name tells.
_UNTOLD = re.compile(r"(resume|name|share_dense|logger|run|hydra|data\.root|data\.download)(\W.*)?")
_BASE = ("model", "data", "compression")
_TIME = re.compile(r"\d\d-\d\d-\d\d")


@dataclass(frozen=True)
class Identity:
    """How a run is told from others.

    Attributes:
        name: of its own: what it trains, and what it was told that other runs were not.
        group: the sweep that it is of; None outside one.
        recipe: what compresses it, such as "deep"; "dense" without.
        tags: model, data, recipe, and the experiment if it is one.
    """

    name: str
    group: str | None
    recipe: str
    tags: tuple[str, ...]


def run_name(cfg: DictConfig) -> str:
    """What the run is called in its result: its name, or model, data and techniques."""
    if cfg.name:
        return str(cfg.name)
    techniques = list(nodes_of(cfg.compression))
    model, data = (str(cfg[k]["_target_"]).rpartition(".")[2].lower() for k in ("model", "data"))
    return "-".join([model, data, *(techniques or ["dense"])])


def identity_of(cfg: DictConfig) -> Identity:
    """How the run of a config is told from others.

    Args:
        cfg: as composed; what was chosen and overridden is known where Hydra started the run.
    """
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    if hydra is None or "compression" not in hydra.runtime.choices:  # of another program
        recipe = "-".join(nodes_of(cfg.compression)) or "dense"
        return Identity(run_name(cfg), None, recipe, (recipe,))
    chosen = hydra.runtime.choices
    recipe = "dense" if chosen["compression"] in (None, "none") else str(chosen["compression"])
    parts = [str(chosen[key]) for key in ("model", "data") if chosen.get(key)]
    experiment = [str(chosen["experiment"])] if chosen.get("experiment") else []
    tags = tuple(dict.fromkeys(t[:LONGEST_TAG] for t in (*parts, recipe, *experiment)))
    swept = hydra.mode == RunMode.MULTIRUN
    said = told(hydra.overrides.task, _varied(hydra) if swept else None)
    name = " ".join([str(cfg.name) if cfg.name else "-".join([*parts, recipe]), *said])
    if len(name) > LONGEST:
        number = f" #{hydra.job.num}" if swept else ""
        name = name[: LONGEST - len(number)] + number
    return Identity(name, _group(Path(hydra.sweep.dir)) if swept else None, recipe, tags)


def told(overrides: Sequence[str], varied: Iterable[str] | None) -> list[str]:
    """What tells a run apart, in short.

    Args:
        overrides: of the run.
        varied: the keys that differ within its sweep; None: all count.

    >>> told(["+compression=deep", "compression.ratio=10", "seed=1", "logger=csv"], None)
    ['ratio=10', 'seed=1']
    >>> told(["compression.prune.begin=0.3", "compression.share.begin=0.8", "trainer=amp"], None)
    ['compression.prune.begin=0.3', 'compression.share.begin=0.8', 'amp']
    """
    keys = None if varied is None else set(varied)
    parsed = [o for o in _parsed(overrides) if keys is None or o.key_or_group in keys]
    shown = [o for o in parsed if not _UNTOLD.fullmatch(o.key_or_group) and not o.is_delete()]
    shown = [o for o in shown if o.key_or_group not in _BASE]
    last = [o.key_or_group.rpartition(".")[2] for o in shown]
    return [
        _in_short(o, plain=last.count(short) == 1) for o, short in zip(shown, last, strict=True)
    ]


def _in_short(override: Override, *, plain: bool) -> str:
    key, value = override.key_or_group, override.get_value_element_as_str()
    if "." not in key and key not in ("seed", "validations"):
        return str(value)  # a choice of a group
    return f"{key.rpartition('.')[2] if plain else key}={value}"


def _parsed(overrides: Iterable[str]) -> list[Override]:
    return list(OverridesParser.create().parse_overrides(list(overrides)))


def _varied(hydra: Any) -> set[str] | None:
    """The keys for which a sweep gives several values; None if nothing says which they are."""
    there = Path(hydra.runtime.cwd) / hydra.sweep.dir / "multirun.yaml"
    try:
        sweep = OmegaConf.load(there)
        overrides = list(OmegaConf.select(sweep, "hydra.overrides.task") or ())
        params = OmegaConf.select(sweep, "hydra.sweeper.params") or {}
        given = _parsed([*map(str, overrides), *(f"{k!s}={v}" for k, v in params.items())])
    except Exception:  # whatever YAML, OmegaConf and Hydra say of a file that another program wrote
        return None
    found = {o.key_or_group for o in given if o.is_sweep_override()}
    return found or None


def _group(directory: Path) -> str:
    """The name of a sweep's directory, with the day where it is but a time.

    >>> _group(Path("multirun/2026-01-31/12-00-00")), _group(Path("/tmp/ratios"))
    ('2026-01-31/12-00-00', 'ratios')
    """
    if _TIME.fullmatch(directory.name) and directory.parent.name:
        return f"{directory.parent.name}/{directory.name}"
    return directory.resolve().name
