"""Configs compose, and bad input is answered by one line that says what would be valid."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from runs import call, call_here, choices, composed, refused

from boildown.run.config import SET_BY_RUN, accept_plus, check
from boildown.run.errors import ConfigError, expected

DEEP = "+compression=deep"


@pytest.mark.parametrize(
    "override",
    [
        f"{group}={choice}"
        for group in (
            "budget",
            "compression",
            "data",
            "experiment",
            "logger",
            "model",
            "task",
            "trainer",
        )
        for choice in choices(group)
    ],
)
def test_every_choice_passes_the_check(override: str) -> None:
    cfg = composed(override)
    if OmegaConf.is_missing(cfg.data, "root"):
        cfg.data.root = "somewhere"
    swept = ("experiment=train_big", "experiment=shrinkbench", "experiment=bits")
    if override.startswith(swept):  # their directory is known in a multirun only
        cfg.share_dense = None
    check(cfg)


def test_an_experiment_yields_to_the_command_line() -> None:
    cfg = composed("+experiment=deep_compression_lenet300", "compression.keep.fc1=0.5")
    assert cfg.compression.keep.fc1 == 0.5
    assert cfg.name == "deep_compression_lenet300"
    for experiment in choices("experiment"):
        other = composed(f"experiment={experiment}", "budget.flops=null", "budget.steps=7").budget
        assert (other.steps, other.epochs) == (7, None), experiment


@pytest.mark.parametrize("recipe", ["deep", "lowrank", "lowrank_deep", "prune", "alps"])
def test_a_recipe_has_a_ratio_unless_something_else_decides(recipe: str) -> None:
    assert composed(f"compression={recipe}").compression.ratio > 1
    other = "energy=0.9" if recipe == "lowrank" else "sparsity=0.5"
    for decides in (other, "bytes=4000"):
        cfg = composed(f"compression={recipe}", f"compression.{decides}")
        assert cfg.compression.ratio is None


def test_what_a_run_sets_itself_is_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lightning.pytorch import Trainer

    from boildown.run import job as run

    given: dict[str, Any] = {}

    def built(*_: object, search: bool, **own: Any) -> Trainer:
        given.update(own)
        return Trainer(logger=False, barebones=True)

    monkeypatch.setattr(run, "built", built)
    run._trainer(composed(), tmp_path, [], False, 1)
    assert set(given) == set(SET_BY_RUN)


def test_train_big_gives_small_nets_large_batches() -> None:
    sizes = [
        composed("+experiment=train_big", f"model.width={width}").data.batch_size
        for width in (16, 64, 100000)
    ]
    assert sizes == [1024, 256, 1]


def test_accept_plus_leaves_other_keys_alone() -> None:
    given = ["+compression=deep", "compression=none", "+experiment=a", "+compression.x=1", "-m"]
    wanted = ["compression=deep", "compression=none", "experiment=a", "+compression.x=1", "-m"]
    assert accept_plus(given) == wanted


BAD: list[tuple[Sequence[str], Sequence[str]]] = [  # overrides, what the line must say
    (["compression=dep"], ["compression=dep", "prune", "deep"]),
    (["+compression=dep"], ["compression=dep", "prune", "deep"]),
    (["model=lenet3"], ["model=lenet3", "lenet300"]),
    (["experiment=nope"], ["experiment=nope", "deep_compression_lenet300"]),
    (["compression.prune.sparsty=1"], ["compression.prune.sparsty=1", "compression=deep"]),
    (["+compression.prune.sparsty=1"], ["compression.prune.sparsty=1", "compression=deep"]),
    ([DEEP, "compression.prune.sparsty=1"], ["compression.prune.sparsty=1", "sparsity, flops,"]),
    ([DEEP, "+compression.prune.sparsty=1"], ["compression.prune.sparsty", "sparsity, flops,"]),
    (["compression=none", "compression.prune.sparsity=0.5"], ["prune.sparsity=0.5", "=deep"]),
    ([DEEP, "+compression.rato=3"], ["compression.rato", "3", "ratio, bytes"]),
    ([DEEP, "+compression.scope=layer"], ["compression.scope", "no technique reads it"]),
    ([DEEP, "compression.ratio=0.5"], ["compression.ratio", "above 1", "0.5"]),
    ([DEEP, "compression.ratio=abc"], ["compression.ratio", "above 1", "'abc'"]),
    ([DEEP, "compression.share.begin=soon"], ["compression.share.begin", "0 to 1", "'soon'"]),
    (["+foo=1"], ["foo", "data, model"]),
    (["data=imagefolder"], ["data.root", "must be given"]),
    (["model._target_=nosuch.Net"], ["model._target_", "nosuch.Net"]),
    (["model._target_=boildown.models.Net"], ["model._target_", "boildown.models.Net"]),
    (["+model.width=3"], ["model.width", "3", "input_shape"]),
    (["task.optimizer.lr=-1"], ["task.optimizer.lr", "at least 0", "-1"]),
    (["+learning_rate.peaks.dense=high"], ["learning_rate.peaks.dense", "'high'"]),
    (["learning_rate.shape=null"], ["learning_rate.shape", "_target_"]),
    (["seed=-1"], ["seed", "from 0", "-1"]),
    (["seed=1.5"], ["seed", "whole", "1.5"]),
    (["trainer.accumulate_grad_batches=0"], ["accumulate_grad_batches", "at least 1", "0"]),
    (["+trainer.max_epochs=3"], ["trainer.max_epochs=3", "budget.epochs=..."]),
    (["+trainer.val_check_interval=0.5"], ["trainer.val_check_interval=0.5", "validations=..."]),
    (["+trainer.callbacks=[]"], ["trainer.callbacks=[]", "script of your own"]),
    (["validations=0"], ["validations", "at least 1", "0"]),
    (["resume=maybe"], ["resume", "true or false", "'maybe'"]),
    (["name=[a,b]"], ["name", "text"]),
    (["data=null"], ["data=null", "no such choice", "digits"]),
    (["trainer.precision=16-mixed"], ["trainer.precision=16-mixed", "trainer=amp"]),
    (["loss_scaling.patience=3"], ["loss_scaling", "no such key"]),
    (["trainer=amp", "+loss_scaling.scale=3"], ["loss_scaling.scale", "3", "initial_scale"]),
]


@pytest.mark.parametrize(("overrides", "says"), BAD, ids=lambda value: " ".join(value)[:60])
def test_bad_input_is_refused_without_building(
    overrides: Sequence[str], says: Sequence[str]
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # Hydra's and ours
        check(composed(*overrides), overrides)
    refused(caught.value, says)


BUILT: list[tuple[Sequence[str], Sequence[str]]] = [  # refused by what is built
    ([DEEP, "compression.share.bits=0"], ["share.bits", "1 to 16", "0"]),
    ([DEEP, "compression.share.bits=40"], ["share.bits", "1 to 16", "40"]),
    ([DEEP, "compression.bits=5.5"], ["share.bits", "from 1 to 16", "5.5"]),
    ([DEEP, "compression.bits=0"], ["share.bits", "from 1 to 16", "0"]),
    ([DEEP, "compression.bits={fc1.weight: 17}"], ["share.bits", "17", "'fc1.weight'"]),
    ([DEEP, "compression.sparsity=1.0"], ["prune.sparsity", "[0, 1)", "1.0"]),
    ([DEEP, "compression.sparsity=big"], ["prune.sparsity", "[0, 1)", "'big'"]),
    ([DEEP, "compression.keep={fc1: 1.5}"], ["prune.keep['fc1']", "(0, 1]", "1.5"]),
    ([DEEP, "compression.keep={}"], ["prune.keep", "at least one layer"]),
    ([DEEP, "compression.prune=null"], ["compression.ratio=40", "no technique", "share"]),
    ([DEEP, "compression.ratio=null"], ["give ratio, or one of bytes, sparsity, flops, keep"]),
    (
        [DEEP, "+learning_rate.peaks.shar=0.1"],
        ["learning_rate.peaks.shar", "0.1", "dense, prune, share"],
    ),
    (
        [DEEP, "+compression.mine._target_=torch.nn.Identity"],
        ["compression.mine._target_", "Identity", "no technique", "boildown.callbacks.Technique"],
    ),
    (
        [
            DEEP,
            "+compression.mine._target_=boildown.callbacks.prune.Prune",
            "+compression.mine.name=mine",
        ],
        ["compression.mine.begin = 0.35", "compression.share.end = 1.0", "overlap"],
    ),
    ([DEEP, "compression.init=best"], ["share.init", "optimal", "'best'"]),
    ([DEEP, "compression.keep={nosuch: 0.1}"], ["prune.keep", "'nosuch'", "model.fc1.weight"]),
    ([DEEP, "compression.prune.exclude=[nosuch]"], ["prune.exclude", "'nosuch'", "fc1.weight"]),
    ([DEEP, "compression.share.begin=0.5"], ["share.begin = 0.5", "prune.end = 0.7", "overlap"]),
    ([DEEP, "compression.prune.begin=0.9"], ["prune.begin = 0.9", "prune.end = 0.7"]),
    ([DEEP, "compression.ratio=5000"], ["compression.ratio=5000", "out of reach", "ratio of"]),
    ([DEEP, "compression.bytes=10"], ["10 bytes", "out of reach"]),
    ([DEEP, "compression.bytes=9e9"], ["compression.bytes", "202440"]),
    (
        [DEEP, "compression.sparsity=0.5", "compression.bytes=4000"],
        ["bytes and sparsity", "one of them"],
    ),
    (
        [DEEP, "compression.ratio=20", "compression.sparsity=0.5"],
        ["ratio and sparsity", "one of them", "compression.ratio=null"],
    ),
    ([DEEP, "compression.ratio=20", "compression.bytes=4000"], ["ratio and bytes"]),
    (
        ["compression=lowrank", "compression.ratio=2", "compression.energy=0.9"],
        ["ratio and energy"],
    ),
    (
        ["compression=lowrank_deep", "compression.ratio=20", "compression.keep={fc1: 0.1}"],
        ["ratio and keep"],
    ),
    (["budget.epochs=0"], ["budget.epochs", "positive", "0"]),
    (["budget.epochs=3", "budget.steps=10"], ["exactly one", "epochs", "steps"]),
    (["data.batch_size=0"], ["batch_size", "at least 1", "0"]),
    (["data=mnist", "data.root=/nonexistent", "data.download=false"], ["/nonexistent"]),
    (["data=mnist", "data.root=EMPTY", "data.download=false"], ["train-images-idx3-ubyte"]),
    (["data=mnist", "data.root=CUT", "data.download=false"], ["truncated", "47040016"]),
    (["model=alexnet"], ["67x67", "(1, 8, 8)"]),
    (["trainer.precision=7"], ["trainer.precision", "32-true", "got 7"]),
    (["trainer.accelerator=cpu", "trainer.devices=9999"], ["trainer.devices=9999", "cores"]),
    (["trainer=amp", "loss_scaling.growth_factor=1"], ["growth_factor", "above 1", "1"]),
    (["trainer=amp", "trainer.accelerator=tpu"], ["trainer.accelerator", "'tpu'"]),
    (["trainer=amp", "task.optimizer.fused=true"], ["AdamW(fused=True)", "fused=false"]),
]


class BeganError(Exception):
    """The training began."""


@pytest.mark.parametrize(("overrides", "says"), BUILT, ids=lambda value: " ".join(value)[:60])
@pytest.mark.filterwarnings("ignore")
def test_bad_input_is_refused_before_training(
    overrides: Sequence[str],
    says: Sequence[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from boildown.callbacks.save import SaveNewest
    from boildown.run import job as run

    def began(*_: object) -> None:
        raise BeganError

    monkeypatch.setattr(SaveNewest, "on_train_start", began)
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut").mkdir()
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (60000, 28, 28))
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "cut" / f"{name}-ubyte").write_bytes(header + b"123")
    places = {"EMPTY": tmp_path / "empty", "CUT": tmp_path / "cut"}
    for word, place in places.items():
        overrides = [o.replace(word, str(place)) for o in overrides]
    with pytest.raises(Exception) as caught:  # noqa: PT011  # Hydra's and ours
        run.run(composed(*overrides, "logger=csv"), tmp_path / "run")
    refused(caught.value, says)


def test_a_mistake_in_a_program_keeps_its_traceback() -> None:
    for mistake in (lambda: {}["a"], lambda: int("x"), lambda: [1][2], lambda: 1 / 0):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            mistake()
        assert not expected(caught.value)
    assert expected(ConfigError("said on purpose"))


@pytest.mark.parametrize("start", [call, call_here])
@pytest.mark.parametrize("argument", ["compression=dep", "+foo=1"])
def test_the_command_line_answers_with_one_line(
    argument: str, start: Callable[..., Any], tmp_path: Path
) -> None:
    done = start(f"hydra.run.dir={tmp_path / 'run'}", argument)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("boildown: ")
    assert done.stderr.count("\n") == 1


def test_each_bad_job_of_a_sweep_is_one_line(tmp_path: Path) -> None:
    done = call("-m", "seed=-1,-2", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["boildown", "boildown"]
    assert "sweep/0" in lines[0]
    assert "got -2" in lines[1]


def test_both_spellings_reach_hydra() -> None:
    spellings = ("+compression=deep", "compression=deep")
    shown = {call_here(spelling, "--cfg", "job").stdout for spelling in spellings}
    (text,) = shown
    assert "boildown.callbacks.prune.Prune" in text
