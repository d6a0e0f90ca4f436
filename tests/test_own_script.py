"""The page on scripts of one's own, and README's blocks, run as they stand."""

import re
from pathlib import Path

import pytest
import torch
from runs import ROOT

import boildown
from boildown.structure.replace import structure_of


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)


@pytest.mark.filterwarnings("ignore")
def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    names: dict[str, object] = {"__name__": "own_script"}
    for block in blocks("docs/own_script.md"):
        exec(compile(block, "docs/own_script.md", "exec"), names)
    sizes = {path.stem: path.stat().st_size for path in tmp_path.glob("*.boil")}
    assert set(sizes) == {"small", "pruned", "low_rank", "ranks"}
    network = names["MyNetwork"]
    assert callable(network)
    dense = 4 * sum(p.numel() for p in network().parameters())
    assert sizes["small"] <= dense / 20
    for name in sizes:
        loaded = boildown.load(tmp_path / f"{name}.boil", network())
        assert bool(structure_of(loaded)) == (name in ("low_rank", "ranks"))
        error = names["error_of"]
        assert callable(error)
        assert error(loaded) < 0.3
