"""What `python train.py --help` says: the recipes and the knobs there are, from the files in conf/.

Imports neither torch nor Lightning.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

_KNOB = re.compile(r"^(\w+):(?: +(?P<value>[^#\n]*?))?(?: +# (?P<says>.*))?$")
_WIDTH, _COLUMNS = 18, 80

USAGE = """boildown: train, compress, pack into one small file, and prove what it costs.

  {}                                 a dense run, on embedded data
  {} +compression=deep               compressed
  ...             compression.ratio=20            into a file 20 times smaller
  ...             -m compression.ratio=10,20,40   a sweep
  {} experiment=NAME data.root=DIR   as it was measured
"""

FOOTER = """Any key of a config can be given: {} +compression=deep --cfg job
shows them all. Hydra's own options: --hydra-help. More: README.md and docs/.
"""


def help_text(conf: Path, called: str = "python train.py") -> str:
    """The whole text.

    Args:
        conf: the directory of the configs.
        called: what is typed before the settings.
    """
    parts = [
        USAGE.replace("{}", called.ljust(15)),
        "Recipes: +compression=NAME, and compression.KNOB=VALUE\n",
    ]
    recipes = sorted((conf / "compression").glob("*.yaml"))
    parts.extend(_recipe(path) for path in recipes if path.stem != "none")
    parts.append("The run\n" + "".join(_line(*knob) for knob in _knobs(conf / "config.yaml")))
    groups = sorted(
        p for p in conf.iterdir() if p.is_dir() and p.name not in ("compression", "hydra")
    )
    parts.append("Choices: GROUP=CHOICE\n" + "".join(_line(p.name, _choices(p)) for p in groups))
    return "\n".join([*parts, FOOTER.replace("{}", called)])


def _recipe(path: Path) -> str:
    title = _comment(path)
    knobs = "".join(_line(f"  {name}", says) for name, says in _knobs(path) if says)
    return _line(path.stem, title) + knobs


def _choices(group: Path) -> str:
    files = sorted(group.glob("*.yaml"))
    names = ", ".join(path.stem for path in files)
    return names if len(files) > 1 else f"{names}: {_comment(files[0])}"


def _comment(path: Path) -> str:
    """The first comment of a file, up to its first full stop."""
    lines = path.read_text(encoding="utf-8").splitlines()
    said = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return re.split(r"(?<! al)\. ", " ".join(said))[0].removesuffix(".")


def _knobs(path: Path) -> Iterator[tuple[str, str]]:
    """The keys at the top of a file that have a value or a comment, with what the comment says."""
    for line in path.read_text(encoding="utf-8").splitlines():
        found = _KNOB.match(line)
        if found and (found["value"] or found["says"]) and found[1] != "defaults":
            yield found[1], found["says"] or ""


def _line(name: str, says: str) -> str:
    indent = " " * (_WIDTH + 2)
    text = textwrap.wrap(
        says, _COLUMNS, initial_indent=f"  {name:<{_WIDTH}}", subsequent_indent=indent
    )
    return ("\n".join(text) or f"  {name}") + "\n"
