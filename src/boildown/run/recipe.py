"""A recipe: the techniques of a run in the order in which they act, and the size they are to meet.

A recipe is an open map: a node with a `_target_` is a technique, and whatever else is in it is a
knob that the nodes interpolate. `ratio` and `bytes` are the knobs that the run itself reads.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from boildown.run.errors import ConfigError, number

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule
    from torch import Tensor

    from boildown.callbacks.technique import Technique

SIZES = ("ratio", "bytes")
_READS = re.compile(r"\$\{(?:compression\.|\.{1,2})(\w+)")  # a knob, in an interpolation


def nodes_of(recipe: DictConfig) -> dict[str, DictConfig]:
    """The techniques of a recipe by their keys, in order."""
    nodes = {str(key): recipe[key] for key in recipe}
    return {k: n for k, n in nodes.items() if isinstance(n, DictConfig) and "_target_" in n}


def check_recipe(recipe: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Refuse what no technique reads, sizes that cannot be, and times that are none.

    A knob of a recipe may have lost its reader: its technique is left out, or was told by itself.
    What the command line adds must have one.

    Args:
        recipe: as composed.
        overrides: of the command line.

    Raises:
        ConfigError: naming the key, the value and what would be valid.
    """
    nodes = nodes_of(recipe)
    read = {*SIZES, *_read(recipe)}
    knobs = [str(k) for k in recipe if str(k) not in nodes and str(k) in read]
    added = {found[1] for o in overrides if (found := re.match(r"\+\+?compression\.(\w+)=", o))}
    for key in map(str, recipe):
        value = recipe[key]
        if key in nodes or key in knobs or value is None:
            continue
        if key not in added and (any(key in n for n in nodes.values()) or _is_argument(key)):
            continue
        hint = "" if len(recipe) > 1 else "; is compression=deep missing?"
        there = f"the knobs are {', '.join(knobs) or 'none'}"
        if isinstance(value, DictConfig):
            inside = ", ".join(f"compression.{key}.{k!s}={v}" for k, v in value.items())
            raise ConfigError(
                f"{inside or f'compression.{key}={{}}'}: compression.{key} is no technique, for it "
                f"has no _target_, and no technique reads it; {there}{hint}"
            )
        raise ConfigError(
            f"compression.{key}: unknown key (value {value!r}): no technique reads it; {there}; "
            f"~compression.{key} leaves it out"
        )
    for key, node in nodes.items():
        for end in ("begin", "end"):
            if node.get(end) is not None:  # null: the technique's own choice
                number(node[end], f"compression.{key}.{end}", "from 0 to 1", 0.0, 1.0)
    given = [key for key in SIZES if recipe.get(key) is not None]
    for key, valid, least in (("ratio", "above 1", 1.0), ("bytes", "above 0", 0.0)):
        if key in given:
            number(recipe[key], f"compression.{key}", valid, least, float("inf"))
            if recipe[key] == least:
                raise ConfigError(f"compression.{key} must be {valid}, got {recipe[key]}")
    if len(given) > 1:
        raise _both(given, given[0])


def _read(recipe: DictConfig) -> Iterator[str]:
    """The keys of a recipe that something in it interpolates."""
    plain = OmegaConf.to_container(recipe, resolve=False)
    waiting: list[Any] = [plain]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            yield from _READS.findall(value)


def _is_argument(name: str) -> bool:
    """Whether a technique of boildown's takes such an argument; imports them all."""
    from boildown import callbacks
    from boildown.callbacks.technique import Technique

    found = (getattr(callbacks, kind) for kind in dir(callbacks))
    kinds = [kind for kind in found if issubclass(kind, Technique)]
    earlier = ("share",)  # the name of a technique today
    return name not in earlier and any(name in inspect.signature(kind).parameters for kind in kinds)


def _both(given: Sequence[str], first: str) -> ConfigError:
    return ConfigError(
        f"compression: {' and '.join(given)} are given; one of them decides, the others are to be "
        f"null (compression.{first}=null)"
    )


@dataclass(frozen=True)
class Asked:
    """The size that was asked for.

    Attributes:
        bytes: of the file, at most.
        dense: bytes of the dense model's parameters in fp32.
        knob: and its value, as it was asked for.
    """

    bytes: int
    dense: int
    knob: str

    @property
    def ratio(self) -> float:
        """Dense fp32 bytes / file bytes."""
        return self.dense / self.bytes


@dataclass(frozen=True)
class Recipe:
    """The techniques of a run, built.

    Attributes:
        config: the recipe.
        techniques: key -> technique, in the order in which they act.
        asked: the size that was asked for; None if no size was.
        chosen: key -> argument -> what the technique chose for it by itself.
    """

    config: DictConfig
    techniques: Mapping[str, "Technique"]
    asked: Asked | None
    chosen: dict[str, dict[str, Any]]

    @classmethod
    def build(cls, config: DictConfig, dense_bytes: int) -> "Recipe":
        """Build the techniques and see that they go together.

        Args:
            config: that has passed `check_recipe`.
            dense_bytes: of the model's parameters in fp32.

        Raises:
            ConfigError: for a node that makes no technique, two that share a name, phases that
                overlap, or an amount that is given twice or not at all.
        """
        from boildown.callbacks.technique import Technique
        from boildown.run.built import built

        techniques: dict[str, Technique] = {}
        for key, node in nodes_of(config).items():
            technique = built(node, f"compression.{key}")
            if not isinstance(technique, Technique):
                raise ConfigError(
                    f"compression.{key}._target_: {node['_target_']} makes a "
                    f"{type(technique).__name__}, which is no technique: it must be derived from "
                    "boildown.callbacks.Technique"
                )
            techniques[key] = technique
        recipe = cls(config, techniques, _asked(config, dense_bytes), {})
        recipe._check_keys()
        recipe._check_phases()
        recipe._check_amounts()
        ratio = recipe.asked.ratio if recipe.asked is not None else None
        recipe.chosen.update({key: t.suit(ratio) for key, t in techniques.items()})
        return recipe

    @property
    def phases(self) -> dict[str, float]:
        """Phase of the ledger -> progress at which it begins; {} without a technique that has one.

        Dense training comes first, unless something begins with the first step. What follows the
        end of a technique whose work is then done is a phase of its own, unless the next technique
        begins there.
        """
        begins: dict[str, float] = {}
        afterwards: dict[str, float] = {}
        for key, technique in self._timed():
            if technique.afterwards is None:
                begins[key] = technique.begin
                continue
            afterwards[technique.afterwards] = technique.end
            if technique.begin < technique.end:
                begins[key] = technique.begin
        begins |= {n: b for n, b in afterwards.items() if b not in begins.values()}
        ordered = dict(sorted(begins.items(), key=lambda item: item[1]))
        if not ordered or min(ordered.values()) == 0.0:
            return ordered
        return {"dense": 0.0} | ordered

    @property
    def peaks(self) -> dict[str, float]:
        """Phase -> factor on the learning rate, where it is not 1."""
        peaks = {key: technique.peak for key, technique in self._timed()}
        return {key: peak for key, peak in peaks.items() if peak != 1.0}

    @property
    def begin(self) -> float:
        """Progress at which compression begins; 1 if only what comes at the end compresses."""
        return min((t.begin for t in self.techniques.values()), default=1.0)

    @property
    def before(self) -> dict[str, Any]:
        """What the training depends on before compression begins, as plain data."""
        return {
            key: [f"{type(t).__module__}.{type(t).__qualname__}", t.begin, t.before]
            for key, t in self.techniques.items()
        }

    def ask(self, measure: Callable[[Mapping[str, "Tensor"]], int]) -> None:
        """Tell the technique whose amount is open what size is asked for.

        Args:
            measure: name -> parameter of the LightningModule, to the bytes of the file.
        """
        from boildown.allocate.size import AskedSize

        if self.asked is None:
            return
        key = self._open()[0]
        keys = list(self.techniques)
        later = [self.techniques[k] for k in keys[keys.index(key) + 1 :]]
        self.techniques[key].size = AskedSize(
            bytes=self.asked.bytes,
            dense=self.asked.dense,
            measure=measure,
            open=self.techniques[key].preview,
            then=[technique.preview for technique in later],
            settled_at=min((t.begin for t in later), default=1.0),
            asked=self.asked.knob,
        )

    def look_at(self, network: "LightningModule") -> None:
        """Show the techniques the network that is to be trained, if they have to find a size."""
        for technique in self.techniques.values() if self.asked is not None else ():
            technique.look_at(network)

    def check_reach(self, weights: Mapping[str, "Tensor"]) -> None:
        """Refuse before the training a size that nothing will reach.

        Args:
            weights: name -> parameter of the LightningModule, untrained.

        Raises:
            UnreachableSizeError: naming the size within reach.
        """
        if self.asked is None:  # nor have the techniques looked at the network
            return
        content = dict(weights)
        for technique in self.techniques.values():
            if technique.size is not None:
                technique.size.check_reach(content)
                return
            content = technique.preview(content)

    def _timed(self) -> list[tuple[str, "Technique"]]:
        return [(key, t) for key, t in self.techniques.items() if t.begin < 1.0]

    def _check_keys(self) -> None:
        """See that each technique has a phase and a place in the checkpoint of its own."""
        from lightning.pytorch import Callback

        kept: dict[str, str] = {}
        for key, technique in self.techniques.items():
            if "dense" in (key, technique.afterwards):
                raise ConfigError(
                    f"compression.{key}: dense is what the phase before compression is called; "
                    "give it another name"
                )
            if technique.afterwards in self.techniques:
                raise ConfigError(
                    f"compression.{technique.afterwards}: the phase that follows compression.{key} "
                    "is called so; give the technique another key"
                )
            if type(technique).state_dict is Callback.state_dict:
                continue  # there is nothing to keep
            first = kept.setdefault(technique.state_key, key)
            if first != key:
                takes_name = "name" in inspect.signature(type(technique)).parameters
                raise ConfigError(
                    f"compression.{key}: its state is kept under {technique.state_key!r}, and that "
                    f"of compression.{first} is too; "
                    + (
                        f"give it a name, compression.{key}.name={key}"
                        if takes_name
                        else "give one of them a state_key of its own"
                    )
                )

    def _check_phases(self) -> None:
        for key, technique in self.techniques.items():
            for end in ("begin", "end"):
                number(getattr(technique, end), f"compression.{key}.{end}", "from 0 to 1", 0.0, 1.0)
            if not 0.0 <= technique.begin <= technique.end <= 1.0:
                raise ConfigError(
                    f"compression.{key}.begin = {technique.begin} must lie from 0 to "
                    f"compression.{key}.end = {technique.end}, and that up to 1"
                )
        for (first, one), (second, other) in pairwise(self._timed()):
            if one.end > other.begin:
                raise ConfigError(
                    f"compression.{second}.begin = {other.begin} lies before compression.{first}."
                    f"end = {one.end}: the phases overlap, or stand in another order than in the "
                    f"recipe, where {second} comes after {first}"
                )

    def _open(self) -> list[str]:
        return [key for key, technique in self.techniques.items() if technique.is_open]

    def _check_amounts(self) -> None:
        """See that one technique is open where a size is asked for, and none where it is not."""
        from boildown.callbacks.technique import Technique

        open_ = self._open()
        if self.asked is None and open_:
            ways = [self._knob(open_[0], name) for name in self.techniques[open_[0]].amounts]
            raise ConfigError(f"compression: give ratio, or one of bytes, {', '.join(ways)}")
        if self.asked is None:
            return
        size = next(key for key in SIZES if self.config.get(key) is not None)
        if not open_:
            deciding = [(key, t.amounts) for key, t in self.techniques.items() if t.amounts]
            if not deciding:
                raise ConfigError(
                    f"{self.asked.knob}: no technique of this recipe can meet a size "
                    f"({', '.join(self.techniques) or 'there is none'}); compression=deep can"
                )
            key, amounts = deciding[-1]
            given = [self._knob(key, name) for name, value in amounts.items() if value is not None]
            raise _both([size, *given], size)
        if len(open_) > 1:
            ways = [self._knob(key, name) for key in open_ for name in self.techniques[key].amounts]
            raise ConfigError(
                f"{self.asked.knob}: it decides how much one technique compresses, and "
                f"{' and '.join(open_)} leave it open; give one of {', '.join(ways)}"
            )
        technique = self.techniques[open_[0]]
        if type(technique).preview is Technique.preview:
            raise ConfigError(
                f"{self.asked.knob}: compression.{open_[0]} is to meet it, and "
                f"{type(technique).__name__} has no preview(weights, amount) to search with"
            )

    def _knob(self, key: str, argument: str) -> str:
        """What a user sets to decide an argument of a technique."""
        node = OmegaConf.to_container(self.config[key], resolve=False)
        assert isinstance(node, dict)
        found = _READS.fullmatch(str(node.get(argument, "")).removesuffix("}"))
        return found.group(1) if found else f"{key}.{argument}"


def _asked(config: DictConfig, dense_bytes: int) -> Asked | None:
    """The size that a recipe asks for.

    Raises:
        ConfigError: if it is no smaller than the dense model.
    """
    for key in SIZES:
        value = config.get(key)
        if value is not None:
            size = math.floor(value if key == "bytes" else dense_bytes / value)
            if size < 1:
                raise ConfigError(
                    f"compression.{key}={value:g} leaves no byte for the model, which has "
                    f"{dense_bytes} bytes of parameters"
                )
            if not size < dense_bytes:
                raise ConfigError(
                    f"compression.bytes must be between 0 and the dense {dense_bytes}, got {value}"
                )
            return Asked(size, dense_bytes, f"compression.{key}={value:g}")
    return None
