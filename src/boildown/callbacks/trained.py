"""What the optimizers of a fit train, and whether it comes to it in training mode."""

from collections.abc import Iterator, Sequence

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

NAMED = 8  # names of a longer list that are said, before the number of the others


def trained_in(trainer: Trainer) -> set[int]:
    """The identities of the parameters that the optimizers train.

    A teacher, a copy for averaging or a branch left out is in no optimizer, whatever its
    `requires_grad` says.
    """
    return {
        id(parameter)
        for optimizer in trainer.optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.requires_grad
    }


def listed(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:NAMED])} and {more} more"


def evaluating(module: nn.Module, trained: set[int], path: str = "") -> Iterator[str]:
    """The parts of a network that are in evaluation mode though something of them is trained.

    Args:
        module: the network.
        trained: identities of the parameters that are trained.
        path: of the module, "" for the whole.

    Returns:
        Dotted paths, of a part that is wholly in evaluation mode that of the part alone.
    """
    if not any(id(parameter) in trained for parameter in module.parameters()):
        return
    if not any(part.training for part in module.modules()):
        yield path
        return
    own = any(id(parameter) in trained for parameter in module.parameters(recurse=False))
    if own and not module.training:
        yield path
    for name, part in module.named_children():
        yield from evaluating(part, trained, f"{path}.{name}" if path else name)


def warn_of_evaluation(trainer: Trainer, pl_module: LightningModule) -> None:
    """Say which trained parts of a network begin a fit in evaluation mode, which the fit keeps."""
    found = list(evaluating(pl_module, trained_in(trainer)))
    if found:
        names = listed([path or f"the {type(pl_module).__name__}" for path in found])
        rank_zero_warn(
            f"in evaluation mode when the fit begins, and kept so: {names}; batch norms "
            "learn nothing of the data there, and dropout does nothing. Call model.train() before "
            "the fit, and requires_grad_(False) on what is to stay as it is"
        )
