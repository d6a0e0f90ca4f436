"""boildown.allocate.levels: techniques are found where they live, and none is named elsewhere."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import boildown
from boildown.allocate.amounts import Amounts, wording
from boildown.allocate.levels import found, named

ROOM = """
class Steps:
    name = key = level_unit = "steps"
    cost_unit, scale = "bytes", "linear"

    def said(self, level):
        return f"{level:g} steps"

LEVELS = Steps()
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A room more, with a technique of its own."""
    (tmp_path / "stairs").mkdir()
    (tmp_path / "stairs" / "__init__.py").touch()
    (tmp_path / "stairs" / "levels.py").write_text(ROOM)
    monkeypatch.setattr(boildown, "__path__", [*boildown.__path__, str(tmp_path)])
    found.cache_clear()
    yield
    found.cache_clear()
    for name in ("boildown.stairs", "boildown.stairs.levels"):
        sys.modules.pop(name, None)


def test_a_new_room_needs_no_entry_in_a_list(room: None) -> None:
    assert list(found()) == ["rank", "sparsity", "bits", "steps"]
    assert wording("steps").said(3) == "3 steps"
    with pytest.raises(ValueError, match="one of rank, sparsity, bits, steps, got 'ranks'"):
        named("ranks")


def test_all_that_is_not_found_has_amounts() -> None:
    assert [
        (wording(n).level_unit, wording(n).cost_unit) for n in ("rank", "sparsity", "bits")
    ] == [
        ("rank", "parameters"),
        ("sparsity", "nonzero weights"),
        ("bits per weight", "bytes"),
    ]
    assert [named("bits").said(n) for n in (1, 3)] == ["1 bit", "3 bits"]
    assert named("sparsity").said(0.9) == "90 % zeros"
    assert isinstance(wording("my_module.MyTechnique"), Amounts)
    assert wording("my_module.MyTechnique").said(0.25) == "amount 0.25"


def test_allocate_imports_no_technique() -> None:
    place = Path(boildown.__file__).parent / "allocate"
    for file in place.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            assert not str(module).startswith(
                ("boildown.lowrank", "boildown.prune", "boildown.share")
            ), file


def test_what_there_is_is_known_without_torch() -> None:
    code = (
        "import sys; from boildown.allocate.levels import found; from boildown.cli import main\n"
        "try: main(['sensitivity', '--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "rank, sparsity, bits" in " ".join(done.stdout.split())
    assert done.stdout.split()[-1] == "False"
