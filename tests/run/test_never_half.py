"""A run is never lost, and never half: whatever a kill, a full disk or a hand has left of it."""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import Once, call_here, command, composed, refused, result_of, rows_of, stop_in, train
from torch import nn

from boildown.callbacks.newest import damage
from boildown.checkpoints.checkpoint import save_safetensors
from boildown.files import atomic
from boildown.files.lock import locked
from boildown.run import job
from boildown.run.prove import load_dense
from boildown.run.resume import earlier
from boildown.tasks.classification import Classification

TINY = (
    "+compression=lowrank_deep", "compression.ratio=8", "model=mlp", "model.width=16",
    "budget.steps=60", "validations=6",
)  # fmt: skip
OLD = Path(__file__).parents[1] / "fixtures" / "first_version"
FILES = ("dense.safetensors", "model.boil", "evaluation.json", "result.png", "result.json")
POINTS = 20  # of the moments at which a file appears, from which a resume is tried


@pytest.fixture(scope="module")
def whole(once: Once) -> Path:
    """A run that nothing disturbed, and in moments/ what a kill would have left of it.

    Nothing is lost of what a killed process has written: a copy of the directory, made before a
    file has its name or after, is what a SIGKILL at that moment leaves.
    """

    def fill(directory: Path) -> None:
        run, usual = directory / "run", atomic.appear
        directory.mkdir()

        def appear(part: Path, target: Path) -> None:
            n = len(list(directory.iterdir()))
            shutil.copytree(run, directory / f"{n:03d}-before-{target.name}")
            usual(part, target)
            shutil.copytree(run, directory / f"{n + 1:03d}-after-{target.name}")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(atomic, "appear", appear)
            train(run, *TINY)

    return once("never-half", fill)


@pytest.fixture
def stopped(once: Once, tmp_path: Path) -> Path:
    """A run that was stopped with two checkpoints of the pruning."""
    source = once("never-half-stopped", lambda directory: stop_in("prune", directory, *TINY))
    return Path(shutil.copytree(source, tmp_path / "run"))


@pytest.fixture
def finished(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole / "run", tmp_path / "run"))


def assert_as_undisturbed(directory: Path, whole: Path) -> None:
    run = whole / "run"
    for name in ("model.boil", "dense.safetensors"):
        assert (directory / name).read_bytes() == (run / name).read_bytes(), name
    assert rows_of(directory) == rows_of(run)
    now, then = result_of(directory), result_of(run)
    for key in ("dense", "compressed", "ranks", "layers", "files"):
        assert now[key] == then[key], key
    left = {path.name for path in directory.iterdir()}
    assert left >= {*FILES, "config.yaml", "metrics.csv", "newest.ckpt", "newest.previous.ckpt"}
    assert [name for name in left if name.endswith(".part")] == []
    assert "nothing to do" in train(directory, *TINY, "resume=true")


def goes_on(directory: Path, whole: Path) -> str:
    said = train(directory, *TINY, "resume=true")
    assert_as_undisturbed(directory, whole)
    return said


# Kills


@pytest.mark.parametrize("point", range(POINTS))
def test_a_kill_at_any_files_appearance_is_gone_on_from(
    point: int, whole: Path, tmp_path: Path
) -> None:
    moments = sorted(path for path in whole.iterdir() if path.name != "run")
    last = {path.name[4:]: path for path in moments}  # each kind of moment once, then some others
    chosen = [*last.values(), *(path for path in moments if path not in last.values())]
    assert len(last) < POINTS
    directory = Path(shutil.copytree(chosen[point], tmp_path / "run"))
    goes_on(directory, whole)


def test_every_file_appears_whole(whole: Path) -> None:
    names = {path.name.split("-", 2)[2] for path in whole.iterdir() if path.name != "run"}
    assert names == {*FILES, "config.yaml", "metrics.csv", "newest.ckpt"}


# Damaged checkpoints


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [cut, emptied, flipped])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    harm: Callable[[Path], None], stopped: Path, whole: Path
) -> None:
    harm(stopped / "newest.ckpt")
    says = "newest.ckpt is damaged .*: newest.previous.ckpt, the checkpoint before it, is used"
    with pytest.warns(UserWarning, match=says):
        goes_on(stopped, whole)
    assert damage(stopped / "newest.previous.ckpt") is None


def test_a_checkpoint_that_is_gone_is_done_without(stopped: Path, whole: Path) -> None:
    (stopped / "newest.ckpt").unlink()
    goes_on(stopped, whole)


def test_two_damaged_checkpoints_are_refused(stopped: Path) -> None:
    cut(stopped / "newest.ckpt")
    emptied(stopped / "newest.previous.ckpt")
    with pytest.raises(ValueError, match="damaged") as caught:
        train(stopped, *TINY, "resume=true")
    parts = ("newest.ckpt is damaged", "newest.previous.ckpt is damaged", "empty", "begin the run")
    refused(caught.value, parts)


def test_a_checkpoint_of_the_first_version_has_no_digest_and_is_read(tmp_path: Path) -> None:
    old = Path(shutil.copytree(OLD / "deep.unfinished", tmp_path / "old"))
    assert damage(old / "newest.ckpt") is None
    cut(old / "newest.ckpt")
    assert damage(old / "newest.ckpt") == "it cannot be read"


def test_a_damaged_shared_dense_training_is_done_anew(tmp_path: Path) -> None:
    shared = (*TINY, f"share_dense={tmp_path / 'dense'}")
    train(tmp_path / "first", *shared)
    (checkpoint,) = (tmp_path / "dense").iterdir()
    flipped(checkpoint)
    with pytest.warns(UserWarning, match=r"is damaged .*trained anew"):
        train(tmp_path / "second", *shared)
    assert result_of(tmp_path / "second")["compute"]["reused"] == 0
    assert damage(checkpoint) is None
    boils = [(tmp_path / name / "model.boil").read_bytes() for name in ("first", "second")]
    assert boils[0] == boils[1]


# config.yaml


def altered(path: Path) -> None:
    path.write_text(path.read_text().replace("batch_size: 64", "batch_size: 32"))


def garbled(path: Path) -> None:
    path.write_text("data: [")


@pytest.mark.parametrize("harm", [cut, emptied, garbled, altered, Path.unlink])
def test_a_damaged_config_is_made_again_from_the_checkpoint(
    harm: Callable[[Path], None], stopped: Path
) -> None:
    config = stopped / "config.yaml"
    before = config.read_text()
    harm(config)
    assert earlier(composed("logger=none", *TINY, "resume=true"), stopped) is None
    assert config.read_text() == before


def test_a_resumed_run_leaves_the_config_as_it_is(stopped: Path, whole: Path) -> None:
    before = (stopped / "config.yaml").stat().st_mtime_ns
    goes_on(stopped, whole)
    assert (stopped / "config.yaml").stat().st_mtime_ns == before


def test_a_config_that_nothing_holds_is_refused(tmp_path: Path) -> None:
    old = Path(shutil.copytree(OLD / "deep.unfinished", tmp_path / "old"))
    for harm, what in ((emptied, "is damaged"), (Path.unlink, "is missing")):
        harm(old / "config.yaml")
        with pytest.raises(ValueError, match=what) as caught:
            train(old, *TINY, "resume=true")
        refused(caught.value, ("config.yaml", "put it back", "another directory"))


def test_a_config_before_any_checkpoint_may_be_lost(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("data: [")
    goes_on(tmp_path / "run", whole)


# What is finished


@pytest.mark.parametrize("name", ["metrics.csv", "evaluation.json", "result.png"])
def test_what_a_result_holds_is_made_again_from_it(name: str, finished: Path, whole: Path) -> None:
    (finished / name).unlink()
    for checkpoint in finished.glob("*.ckpt"):
        checkpoint.unlink()
    said = train(finished, *TINY, "resume=true")
    assert name in said
    assert "nothing to do" in said
    assert rows_of(finished) == rows_of(whole / "run")
    now, then = ((run / "evaluation.json").read_text() for run in (finished, whole / "run"))
    assert json.loads(now) == json.loads(then)


@pytest.mark.parametrize("harm", [cut, flipped, Path.unlink])
@pytest.mark.parametrize("name", ["model.boil", "result.json"])
def test_a_result_without_its_file_is_not_finished(
    name: str, harm: Callable[[Path], None], finished: Path, whole: Path
) -> None:
    if name == "result.json" and harm is flipped:
        (finished / name).write_text("{}")
    else:
        harm(finished / name)
    assert "resuming" in goes_on(finished, whole)


@pytest.mark.parametrize("harm", [cut, flipped, Path.unlink])
def test_a_damaged_dense_model_is_noticed_before_any_training(
    harm: Callable[[Path], None], stopped: Path
) -> None:
    harm(stopped / "dense.safetensors")
    checkpoint = (stopped / "newest.ckpt").read_bytes()
    with pytest.raises((ValueError, OSError)) as caught:
        train(stopped, *TINY, "resume=true")
    gone = harm is Path.unlink
    refused(
        caught.value, ("dense.safetensors", "is gone" if gone else "is damaged", "put the file")
    )
    assert (stopped / "newest.ckpt").read_bytes() == checkpoint


def test_a_cut_dense_model_of_the_first_version_is_noticed(tmp_path: Path) -> None:
    old = Path(shutil.copytree(OLD / "lowrank_deep.unfinished", tmp_path / "old"))
    os.truncate(old / "dense.safetensors", (old / "dense.safetensors").stat().st_size - 1)
    small = ("model=mlp", "model.width=16", "budget.epochs=30", "validations=30")
    recipe = ("+compression=lowrank_deep", "compression.ratio=12")
    with pytest.raises(ValueError, match=r"dense.safetensors.* is damaged"):
        train(old, *small, *recipe, "resume=true")


def test_a_finished_run_without_file_and_checkpoint_is_refused(finished: Path) -> None:
    for path in (finished / "model.boil", *finished.glob("*.ckpt")):
        path.unlink()
    with pytest.raises(ValueError, match=r"model\.boil") as caught:
        train(finished, *TINY, "resume=true")
    refused(caught.value, ("result.json", "gone or damaged", "no newest.ckpt"))
    assert (finished / "result.json").exists()


def test_the_dense_model_is_loaded_to_the_last_tensor(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = tmp_path / "dense.safetensors"
    save_safetensors({name: t for name, t in state.items() if name != "1.weight"}, path)
    with torch.no_grad():
        model[0].weight.zero_()
    load_dense(model, path)  # one name of tied tensors is enough
    assert torch.equal(model[1].weight, state["0.weight"])
    for changed in (
        {name: t for name, t in state.items() if name != "0.bias"},
        state | {"2.weight": torch.zeros(1)},
    ):
        save_safetensors(changed, path)
        with pytest.raises(ValueError, match=r"does not fit the model of config.yaml"):
            load_dense(model, path)


# Signals


def signalled(monkeypatch: pytest.MonkeyPatch, number: int, step: int) -> None:
    """Send this process a signal in a training step."""
    usual, steps = Classification.training_step, 0

    def training_step(self: Classification, *args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), number)
        return usual(self, *args)

    monkeypatch.setattr(Classification, "training_step", training_step)


@pytest.fixture
def _in_front() -> Iterator[None]:
    """The handlers of a process in front, which one that a shell put behind lacks."""
    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_in_front")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
@pytest.mark.parametrize("step", [7, 20, 47])  # between validations and before one
def test_a_run_that_is_asked_to_stop_saves_and_says_so(
    number: int, code: int, step: int, whole: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        signalled(patched, number, step)
        stopped = call_here(f"hydra.run.dir={tmp_path / 'run'}", "logger=none", *TINY)
    assert stopped.returncode == code
    assert f"stopped; resume=true hydra.run.dir={tmp_path / 'run'} goes on" in stopped.stdout
    assert "Traceback" not in stopped.stderr
    states = torch.load(tmp_path / "run" / "newest.ckpt", weights_only=True)["callbacks"]
    assert states["ComputeBudget"]["steps"] == step
    assert not (tmp_path / "run" / "error.json").exists()
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert handlers == (signal.SIG_DFL, signal.default_int_handler)
    goes_on(tmp_path / "run", whole)


@pytest.mark.usefixtures("_in_front")
def test_a_sweep_that_is_asked_to_stop_starts_no_other_run(whole: Path, tmp_path: Path) -> None:
    sweep = ("-m", f"hydra.sweep.dir={tmp_path}", "seed=0,1", "logger=none", *TINY)
    with pytest.MonkeyPatch.context() as patched:
        signalled(patched, signal.SIGTERM, 20)
        stopped = call_here(*sweep)
    assert stopped.returncode == 75
    assert f"same command with resume=true hydra.sweep.dir={tmp_path}" in stopped.stdout
    assert "Traceback" not in stopped.stderr
    assert not (tmp_path / "1").exists()
    resumed = call_here(*sweep, "resume=true")
    assert resumed.returncode == 0, resumed.stderr
    assert_as_undisturbed(tmp_path / "0", whole)
    assert (tmp_path / "1" / "result.json").exists()


@pytest.mark.usefixtures("_in_front")
def test_ctrl_c_in_the_evaluation(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    with monkeypatch.context() as patched:
        patched.setattr(job, "proven", evaluate)
        stopped = call_here(f"hydra.run.dir={tmp_path / 'run'}", "logger=none", *TINY)
    assert stopped.returncode == 130
    assert "stopped; resume=true" in stopped.stdout
    assert "Traceback" not in stopped.stderr
    goes_on(tmp_path / "run", whole)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs a core for each process")
@pytest.mark.parametrize("devices", [1, 2])
def test_sigterm_from_outside(devices: int, tmp_path: Path) -> None:
    """To the leading process alone, as `kill` sends it."""
    directory = tmp_path / "run"
    many = ("trainer.accelerator=cpu", f"trainer.devices={devices}", "budget.steps=20000")
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command(f"hydra.run.dir={directory}", "logger=none", *TINY, *many, "validations=1000"),
            stdout=out,
            stderr=out,
        )
        end = time.monotonic() + 120
        while time.monotonic() < end and not rows_of(directory) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 75, log.read_text()
    assert log.read_text().count("stopped; resume=true") == 1
    assert "Traceback" not in log.read_text()
    assert damage(directory / "newest.ckpt") is None


# Two processes, full disks, read-only disks


def test_a_directory_in_use_is_refused(stopped: Path) -> None:
    kinds = (".ckpt", ".yaml", ".csv")
    before = {p: p.stat().st_mtime_ns for p in stopped.iterdir() if p.suffix in kinds}
    with locked(stopped):
        done = call_here(f"hydra.run.dir={stopped}", "logger=none", *TINY, "resume=true")
    assert done.returncode == 1
    assert f"boildown: {stopped} is in use by process {os.getpid()} on " in done.stderr
    assert done.stderr.count("\n") == 1
    kept = {
        path: time for path, time in before.items() if path.suffix in (".ckpt", ".yaml", ".csv")
    }
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not (stopped / "error.json").exists()


def test_a_full_disk_leaves_no_empty_file(
    stopped: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(part: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "appear", full)
        done = call_here(f"hydra.run.dir={stopped}", "logger=none", *TINY, "resume=true")
    assert done.returncode == 1
    assert "boildown: " in done.stderr
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (stopped / "error.json").exists()
    assert [path for path in stopped.iterdir() if path.name.endswith(".part")] == []
    goes_on(stopped, whole)


def test_a_checkpoint_without_room_is_answered_in_one_line(stopped: Path, whole: Path) -> None:
    """What torch makes of a failing write has no word of the disk."""
    before = (stopped / "newest.ckpt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        done = call_here(f"hydra.run.dir={stopped}", "logger=none", *TINY, "resume=true")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.returncode == 1
    assert f"boildown: [Errno 27] File too large: '{stopped / 'newest.ckpt'}'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (stopped / "newest.ckpt").read_bytes() == before
    goes_on(stopped, whole)


@pytest.fixture
def read_only(tmp_path: Path, stopped: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount")
    try:
        run = shutil.copytree(stopped, place / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield Path(run)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_read_only_disk_is_answered_in_one_line(read_only: Path) -> None:
    done = call_here(f"hydra.run.dir={read_only}", "logger=none", *TINY, "resume=true")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert done.stderr.count("\n") == 1


def test_leftovers_are_removed_at_the_start(stopped: Path, whole: Path) -> None:
    for name in ("newest.ckpt.part", f".newest.ckpt.{'0' * 32}.part"):
        (stopped / name).write_bytes(b"half")
    goes_on(stopped, whole)


# A loss that explodes


def test_a_loss_that_explodes_is_said_once(tmp_path: Path) -> None:
    exploding = ("model=mlp", "model.width=16", "budget.steps=20", "validations=5")
    with pytest.warns(UserWarning, match="the loss has exploded") as caught:
        train(tmp_path / "run", *exploding, "task.optimizer.lr=1e6")
    (said,) = [str(w.message) for w in caught if "exploded" in str(w.message)]
    assert "task.optimizer.lr" in said
    assert "no checkpoint from before it" in said


def test_the_last_state_before_an_explosion_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, usual = tmp_path / "run", Classification.training_step
    calls = 0

    def exploding(self: Classification, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 30:
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter.mul_(1e6)
        return usual(self, *args)

    small = ("model=mlp", "model.width=16", "budget.steps=60", "validations=6")
    with monkeypatch.context() as patched:
        patched.setattr(Classification, "training_step", exploding)
        with pytest.warns(UserWarning, match="stays in newest.previous.ckpt"):
            train(directory, *small)
    kept = torch.load(directory / "newest.previous.ckpt", weights_only=True)["callbacks"]
    assert kept["ComputeBudget"]["steps"] == 20
    for name in ("newest.ckpt", "result.json"):
        (directory / name).unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(directory, *small, "resume=true")  # goes on from there, and nothing explodes
    assert result_of(directory)["curve"][-1]["val/loss"] < 10
