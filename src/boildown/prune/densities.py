"""How dense each layer is, of a density over all: pure functions on shapes."""

import math
from collections.abc import Mapping, Sequence


def erk(shapes: Mapping[str, Sequence[int]], density: float) -> dict[str, float]:
    """Densities in proportion to (n_out + n_in + k_1 + ...) / (n_out n_in k_1 ...).

    Small layers stay denser than large ones. One that would have more than all its weights keeps
    them all, and the others share what is left, in proportion.

    Args:
        shapes: name -> shape of a weight: outputs, inputs and the kernel's sizes.
        density: fraction of all weights that stay, in [0, 1].

    Returns:
        name -> fraction of a weight that stays, in [0, 1]; over all weights it is `density`.

    Raises:
        ValueError: without shapes, or for a density out of range.

    Source: Evci et al. 2020, RigL, https://arxiv.org/abs/1911.11134, section 3 (1), after Mocanu
    et al. 2018, https://arxiv.org/abs/1707.04780
    """
    if not shapes:
        raise ValueError("there is nothing to prune: no tensor was selected")
    if not 0.0 <= density <= 1.0:
        raise ValueError(f"density must be in [0, 1], got {density}")
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    whole: set[str] = set()
    while True:
        left = density * sum(sizes.values()) - sum(sizes[name] for name in whole)
        others = [name for name in shapes if name not in whole]
        factor = left / sum(raw[name] * sizes[name] for name in others) if others else 0.0
        over = {name for name in others if factor * raw[name] > 1.0}
        if not over:
            return {name: 1.0 if name in whole else factor * raw[name] for name in shapes}
        whole |= over
