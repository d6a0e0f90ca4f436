"""A technique for a test: its process dies between the first fit and the second."""

import os

from torch import nn

from boildown.callbacks.learn_ranks import LearnRanks


class KilledBetween(LearnRanks):
    """Dies in `restructure` if KILL_BETWEEN is set."""

    def restructure(self, model: nn.Module) -> nn.Module:
        if os.environ.get("KILL_BETWEEN"):
            os._exit(9)
        return super().restructure(model)
