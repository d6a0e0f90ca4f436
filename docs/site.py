"""What mkdocs needs beside the files under docs/: a hook, named in mkdocs.yml.

README.md is the first page; files of the repository that a page links to become pages of their
own; the reference of the configs is made of conf/, that of the code of the modules there are.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from griffe import Extension, Object
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "boildown"
HOMES = {  # files of the repository -> where they are in the site
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changes.md",
}
AS_THEY_ARE = {"decoders/boil.js", "decoders/boil.py", "decoders/digits.html"}  # not made pages of
INNER = {  # parts that only boildown itself and its command line call
    "cli", "commands", "compiled", "files", "forward", "locate", "printable", "report", "run",
    "seeds", "stopwatch",
}  # fmt: skip
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
SHOWN = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash", ".js": "javascript"}


class Doctests(Extension):
    """Show the doctests of a docstring as code, wherever in it they stand."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Fence them."""
        if obj.docstring is not None:
            found = re.compile(r"^>>> .*\n?(?:.+\n?)*", re.M)
            obj.docstring.value = found.sub(_fenced, obj.docstring.value)


def _fenced(code: re.Match[str]) -> str:
    return f"```python\n{code[0].rstrip()}\n```\n"


def on_config(config: Any) -> Any:
    """Add the parts of the package to the reference."""
    (reference,) = (part["Reference"] for part in config.nav if "Reference" in part)
    reference += [{room: f"reference/{room}.md"} for room in _rooms()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    made = {home: _rewritten(file) for file, home in HOMES.items()}
    for file in [*HOMES, *(f"docs/{page.src_uri}" for page in files.documentation_pages())]:
        for target, _ in LINK.findall((ROOT / file).read_text(encoding="utf-8")):
            path = _resolved(file, target)
            made_of = not path.startswith("docs/") and path not in {*HOMES, *AS_THEY_ARE}
            if made_of and (ROOT / path).is_file():
                made[_home(path)] = _source(path)
    made["reference/configs.md"] = _configs()
    made |= {f"reference/{room}.md": _code(room) for room in _rooms()}
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    for path in AS_THEY_ARE:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point the links of a page at where things are in the site."""
    made = page.file.generated_by is not None
    return markdown if made else _linked(f"docs/{page.file.src_uri}", markdown)


def _rewritten(file: str) -> str:
    return _linked(file, (ROOT / file).read_text(encoding="utf-8"))


def _linked(file: str, markdown: str) -> str:
    here = posixpath.dirname(_home(file))

    def point(found: re.Match[str]) -> str:
        path = _resolved(file, found[1])
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{file} links to {found[1]}, which there is not")
        return f"]({posixpath.relpath(_home(path), here or '.')}{found[2] or ''})"

    return LINK.sub(point, markdown)


def _resolved(file: str, target: str) -> str:
    """The file that a link of another means, from the repository's root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), target))


def _home(path: str) -> str:
    """Where a file of the repository is in the site."""
    if path in HOMES or path in AS_THEY_ARE:
        return HOMES.get(path, path)
    return path.removeprefix("docs/") if path.startswith("docs/") else f"code/{path}.md"


def _source(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"# {path}\n\n````{SHOWN.get(Path(path).suffix, 'text')}\n{text}````\n"


def _configs() -> str:
    """Each config as it is: its comments are its documentation."""
    parts = [
        "# Configs\n\nEvery key there is, with its default. `python train.py --help` shows the "
        "choices of each group, `--cfg job` what a command line makes of them.\n",
    ]
    conf = ROOT / "conf"
    for path in sorted(conf.rglob("*.yaml"), key=lambda path: (len(path.parts), path)):
        name = path.relative_to(conf).with_suffix("")
        group = f"{name.parent}=" if name.parent.name else ""
        text = path.read_text(encoding="utf-8").rstrip()
        parts.append(f"## {group}{name.name}\n\n```yaml\n{text}\n```\n")
    return "\n".join(parts)


def _rooms() -> list[str]:
    """The parts of the package that a user of the library calls."""
    return sorted(
        path.stem
        for path in PACKAGE.iterdir()
        if path.stem[0] != "_" and (path.suffix == ".py" or (path / "__init__.py").exists())
        if path.stem not in INNER
    )


def _code(room: str) -> str:
    """The documented modules of a part, by their docstrings."""
    home = PACKAGE / room
    found = sorted(home.glob("*.py")) if home.is_dir() else [home.with_suffix(".py")]
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in found
        if path.stem[0] != "_"
    ]
    return "\n".join([f"# {room}\n", *(f"::: {name}\n" for name in names)])
