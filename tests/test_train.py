"""Whole Deep Compression runs on the embedded digits: what they leave, and how they go on."""

from pathlib import Path

import numpy as np
import pytest
from runs import Once, call, call_here, kill_in, refused, result_of, rows_of, train

from boildown.run.errors import ConfigError

DEEP = ("+compression=deep", "logger=csv", "budget.steps=120")
SCHEMA = {
    "schema", "name", "seed", "config", "dense", "compressed", "ratio", "compute", "layers",
    "curve", "environment",
}  # fmt: skip


@pytest.fixture(scope="module")
def deep(once: Once) -> Path:
    """Measured as a run is: by a process of its own."""
    return once("deep", lambda directory: train(directory, *DEEP, proof="process"))


def test_a_run_leaves_its_files(deep: Path) -> None:
    left = {path.name for path in deep.iterdir()}
    assert left >= {
        "model.boil", "result.json", "result.png", "metrics.csv", "dense.safetensors",
        "config.yaml", "newest.ckpt",
    }  # fmt: skip
    assert not [name for name in left if name.endswith(".part")]


def test_the_result_has_its_schema(deep: Path) -> None:
    result = result_of(deep)
    assert set(result) >= SCHEMA
    params = 64 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10
    size = (deep / "model.boil").stat().st_size
    assert result["schema"] == 1
    assert (result["dense"]["params"], result["dense"]["bytes"]) == (params, 4 * params)
    assert result["compressed"]["bytes"] == size
    assert result["compressed"]["file"] == "model.boil"
    assert result["ratio"] == pytest.approx(4 * params / size)
    assert set(result["compute"]) >= {"flops", "budget", "seconds", "by_phase"}
    assert result["compute"]["steps"] == 120
    assert list(result["compute"]["by_phase"]) == ["dense", "prune", "share"]
    phases = result["compute"]["by_phase"].values()
    assert sum(phase["flops"] for phase in phases) == result["compute"]["flops"] > 0
    wanted = {"name", "shape", "nonzero", "distinct", "rank", "bits_per_weight", "bytes", "coder"}
    assert all(set(layer) >= wanted for layer in result["layers"])
    assert result["test_samples"] == 360
    sizes = [row["bytes"] for row in result["curve"]]
    assert 4 * params > sizes[0] > 3 * params > 8 * size
    assert size <= sizes[-1] < 1.3 * size  # biases are rounded to fp16 after the last validation
    assert set(result["environment"]) >= {"torch", "lightning", "python", "device", "git"}


def test_the_figures_are_those_of_the_files(deep: Path) -> None:
    import torch
    from safetensors.torch import load_file

    import boildown
    from boildown.data.digits import Digits
    from boildown.models.lenet import LeNet300

    data = Digits(batch_size=64, eval_batch_size=512, val_size=200, seed=0)
    data.prepare()
    (inputs, targets), *more = data.test_dataloader()
    assert not more

    def error(model: torch.nn.Module) -> float:
        with torch.no_grad():
            return float(np.mean(model(inputs).numpy().argmax(1) != targets.numpy()))

    dense = LeNet300(input_shape=data.input_shape, num_classes=10).eval()
    dense.load_state_dict(load_file(deep / "dense.safetensors"))
    result = result_of(deep)
    compressed = boildown.load(deep / "model.boil")
    assert result["compressed"]["metrics"]["test/error"] == pytest.approx(error(compressed))
    assert result["dense"]["metrics"]["test/error"] == pytest.approx(error(dense))
    alive = sum(int(p.count_nonzero()) for p in compressed.parameters())
    assert result["compressed"]["nonzero"] == alive


def test_the_metrics_are_a_table_over_the_budget(deep: Path) -> None:
    rows = rows_of(deep)
    assert set(rows[0]) >= {"progress", "phase", "steps", "flops", "val/error", "prune/sparsity"}
    assert [row["phase"] for row in rows] == sorted(row["phase"] for row in rows)  # d, p, s
    assert float(rows[-1]["progress"]) == 1.0
    assert len(rows) == 20


def test_a_killed_run_resumes_to_the_same_bytes(deep: Path, tmp_path: Path) -> None:
    """From the command line, killed by the system; stopped runs are in run/test_every_recipe.py."""
    directory = tmp_path / "killed"
    kill_in("prune", directory, *DEEP)
    done = call(f"hydra.run.dir={directory}", *DEEP, "+resume=true")
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stdout
    assert (directory / "model.boil").read_bytes() == (deep / "model.boil").read_bytes()
    assert rows_of(directory) == rows_of(deep)
    now, then = result_of(directory), result_of(deep)
    assert now["compute"]["flops"] == then["compute"]["flops"]
    assert now["compressed"] == then["compressed"]


def test_a_finished_run_is_left_alone(deep: Path) -> None:
    names = ("model.boil", "result.json", "metrics.csv", "newest.ckpt", "config.yaml")
    before = {name: (deep / name).read_bytes() for name in names}
    assert "finished" in train(deep, *DEEP, "resume=true")
    assert {name: (deep / name).read_bytes() for name in names} == before


def test_a_run_with_nothing_to_resume_says_so(tmp_path: Path) -> None:
    said = train(tmp_path, "model=mlp", "budget.epochs=1", "validations=1", "resume=true")
    assert "nothing to resume" in said


def test_a_complete_run_is_not_marked_as_failed(deep: Path) -> None:
    done = call_here(f"hydra.run.dir={deep}", *DEEP)
    assert done.returncode == 1
    assert done.stderr.startswith("boildown: ")
    assert done.stderr.count("\n") == 1
    assert "holds an earlier run" in done.stderr
    assert not (deep / "error.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), ("holds an earlier run", "resume=true")),
        (("resume=true", "compression.ratio=20"), ("compression.ratio", "40", "20")),
        (("resume=true", "data.batch_size=32"), ("data.batch_size", "64", "32")),
    ],
)
def test_a_run_is_never_mixed_with_another(
    deep: Path, arguments: tuple[str, ...], says: tuple[str, ...]
) -> None:
    before = (deep / "config.yaml").read_bytes()
    with pytest.raises(ConfigError) as caught:
        train(deep, *DEEP, *arguments)
    refused(caught.value, says)
    assert (deep / "config.yaml").read_bytes() == before


def test_a_dense_run_logs_offline(tmp_path: Path) -> None:
    own = f"hydra.run.dir={tmp_path / 'dense'}"
    done = call(own, "budget.steps=30", "validations=3", "logger=wandb")
    assert done.returncode == 0, done.stderr
    result = result_of(tmp_path / "dense")
    assert len(result["curve"]) == 3
    assert result["ratio"] < 2.0
    assert result["dense"]["metrics"] == result["compressed"]["metrics"]
    assert list((tmp_path / "dense").glob("wandb/offline-run-*/*.wandb"))
