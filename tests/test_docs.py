"""README and docs: their code runs, their command lines are ones that boildown takes."""

import re
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from lightning.pytorch import LightningModule
from runs import ROOT, composed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from boildown.cli import _parser
from boildown.run.config import check

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
ELSEWHERE = {  # pages whose code runs with what is around it
    "extend.md": "tests/test_extend.py",
    "hugging_face.md": "tests/test_pretrained.py",
    "own_script.md": "tests/test_own_script.py",
}


def blocks(page: Path, *kinds: str) -> list[str]:
    found = FENCED.findall(page.read_text(encoding="utf-8"))
    return [code for kind, code in found if kind in kinds]


def commands() -> list[str]:
    """Each once, without prompts, comments, and what precedes or follows it on its line."""
    lines = {
        re.sub(r"\s+# .*", "", part).removeprefix("$ ").strip()
        for page in PAGES
        for block in blocks(page, "console", "bash")
        for line in block.replace("\\\n", " ").splitlines()
        for part in line.split("&&")
    }
    return sorted(line for line in lines if re.match(r"\S*(python \S*train\.py|boildown)\b", line))


class MyNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.conv2 = nn.Conv2d(8, 24, 3)
        self.fc1 = nn.Linear(24 * 4 * 4, 60)
        self.fc2 = nn.Linear(60, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.conv1(x).relu()).relu().flatten(1)
        logits: Tensor = self.fc2(self.fc1(x).relu())
        return logits


class Module(LightningModule):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.model(inputs)
        return outputs

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3, fused=True)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the pages take for granted: a network, its module, a loader, what measures."""
    monkeypatch.chdir(tmp_path)
    own = types.ModuleType("my_models")
    own.MyNetwork = MyNetwork  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_models", own)
    monkeypatch.setattr(MyNetwork, "__module__", "my_models")
    torch.manual_seed(0)
    images, labels = torch.randn(96, 1, 8, 8), torch.randint(0, 10, (96,))
    model = MyNetwork()

    def validation_error(network: nn.Module) -> float:
        return float((network(images).argmax(1) != labels).float().mean())

    return {
        "model": model,
        "module": Module(model),
        "loader": DataLoader(TensorDataset(images, labels), batch_size=32),
        "MyNetwork": MyNetwork,
        "images": images,
        "validation_error": validation_error,
    }


@pytest.mark.filterwarnings("ignore")  # Lightning's, of small loaders and no validation
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.stem)
def test_the_code_of_a_page_runs(page: Path, given: dict[str, Any]) -> None:
    if page.name in ELSEWHERE:
        pytest.skip(f"run in {ELSEWHERE[page.name]}")
    if page.name == "export.md":
        pytest.importorskip("onnxruntime")
    for number, code in enumerate(blocks(page, "python")):
        exec(compile(code, f"{page.name}[{number}]", "exec"), given)


@pytest.mark.parametrize("line", commands())
def test_a_command_line_is_one_that_boildown_takes(line: str) -> None:
    words = shlex.split(line)
    if words[0].endswith("boildown") and words[1] != "train":
        _parser().parse_args(words[1:])
        return
    given = words[2:]
    if "--config-dir" in given or "--help" in given or "my_" in line or "grid.Grid" in line:
        pytest.skip("needs files of one's own: run in tests/test_extend.py, or help")
    overrides = [word for word in given if not word.startswith(("-m", "hydra."))]
    parsed = OverridesParser.create().parse_overrides(overrides)
    for job in BasicSweeper.split_arguments(parsed, None)[0]:
        swept = "-m" in given  # whose directory share_dense may name, which there is none of here
        check(composed(*job, *(["share_dense=null"] if swept else [])), job)


def test_there_are_commands_and_code() -> None:
    assert len(commands()) > 20
    assert sum(len(blocks(page, "python")) for page in PAGES) > 8


def headings(page: Path) -> set[str]:
    """The anchors that GitHub and mkdocs give the headings of a page."""
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "benchmarks" / "README.md", ROOT / "CHANGELOG.md"], ids=lambda p: p.stem
)
def test_a_link_leads_to_a_page_and_to_a_heading_of_it(page: Path) -> None:
    links = re.findall(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8"))
    for name, anchor in links:
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), name
        assert not anchor or anchor in headings(target), f"{name}#{anchor}"
