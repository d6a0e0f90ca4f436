"""The two checkpoints that a run keeps, and which of them is as it was written."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn

from boildown.files.seal import is_sound


def previous_of(newest: Path) -> Path:
    """The path of the checkpoint before the newest.

    >>> previous_of(Path("run/newest.ckpt")).name
    'newest.previous.ckpt'
    """
    return newest.with_name(f"{newest.stem}.previous{newest.suffix}")


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint; None for one that is as it was written.

    Those of the first version have no digest: what they hold is read.
    """
    if path.stat().st_size == 0:
        return "it is empty"
    sound = is_sound(path)
    if sound is None:
        try:
            held = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # whatever torch says of one that is cut
            return "it cannot be read"
        if not isinstance(held, dict) or not {"callbacks", "state_dict"} <= held.keys():
            return "it is no checkpoint"
        return None
    return None if sound else "its digest is another"


def newest_sound(newest: Path, *, tell: bool = True) -> Path | None:
    """The newest of the two checkpoints that is not damaged; None if there is none at all.

    Args:
        newest: path of the newest; the other's follows from it.
        tell: name a damaged one in a warning.

    Raises:
        ValueError: if there are checkpoints and all are damaged.
    """
    damaged: list[str] = []
    for path in (newest, previous_of(newest)):
        if not path.exists():
            continue
        why = damage(path)
        if why is None:
            if damaged and tell:
                rank_zero_warn(
                    f"{' and '.join(damaged)}: {path.name}, the checkpoint before it, is used"
                )
            return path
        damaged.append(f"{path} is damaged ({why})")
    if damaged:
        raise ValueError(
            f"{' and '.join(damaged)}: there is no checkpoint to go on from; put one back, or "
            "begin the run anew in another directory"
        )
    return None


def config_in_checkpoint(path: Path) -> dict[str, Any] | None:
    """The config that a checkpoint holds; None in those of the first version."""
    states = torch.load(path, map_location="cpu", weights_only=True)["callbacks"]
    for key, state in states.items():
        if key.startswith("SaveNewest") and state.get("config") is not None:
            return dict(state["config"])
    return None
