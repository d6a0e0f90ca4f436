"""`callbacks`: Lightning's, or one's own, beside the recipe's."""

import sys
from pathlib import Path

import pytest
from runs import call_here, result_of, rows_of, train

TINY = ("logger=none", "model=mlp", "model.width=16", "validations=20", "budget.epochs=20")
STOP = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=10")  # fmt: skip
OWN = """
from lightning.pytorch import Callback

class Tells(Callback):
    def on_train_end(self, trainer, pl_module):
        print("told by", type(self).__name__)

class Nothing:
    pass
"""


@pytest.fixture
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_callbacks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_callbacks", raising=False)


def test_a_dense_run_is_stopped_early_and_finished(tmp_path: Path) -> None:
    said = train(tmp_path / "run", *TINY, *STOP)
    assert "a callback ended the training at 10% of its budget" in said
    assert float(rows_of(tmp_path / "run")[-1]["progress"]) < 0.2
    assert result_of(tmp_path / "run")["dense"]["metrics"]["test/error"] < 1.0


def test_compression_is_not_stopped_before_its_target(tmp_path: Path) -> None:
    deep = ("+compression=deep", "compression.ratio=10")
    said = train(tmp_path / "run", *TINY, *deep, *STOP)
    assert "a callback ended the training at 9" in said  # after sharing began, and was validated
    result = result_of(tmp_path / "run")
    assert result["target"]["met"]
    assert result["ratio"] >= 10  # biases and norms were rounded, as at the end of a budget


@pytest.mark.usefixtures("_own")
def test_ones_own_beside_lightnings(tmp_path: Path) -> None:
    said = train(
        tmp_path / "run", *TINY, "budget.epochs=2", "validations=2",
        "callbacks=[early_stopping]", "+callbacks.mine._target_=own_callbacks.Tells",
        "+callbacks.keep._target_=lightning.pytorch.callbacks.ModelCheckpoint",
        "+callbacks.keep.monitor=val/loss", f"+callbacks.keep.dirpath={tmp_path / 'kept'}",
    )  # fmt: skip
    assert "told by Tells" in said
    assert list((tmp_path / "kept").glob("*.ckpt"))


@pytest.mark.usefixtures("_own")
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("+callbacks.mine._target_=own_callbacks.Nothing", "makes a Nothing, which is no callback"),
        ("+callbacks.mine._target_=own_callbacks.Gone", "callbacks.mine._target_: cannot find"),
        ("+callbacks.mine.monitor=3", "callbacks.mine: needs a _target_"),
        (
            "+callbacks.mine={_target_: boildown.callbacks.Prune, sparsity: 0.5}",
            "is a technique, which acts in the order of a recipe; say +compression.mine._target_=",
        ),
        ("callbacks=rate_monitor", "LearningRateMonitor"),  # without a logger
    ],
)
def test_what_is_no_callback_of_a_run_is_said(given: str, says: str, tmp_path: Path) -> None:
    done = call_here(given, *TINY, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
