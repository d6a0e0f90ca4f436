"""The asked size, over whole runs: at or below it, whatever the recipe and the training do."""

from pathlib import Path

import pytest
from runs import train

PRUNE = "compression.prune"
ROUNDS = (f"{PRUNE}.schedule._target_=boildown.schedule.Rounds", f"+{PRUNE}.schedule.n=3")
CASES: dict[str, tuple[float, tuple[str, ...]]] = {  # at least this part of the size, and the run
    "layer": (0.98, (f"{PRUNE}.scope=layer",)),
    "taylor": (0.98, (f"{PRUNE}.criterion._target_=boildown.prune.criteria.taylor",)),
    "no sharing": (0.98, ("compression.share=null",)),
    "clustered again": (0.98, ("compression.share.rounds=3", *ROUNDS)),
    "rewound": (0.98, (f"{PRUNE}.rewind=weights",)),
    # where a file cannot tell so many values apart, training makes some of them one
    "coarse values": (0.9, ("compression.dtype=bfloat16", "compression.bits=8")),
}


@pytest.mark.parametrize("case", CASES)
def test_the_file_is_at_or_just_below_the_asked_size(case: str, tmp_path: Path) -> None:
    least, overrides = CASES[case]
    run = ("+compression=deep", "compression.ratio=null", "compression.bytes=1733", *overrides)
    train(tmp_path, "model=mlp", "model.width=32", "budget.epochs=6", "seed=1", *run)
    size = (tmp_path / "model.boil").stat().st_size
    assert least * 1733 <= size <= 1733
