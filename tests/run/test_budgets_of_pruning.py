"""Budgets and scopes of pruning, and what follows structured pruning, through the run."""

from pathlib import Path

import torch
from runs import result_of, train

import boildown

SMALL = ("model=mlp", "model.width=32", "budget.epochs=4", "validations=20")


def test_operations_and_sensitivities_from_the_command_line(tmp_path: Path) -> None:
    train(
        tmp_path,
        "compression=prune",
        *("compression.flops=0.2", "compression.prune.scope=sensitivity"),
        *SMALL,
    )
    weights = {n: w for n, w in boildown.unpack(tmp_path / "model.boil").items() if w.ndim > 1}
    kept = sum(int((w != 0).sum()) for w in weights.values())
    total = sum(w.numel() for w in weights.values())
    assert 0.19 <= kept / total <= 0.2  # of linear layers, each entry is applied once
    densities = [float((w != 0).float().mean()) for w in weights.values()]
    assert max(densities) > min(densities) + 0.05


def test_a_file_of_the_asked_size_by_sensitivities(tmp_path: Path) -> None:
    train(
        tmp_path,
        "compression=deep",
        *("compression.ratio=20", "compression.prune.scope=sensitivity"),
        *SMALL,
    )
    result = result_of(tmp_path)
    asked = result["dense"]["bytes"] / 20
    assert 0.93 * asked <= (tmp_path / "model.boil").stat().st_size <= asked


def test_a_narrower_network_is_shared(tmp_path: Path) -> None:
    share = "{_target_:boildown.callbacks.share.ShareWeights,bits:3,begin:0.8,dtype:float16}"
    train(
        tmp_path,
        "compression=structured",
        *("compression.parameters=0.4", f"+compression.share={share}", "~compression.round"),
        *SMALL,
    )
    found = boildown.unpack(tmp_path / "model.boil")
    assert all(torch.isfinite(tensor).all() for tensor in found.values())
    assert all(len(w.unique()) <= 9 for w in found.values() if w.ndim > 1)
    logits = boildown.load(tmp_path / "model.boil")(torch.zeros(2, 1, 8, 8))
    assert torch.isfinite(logits).all()
