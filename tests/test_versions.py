"""The versions tested are the oldest and the newest of those that pyproject.toml allows."""

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from runs import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = {
    wanted.name: wanted
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for wanted in map(Requirement, group)
    if wanted.name != PROJECT["name"]
}
NOT_RUN_BY_TESTS = {"mkdocs-material", "mkdocstrings", "mypy", "ruff"}
FROM_THE_NEWEST = {"torch"}  # constraints-min.txt says why


def pinned(file: str) -> dict[str, Version]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {name: Version(version) for name, version in pins}


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_the_newest_pin_is_one_that_is_allowed(name: str) -> None:
    assert REQUIRED[name].specifier.contains(pinned("constraints.txt")[name])


def test_the_oldest_pins_are_of_all_that_the_tests_run() -> None:
    assert set(pinned("constraints-min.txt")) == set(REQUIRED) - NOT_RUN_BY_TESTS


@pytest.mark.parametrize("name", sorted(set(REQUIRED) - NOT_RUN_BY_TESTS))
def test_the_oldest_pin_is_the_lower_bound(name: str) -> None:
    (bound,) = [Version(s.version) for s in REQUIRED[name].specifier if s.operator == ">="]
    oldest = pinned("constraints.txt")[name] if name in FROM_THE_NEWEST else bound
    assert pinned("constraints-min.txt")[name] == oldest
