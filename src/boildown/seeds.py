"""Random generators that depend on a key alone, whatever was drawn before."""

import numpy as np
import torch


def generator(*key: int) -> torch.Generator:
    """A generator that depends on every number of `key` and on nothing else.

    Args:
        key: one or more integers, none negative.

    Raises:
        ValueError: if a number is negative.
    """
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
