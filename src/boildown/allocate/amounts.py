"""A technique of anybody's as the sensitivity of layers needs it: its preview, at amounts."""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from boildown.allocate.levels import Layer, Wording, found
from boildown.locate import locate, search_here

if TYPE_CHECKING:
    from torch import Tensor

    from boildown.allocate.size import Preview

AMOUNTS = tuple(i / 10 for i in range(1, 11))


class Amounts:
    """How the levels are spoken of: a level is how much of all that a technique can do."""

    level_unit, cost_unit = "amount", "bytes"
    scale: Literal["linear"] = "linear"

    def said(self, level: float) -> str:
        return f"amount {level:g}"


class Previewed(Amounts):
    """What a technique would make of a layer alone (`boildown.allocate.levels.Levels`).

    A level is an amount in (0, 1]; the cost is what the layer's tensor takes in a file by itself.

    Args:
        preview: of the technique (`boildown.callbacks.technique.Technique.preview`).
        name: of the technique, with its settings.
        key: what tells it from another of the same name, such as a digest of its source.
    """

    def __init__(self, preview: "Preview", name: str, key: str = "") -> None:
        self.preview, self.name = preview, name
        self.key = f"{name} {key}".strip()

    def check(self, level: float) -> float:
        if not 0.0 < level <= 1.0:
            raise ValueError(f"an amount must be in (0, 1], got {level:g}")
        return float(level)

    def most(self, layer: Layer) -> float:
        import torch

        alone = torch.equal(self._changed(layer, 1.0).to(layer.weight.dtype), layer.weight)
        return 0.0 if alone else 1.0

    def default(self, layer: Layer) -> Sequence[float]:
        return AMOUNTS if self.most(layer) else ()

    def cost(self, layer: Layer, level: float | None) -> float:
        from boildown import codec

        weight = layer.weight if level is None else self._changed(layer, level)
        return float(codec.estimate({layer.name: weight.detach()}))

    def changes(self, layer: Layer) -> "Callable[[float], Tensor]":
        return lambda level: self._changed(layer, level)

    def _changed(self, layer: Layer, amount: float) -> "Tensor":
        import torch

        weight = layer.weight
        with torch.no_grad():
            made = self.preview({layer.name: weight}, amount)
        if set(made) != {layer.name} or made[layer.name].shape != weight.shape:
            raise ValueError(
                f"{self.name} puts other tensors in the place of {layer.name}, so it cannot be "
                "measured in the network as it is"
            )
        return made[layer.name].detach()


def technique_at(path: str, settings: Mapping[str, Any]) -> Previewed:
    """The technique of a dotted path, built; it may be of a module in the working directory.

    Args:
        path: trusted, as from one's own command line: it is imported.
        settings: its arguments.

    Raises:
        ValueError: if it is not there, cannot be built so, or has no preview.
    """
    search_here()
    try:
        kind = locate(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} cannot be found: {error}") from error
    name = path
    if settings:
        name += f"({', '.join(f'{key}={value!r}' for key, value in settings.items())})"
    try:
        technique = kind(**settings)
    except TypeError as error:
        raise ValueError(f"{name} cannot be built: {error}") from error
    preview = getattr(technique, "preview", None)
    if not callable(preview):
        raise ValueError(f"{path} is no technique: it has no preview(weights, amount)")
    return Previewed(preview, name, _source(technique))


def wording(technique: str) -> Wording:
    """How to speak of the levels of a technique, by the name that its points have."""
    return found().get(technique, Amounts())


def _source(technique: Any) -> str:
    """A digest of the module that a technique is written in, which may change between two runs."""
    module = inspect.getmodule(type(technique))
    try:
        text = inspect.getsource(module) if module is not None else ""
    except OSError:
        return ""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
