"""What loggers keep of runs, read back from wandb's offline files alone; and loggers that fail."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.loggers import Logger
from runs import CONF, Once, call_here, composed, refused, result_of, train

from boildown.report.compare import pareto_front
from boildown.run import run
from boildown.run.errors import ConfigError
from boildown.run.wandb_file import complete, records

TINY = ("model=mlp", "model.width=16", "validations=5", "budget.epochs=5")
DEEP = ("+compression=deep", "compression.ratio=5,8", "seed=0,1")


class Kept:
    """A run as its offline file has it."""

    def __init__(self, file: Path) -> None:
        from wandb.proto import wandb_internal_pb2

        protocol: Any = wandb_internal_pb2
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.artifacts: list[Any] = []
        self.metrics: dict[str, Any] = {}
        for data in records(file):
            record = protocol.Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.run = record.run
                self.config |= _items(record.run.config.update)
            elif kind == "config":
                self.config |= _items(record.config.update)
            elif kind == "summary":
                self.summary |= _items(record.summary.update)
            elif kind == "history":
                self.rows.append(_items(record.history.item))
            elif kind == "artifact" and record.artifact.type in ("model", "result"):
                self.artifacts.append(record.artifact)
            elif kind == "metric":
                self.metrics[record.metric.glob_name or record.metric.name] = record.metric


def _items(items: Any) -> dict[str, Any]:
    return {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}


def kept_in(directory: Path) -> list[Kept]:
    """All runs below a directory."""
    return [Kept(file) for file in sorted(directory.rglob("offline-run-*/run-*.wandb"))]


@pytest.fixture(scope="module")
def sweep(once: Once) -> Path:
    def fill(directory: Path) -> None:
        done = call_here("-m", f"hydra.sweep.dir={directory}", *TINY, *DEEP)
        assert done.returncode == 0, done.stderr

    return once("wandb_sweep", fill)


def test_the_runs_of_a_sweep_can_be_told_apart(sweep: Path) -> None:
    kept = kept_in(sweep)
    assert sorted(k.run.display_name for k in kept) == [
        f"mlp-digits-deep ratio={ratio} seed={seed}" for ratio in (5, 8) for seed in (0, 1)
    ]
    assert {(k.run.run_group, k.run.job_type) for k in kept} == {("wandb_sweep", "deep")}
    assert all(list(k.run.tags) == ["mlp", "digits", "deep"] for k in kept)
    asked = {(k.config["compression"]["ratio"], k.config["seed"]) for k in kept}
    assert asked == {(5, 0), (5, 1), (8, 0), (8, 1)}
    assert all(k.config["model"]["width"] == 16 for k in kept)


def test_the_pareto_front_can_be_rebuilt_from_wandbs_files_alone(sweep: Path) -> None:
    def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [points[i] for i in pareto_front(points)]

    logged = [
        (k.summary["final/bytes"], k.summary["compressed/test/error"]) for k in kept_in(sweep)
    ]
    results = [result_of(path.parent) for path in sweep.rglob("result.json")]
    true = [(r["compressed"]["bytes"], r["compressed"]["metrics"]["test/error"]) for r in results]
    assert len(logged) == 4
    assert front(logged) == front(true)


def test_every_validation_is_a_row_with_all_axes(sweep: Path) -> None:
    kept = kept_in(sweep)[0]
    rows = [row for row in kept.rows if "val/error" in row]
    assert len(rows) == 5
    for row in rows:
        assert {"progress", "flops", "epochs", "steps", "train/loss"} <= set(row)
    assert [row["progress"] for row in rows] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert kept.metrics["*"].step_metric == "progress"
    assert (
        rows[-1]["flops"] == result_of(next(sweep.rglob("result.json")).parent)["compute"]["flops"]
    )
    least = min(row["val/error"] for row in rows)
    assert kept.summary["val/error"] == {"min": least, "last": rows[-1]["val/error"]}


def test_what_each_layer_holds_is_logged_over_time(sweep: Path) -> None:
    kept = kept_in(sweep)[0]
    layers = [row for row in kept.rows if any(key.startswith("sparsity/") for key in row)]
    first, last = layers[0], layers[-1]
    weights = [key.partition("/")[2] for key in last if key.startswith("sparsity/")]
    assert weights
    assert all("progress" in row for row in layers)
    for weight in weights:
        assert first.get(f"sparsity/{weight}", 0.0) <= last[f"sparsity/{weight}"] < 1.0
        assert 1 <= last[f"distinct/{weight}"] <= 2 ** last[f"bits/{weight}"]


def test_the_end_has_tables_histograms_and_files(sweep: Path) -> None:
    kept = kept_in(sweep)[0]
    weight = next(k for k in kept.summary if k.startswith("weights_dense/")).split("/")[1]
    before, after = (
        {k.split("/")[-1]: v for k, v in kept.summary.items() if k.startswith(f"{which}/{weight}/")}
        for which in ("weights_dense", "weights_compressed")
    )
    assert before["bins"] == after["bins"]  # over one range
    assert sum(before["values"]) > sum(after["values"]) > 0  # of what is not zero
    packed, result, dense = (
        next(a for a in kept.artifacts if a.name.endswith(end))
        for end in ("deep", "result", "before")
    )
    assert [e.path for e in dense.manifest.contents] == ["dense.safetensors"]
    assert [e.path for e in packed.manifest.contents] == ["model.boil"]
    assert sorted(e.path for e in result.manifest.contents) == ["result.json", "result.png"]
    assert dense.use_after_commit  # the run takes it in
    assert not packed.use_after_commit  # and makes this
    assert json.loads(packed.metadata)["made_of"].startswith(dense.name)


def test_the_layer_table_has_numbers(sweep: Path) -> None:
    (file, *_) = sweep.rglob("layers_*.table.json")
    table = json.loads(file.read_text())
    for row in table["data"]:
        cells = dict(zip(table["columns"], row, strict=True))
        assert all(isinstance(cells[k], int | float) for k in ("nonzero", "distinct", "bytes"))


def test_several_loggers_keep_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    recipe = ("+compression=lowrank", "compression.ratio=4")
    monkeypatch.delenv("WANDB_SILENT")
    loud = "logger.wandb.settings.silent=false"
    train(tmp_path, *recipe, *TINY, "logger=[wandb,tensorboard,csv]", loud)
    assert "anonymous" not in capfd.readouterr().err  # of which wandb warns by itself
    (kept,) = kept_in(tmp_path)
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    errors = [event.value for event in events.Scalars("val/error")]
    assert errors == pytest.approx([row["val/error"] for row in kept.rows if "val/error" in row])
    assert any(tag.startswith("rank/") for tag in events.Tags()["scalars"])
    assert events.Scalars("final/bytes")[-1].value == kept.summary["final/bytes"]


def test_the_loss_scale_is_logged(tmp_path: Path) -> None:
    train(tmp_path, *TINY, "trainer=amp", "logger=wandb")
    (kept,) = kept_in(tmp_path)
    assert all(row["amp/scale"] > 0 for row in kept.rows if "val/error" in row)


class Failing(Logger):
    """A logger that a full disk ends in the middle of a run."""

    name, version = "failing", 0

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass

    def log_metrics(self, *_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")


class KillsWandb(Failing):
    """A logger that kills wandb's service instead."""

    def log_metrics(self, *_: Any, **__: Any) -> None:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, _, rest = stat.read_text().rpartition(")")
            except OSError:  # it has ended
                continue
            if rest.split()[1] == str(os.getpid()) and "wandb-core" in name:
                os.kill(int(stat.parent.name), signal.SIGKILL)


@pytest.mark.parametrize(
    ("loggers", "says"),
    [
        (("logger=csv", "+logger.bad._target_=test_loggers.Failing"), "bad has failed"),
        (("logger=wandb", "+logger.bad._target_=test_loggers.KillsWandb"), "wandb has failed"),
        (("logger=csv", "+logger.bad._target_=collections.Counter"), "bad cannot start"),
    ],
)
def test_a_logger_that_fails_does_not_end_the_run(
    loggers: tuple[str, str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "first", *TINY, *loggers)
    said = capsys.readouterr().err
    assert said.count("boildown: ") == 1
    assert says in said
    assert result_of(tmp_path / "first")["curve"]
    train(tmp_path / "next", *TINY, "logger=wandb")
    assert kept_in(tmp_path / "next")[0].summary["final/bytes"]
    assert not capsys.readouterr().err


def test_a_run_needs_no_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning.pytorch.loggers.wandb._WANDB_AVAILABLE", False)
    train(tmp_path, *TINY, "logger=wandb")
    said = capsys.readouterr().err
    assert said.startswith("boildown: wandb cannot start")
    assert said.count("\n") == 1
    assert result_of(tmp_path)["curve"]


def test_a_cut_file_is_noticed(sweep: Path, tmp_path: Path) -> None:
    whole = next(sweep.glob("0/wandb/offline-run-*/run-*.wandb"))
    assert complete(whole)
    for length in (0, 5, 4096, whole.stat().st_size - 200):
        cut = tmp_path / "run-cut.wandb"
        cut.write_bytes(whole.read_bytes()[:length])
        assert not complete(cut)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("logger.mode=onlin", ("logger.mode", "onlin", "offline")),
        ("+logger.projekt=mine", ("logger.projekt", "mine")),
        ("+logger.other._target_=nothing.Here", ("logger.other._target_",)),
    ],
)
def test_loggers_are_checked_before_the_training(
    override: str, says: tuple[str, ...], tmp_path: Path
) -> None:
    cfg = composed("logger=wandb", *TINY, override)
    with pytest.raises(ConfigError) as caught:
        run(cfg, tmp_path / "run")
    refused(caught.value, says)
    assert not (tmp_path / "run").exists()


def test_wandbs_search_drives_a_run(tmp_path: Path) -> None:
    """As its agent would: each macro of the command in its place, the parameters as overrides."""
    search = yaml.safe_load((CONF / "wandb_sweep.yaml").read_text())
    assert search["method"] == "bayes"
    ratio = search["parameters"]["compression.ratio"]
    said = [part for part in search["command"] if not part.startswith("${")]
    moved = [p.replace("outputs/", f"{tmp_path}/").replace("=online", "=offline") for p in said]
    done = call_here(*moved, f"compression.ratio={ratio['min']}", *TINY)
    assert done.returncode == 0, done.stderr
    (kept,) = kept_in(tmp_path)
    assert isinstance(kept.summary[search["metric"]["name"]], float)
