"""A network with other modules in place of some: a pure function on networks."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn


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
