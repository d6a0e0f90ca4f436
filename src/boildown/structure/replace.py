"""A network with other modules in place of some, which keep note of what they stand for."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

_NOTE = "_boildown_structure"  # an attribute of modules, which copies and pickles of them keep


def noted(new: nn.Module, old: nn.Module, **change: Any) -> None:
    """Keep note, on what takes a module's place, of how it differs from what its class builds.

    Args:
        new: the module.
        old: what it takes the place of, whose own note it carries on.
        change: as an entry of `boildown.lowrank.factorize.structure` has it.
    """
    entry = {**note_of(old), **change}
    if entry:
        setattr(new, _NOTE, entry)


def note_of(module: nn.Module) -> dict[str, Any]:
    """What is noted on a module by itself."""
    return dict(vars(module).get(_NOTE, {}))


def structure_of(model: nn.Module) -> dict[str, dict[str, Any]]:
    """How a network differs from what its class builds, by the notes on its modules.

    Args:
        model: any network; {} if none of boildown's functions has changed its structure.

    Returns:
        Dotted path -> entry, as `boildown.lowrank.factorize.structure` has it of two networks.
    """
    modules = model.named_modules(remove_duplicate=False)
    return {name: dict(vars(one)[_NOTE]) for name, one in modules if _NOTE in vars(one)}


def replaced(model: nn.Module, modules: Mapping[str, nn.Module]) -> nn.Module:
    """A deep copy with other modules in place of some, which are not copied.

    Args:
        model: any network; it is not touched.
        modules: dotted path -> what takes the place of the module there.

    Raises:
        AttributeError: for a path that is not there.
        ValueError: if the network cannot be copied.
    """
    memo: dict[int, Any] = {id(model.get_submodule(name)): new for name, new in modules.items()}
    try:
        return copy.deepcopy(model, memo)
    except RuntimeError as error:  # torch copies no tensor that was computed from others
        raise ValueError(
            f"the {type(model).__name__} cannot be copied: {error}; undo weight_norm and the like "
            "first, with torch.nn.utils.remove_weight_norm"
        ) from error
