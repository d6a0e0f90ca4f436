"""Who may import whom: no circles, nothing upwards, and Lightning nowhere in pure mathematics."""

import ast
from functools import cache
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
LAYERS: tuple[set[str], ...] = (  # a room imports from its own layer and those before it
    {
        "files",
        "seeds",
        "compiled",
        "name_patterns",
        "locate",
        "schedule",
        "forward",
        "printable",
        "stopwatch",
    },
    {"codec", "flops"},
    {"amp", "calibrate"},
    {"allocate", "structure"},
    {"lowrank", "prune", "quantize", "share"},
    {"runtime"},
    {"report"},
    {
        "models",
        "checkpoints",
        "pretrained",
        "loading",
        "saving",
        "unpacking",
        "data",
    },
    {"exporting"},
    {"tasks"},
    {"callbacks"},
    {"run"},
    {"entry", "compressing"},
    {"commands"},
    {"cli"},
    {"__main__", ""},  # the package itself
)
APART: dict[str, set[str]] = {  # that import nothing of training, early or late, but for
    "codec": set(),
    "report": {"allocate"},  # how the levels of a sensitivity are spoken of
}
TRAINED = {"callbacks", "tasks", "run", "amp", "compressing"}  # that may know Lightning


@cache
def modules() -> dict[str, ast.Module]:
    return {
        ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_text(encoding="utf-8")
        )
        for path in SRC.rglob("*.py")
    }


def imports(tree: ast.Module, *, late: bool) -> set[str]:
    """Dotted names that a module imports; `late` counts those inside functions too."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or late:
            waiting.extend(ast.iter_child_nodes(node))
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def within(*, late: bool) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports."""
    known = modules()
    return {name: imports(tree, late=late) & set(known) - {name} for name, tree in known.items()}


def test_every_room_has_its_layer() -> None:
    assert {room(name) for name in modules()} == set().union(*LAYERS)


def test_nothing_is_imported_upwards() -> None:
    height = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    upwards = [
        (name, other)
        for name, others in within(late=True).items()
        for other in others
        if height[room(name)] < height[room(other)] and room(name) and room(other)
    ]
    assert upwards == []


def test_there_are_no_circles() -> None:
    left = within(late=False)
    while free := {name for name, others in left.items() if not others & set(left)}:
        left = {name: others for name, others in left.items() if name not in free}
    assert left == {}


@pytest.mark.parametrize("apart", sorted(APART))
def test_some_rooms_stand_alone(apart: str) -> None:
    allowed = LAYERS[0] | LAYERS[1] | APART[apart] | {apart, ""}
    found = {
        (name, other)
        for name, others in within(late=True).items()
        for other in others
        if room(name) == apart and room(other) not in allowed
    }
    assert found == set()


def test_lightning_is_nowhere_in_pure_mathematics() -> None:
    found = {
        name
        for name, tree in modules().items()
        if room(name) not in TRAINED
        and any(i.partition(".")[0] in ("lightning", "hydra") for i in imports(tree, late=True))
    }
    assert found <= {"boildown.cli"}


def test_nothing_is_longer_than_one_can_read() -> None:
    functions = {
        f"{name}.{node.name}": node.end_lineno - node.lineno + 1
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.end_lineno
    }
    files = {
        str(path.relative_to(SRC)): path.read_text(encoding="utf-8").count("\n")
        for path in SRC.rglob("*.py")
    }
    assert {name: lines for name, lines in functions.items() if lines > 60} == {}
    assert {name: lines for name, lines in files.items() if lines > 500} == {}
