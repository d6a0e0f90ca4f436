"""The doors of the package: short imports, the version, and techniques that work alone."""

import inspect
import runpy
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch
from fits import fit

import boildown
from boildown import callbacks
from boildown.callbacks import Constraint, LearnRanks, Prune, ShareWeights, Technique
from boildown.cli import main


def test_every_callback_is_found_by_its_name_without_a_list() -> None:
    names = dir(callbacks)
    assert {"ComputeBudget", "LearnRanks", "Prune", "ShareWeights", "Technique"} <= set(names)
    for name in names:
        kind = getattr(callbacks, name)
        assert inspect.isclass(kind)
        assert kind.__module__.startswith("boildown.callbacks.")
    assert issubclass(Constraint, Technique)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = callbacks.Nothing


def test_the_short_import_takes_no_longer_than_what_it_needs() -> None:
    code = (
        "import sys, boildown.callbacks, boildown.schedule; print('torch' in sys.modules);"
        "from boildown.callbacks import Prune; print('boildown.callbacks.share' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_version_is_said_everywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert boildown.__version__ == version("boildown")
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    monkeypatch.setattr(sys, "argv", ["boildown", "--version"])
    with pytest.raises(SystemExit) as again:
        runpy.run_module("boildown", run_name="__main__")
    assert (ended.value.code, again.value.code) == (0, 0)
    assert capsys.readouterr().out.splitlines() == [f"boildown {boildown.__version__}"] * 2


def test_prune_alone_does_what_one_expects() -> None:
    _, model = fit([Prune(sparsity=0.9)], max_epochs=10)
    weights = torch.cat([p.detach().flatten() for p in model.parameters() if p.ndim > 1])
    assert float((weights == 0).float().mean()) == pytest.approx(0.9, abs=0.01)


def test_sharing_alone_does_what_one_expects() -> None:
    _, model = fit([ShareWeights()], max_epochs=10)
    assert all(len(p.unique()) <= 2**5 for p in model.parameters() if p.ndim > 1)


@pytest.mark.parametrize("technique", [Prune, LearnRanks])
def test_how_much_must_be_said(technique: type[Technique]) -> None:
    with pytest.raises(ValueError, match=r"how much .* such as"):
        fit([technique()])


def test_a_technique_whose_act_nothing_calls_is_no_class() -> None:
    with pytest.raises(TypeError, match=r"Idle\.act would never be called.*Constraint"):
        type("Idle", (Technique,), {"act": lambda self, *_: None})
    type("Holding", (Constraint,), {"act": lambda self, *_: None})
