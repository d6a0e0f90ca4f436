"""What is held in a fit: the weights of layers that an optimizer trains, and what is left alone."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from boildown.callbacks.budget import callbacks_of
from boildown.callbacks.trained import listed, trained_in
from boildown.name_patterns import check_patterns, matches, without
from boildown.structure.weights import weights_in


def to_hold(
    trainer: Trainer,
    pl_module: LightningModule,
    who: str,
    exclude: Sequence[str],
    only: tuple[str, Iterable[str]] | None = None,
    vectors: bool = False,
) -> tuple[list[str], dict[str, str]]:
    """Which parameters a technique holds, and which weights it leaves alone and why.

    Known when the fit starts: before it, a network may not be built.

    Args:
        trainer: whose optimizers train.
        pl_module: what is trained.
        who: the technique, for messages.
        exclude: patterns of names.
        only: a setting's name and its patterns, if nothing but what they name is held.
        vectors: whether every parameter is a candidate, biases and norms too.

    Returns:
        The names to hold, and name -> reason of the other weights.

    Raises:
        ValueError: for a pattern that matches nothing, a lazy layer without a shape, or if no
            weight is left, saying why.
    """
    weights = weights_in(pl_module)
    there = dict(pl_module.named_parameters()) if vectors else weights
    left = without(exclude, there, f"{who}.exclude") if there else []
    trained = trained_in(trainer)
    names = [name for name in left if id(there[name]) in trained]
    why = {name: f"{who}.exclude" for name in weights if name not in left}
    why |= {name: "no optimizer trains it" for name in weights if id(weights[name]) not in trained}
    if not names:
        raise ValueError(f"{who}: no weight is left: {_grouped(why) or 'the network has none'}")
    if only is not None:
        setting, patterns = only
        check_patterns(patterns, names, setting)
        named = [name for name in names if any(matches(pattern, name) for pattern in patterns)]
        why |= {n: f"not in {setting}" for n in names if n in weights and n not in named}
        names = named
    return names, {name: why[name] for name in weights if name in why}


def tell_held(who: str, names: Sequence[str], left: Mapping[str, str]) -> None:
    """Say which weights are held and which are not, in a line for each.

    Args:
        who: the technique.
        names: of what is held.
        left: name -> reason, of the weights that are left alone.
    """
    held = f"{who} holds {listed(names)}"
    rank_zero_info(f"{held}; not {_grouped(left)}" if left else held)


def _grouped(left: Mapping[str, str]) -> str:
    """Names by the reason they share."""
    groups: dict[str, list[str]] = {}
    for name, why in left.items():
        groups.setdefault(why, []).append(name)
    return ", ".join(f"{listed(names)} ({why})" for why, names in groups.items())


def check_dense(pl_module: LightningModule, who: str, names: Iterable[str]) -> None:
    """Refuse embeddings with sparse gradients.

    Raises:
        ValueError: naming the parameter and the remedies.
    """
    kinds = torch.nn.Embedding | torch.nn.EmbeddingBag
    sparse = [m.weight for m in pl_module.modules() if isinstance(m, kinds) and m.sparse]
    for name in names:
        if any(pl_module.get_parameter(name) is weight for weight in sparse):
            raise ValueError(
                f"{who}: the gradient of {name} is a sparse tensor, which cannot be held in a "
                f"constraint; build the embedding with sparse=False, or give {who}.exclude=[{name}]"
            )


def check_apart(trainer: Trainer, kind: type[Callback], held: str) -> None:
    """Refuse two callbacks of one kind on one tensor.

    Args:
        trainer: in a fit that has begun.
        kind: of the callbacks.
        held: their attribute with the names of the tensors.

    Raises:
        ValueError: naming the tensor.
    """
    seen: set[str] = set()
    for other in callbacks_of(trainer):
        names = set(getattr(other, held)) if isinstance(other, kind) else set()
        if names & seen:
            raise ValueError(
                f"{min(names & seen)} would be held by two {kind.__name__}; exclude it from one"
            )
        seen |= names
