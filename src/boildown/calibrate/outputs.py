"""What becomes of the outputs of layers when a network is changed."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from boildown.forward import evaluating, hooks, run, tensors_of


def output_errors(
    model: nn.Module, other: nn.Module, batches: Iterable[Tensor], layers: Sequence[str]
) -> dict[str, float]:
    """How far the outputs of one network's layers are from those of another's of its structure.

    Each network passes the batches by itself, so an error has in it what the layers before add.

    Args:
        model: takes a batch of inputs alone; it is left as it was, and so is `other`.
        other: with the same layers.
        batches: of inputs.
        layers: dotted paths.

    Returns:
        Layer -> sum of ||y' - y||^2 over sum of ||y||^2; without layers that no batch reaches.
    """
    lost, whole = dict.fromkeys(layers, 0.0), dict.fromkeys(layers, 0.0)
    reached = set[str]()
    for inputs in batches:
        seen: dict[str, list[Tensor]] = {layer: [] for layer in layers}

        def keep(name: str, output: Tensor, seen: dict[str, list[Tensor]] = seen) -> None:
            reached.add(name)
            seen[name].append(output.clone())  # it may be changed in place

        def compare(name: str, output: Tensor, seen: dict[str, list[Tensor]] = seen) -> None:
            wanted = seen[name].pop(0).double()
            lost[name] += float((output.double() - wanted).square().sum())
            whole[name] += float(wanted.square().sum())

        _watched(model, inputs, layers, keep)
        _watched(other, inputs, layers, compare)
    return {name: lost[name] / whole[name] if whole[name] else lost[name] for name in reached}


def _watched(
    model: nn.Module, inputs: Tensor, layers: Sequence[str], take: Callable[[str, Tensor], None]
) -> None:
    """Pass a batch, and hand over what the layers put out."""

    def see(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if found := tensors_of(output):
            take(name, found[0].detach())

    with evaluating(model), hooks() as handles:
        for name in layers:
            module = model.get_submodule(name)
            handles.append(module.register_forward_hook(partial(see, name)))
        run(model, inputs)
