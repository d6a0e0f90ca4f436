"""boildown.run.allowed: a run's directory from a stranger is measured, and nothing of it is run."""

import copy
import pickle
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from runs import config_of_a_run
from safetensors.torch import save_file

from boildown import codec
from boildown.cli import main
from boildown.models.mlp import MLP
from boildown.run import prove
from boildown.run.allowed import check_allowed
from boildown.run.errors import ConfigError

CONFIG = config_of_a_run([4])
MODEL = CONFIG["model"]
RAN = "ran"  # the file that whatever is run or imported leaves
LEAVE = f"__import__('pathlib').Path({RAN!r}).touch()"


class Pickled:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (LEAVE,)


def with_node(place: str, node: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    *above, last = place.split(".")
    inside = config
    for key in above:
        inside = inside[key]
    inside[last] = node
    return config


def write(directory: Path, config: dict[str, Any]) -> None:
    OmegaConf.save(OmegaConf.create(config), directory / "config.yaml")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run beside the working directory, which is empty, and an installed module that tells."""
    directory, here, installed = (tmp_path / name for name in ("run", "here", "installed"))
    for place in (directory, here, installed):
        place.mkdir()
    state = MLP((1, 8, 8), 10, [4]).state_dict()
    save_file(state, directory / "dense.safetensors")
    codec.pack(state, directory / "model.boil", config=MODEL)
    codec.pack(state, directory / "named.boil", config={"_target_": "told_boil.Net"})
    (directory / "pickled.pt").write_bytes(pickle.dumps(Pickled()))
    (directory / "hubconf.py").write_text(f"{LEAVE}\ndef net(): pass\n")
    (installed / "told_boil.py").write_text(f"{LEAVE}\nimport os\nclass Net: pass\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(installed)])
    monkeypatch.chdir(here)
    write(directory, CONFIG)
    yield directory
    for name in ("my_nets", "nets", "nets.mine", "told_boil", "hubconf", "deploy"):
        sys.modules.pop(name, None)


def asked(command: str, run: Path, monkeypatch: pytest.MonkeyPatch, *allow: str) -> int | str:
    """What a command says: its exit code, or its last word."""
    allowed = [f"--allow={name}" for name in allow]
    if command == "sensitivity":
        return main(["sensitivity", str(run), "--levels", "1", *allowed])
    monkeypatch.setattr(sys, "argv", ["prove", str(run), *allowed])
    try:
        prove.main()
    except SystemExit as left:
        return left.code or 0
    return 0


HOSTILE = {
    "os.system": {"command": f"touch {RAN}"},
    "subprocess.run": {"args": ["touch", RAN]},
    "builtins.eval": {"_args_": [LEAVE]},
    "builtins.exec": {"_args_": [LEAVE]},
    "torch.hub.load": {"repo_or_dir": "../run", "model": "net", "source": "local"},
    "torch.load": {"f": "../run/pickled.pt", "weights_only": False},
    "torch.nn.modules.module.torch.load": {"f": "../run/pickled.pt", "weights_only": False},
    "boildown.cli.main": {"argv": ["unpack", "../run/model.boil", "-o", RAN]},
    "boildown.load": {"path": "../run/named.boil", "trust_config": True},
    "boildown.loading.load": {"path": "../run/named.boil", "trust_config": True},
    "boildown.models.build": {"config": {"path": "told_boil.Net"}, "trust": True},
    "boildown.locate.locate": {"path": "told_boil.Net"},
    "boildown.__main__.main": {"argv": ["unpack", "../run/model.boil", "-o", RAN]},
    "boildown.data.download.fetch": {"urls": [], "path": RAN, "checksum": "", "timeout": 1},
    "hydra.utils.instantiate": {"config": {"_args_": [LEAVE]}},
    "lightning.pytorch.Trainer": {"default_root_dir": RAN},
    "torchmetrics.text.bert.BERTScore": {"model_name_or_path": "../run"},
    "torch.nn.Linear.__init__": {"in_features": 1, "out_features": 1},
    "torch.nn.functional.relu": {},
    "told_boil.Net": {},
    "told_boil.os.system": {"command": f"touch {RAN}"},
    ".os.system": {"command": f"touch {RAN}"},
    "os": {},
    "": {},
}


@pytest.mark.parametrize("place", ["data", "model", "task", "task.optimizer", "model.widths"])
@pytest.mark.parametrize("command", ["sensitivity", "prove"])
def test_what_a_strangers_config_names_is_neither_imported_nor_run(
    command: str,
    place: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for target, arguments in HOSTILE.items():
        before = set(sys.modules)
        for partial in (False, True) if place == "task.optimizer" else (False,):
            node = {"_target_": target, **arguments} | ({"_partial_": True} if partial else {})
            write(run, with_node(place, node))
            code = asked(command, run, monkeypatch)
            said = capsys.readouterr()
            lines = [code] if command == "prove" else said.err.splitlines()
            (line,) = lines
            says = f"{place}._target_: {target} is not among what a config from a file may build"
            assert " ".join(says.split()) in str(line)
            assert "\n" not in str(line)
            assert said.out == ""
            assert not Path(RAN).exists(), target
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        assert not new & {"told_boil", "subprocess", "hubconf"}, target


def test_a_target_in_an_interpolation_is_none_however_often_it_is_escaped(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for depth in range(5):
        text = "\\" * (2**depth - 1) + "${oc.create:{_target_: told_boil.Net}}"
        for place in ("model.widths", "data.seed", "task.optimizer", "model", "data"):
            write(run, with_node(place, text))
            for command in ("sensitivity", "prove"):
                code = asked(command, run, monkeypatch)
                assert code != 0
                assert "told_boil" not in sys.modules, (depth, place)
    capsys.readouterr()


@pytest.mark.parametrize("part", ["data", "model", "task"])
@pytest.mark.parametrize("node", [None, "os.system", [], {"seed": 0}, {"_target_": 3}])
def test_a_part_without_a_target_is_named(part: str, node: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{part}: needs a _target_"):
        check_allowed(OmegaConf.create(with_node(part, node)))


@pytest.mark.parametrize(
    "target",
    [
        "boildown.models.lenet.LeNet300",
        "boildown.models.transformer.GPT",
        "torch.nn.Sequential",
        "torch.nn.modules.linear.Linear",
        "torch.optim.AdamW",
        "torch.optim.adamw.AdamW",
        "torchmetrics.Accuracy",
        "torchmetrics.classification.MulticlassAccuracy",
        "boildown.task.Classification",
    ],
)
def test_parts_of_networks_and_of_training_are_allowed(target: str) -> None:
    check_allowed(OmegaConf.create(with_node("task.part", {"_target_": target})))


NET = """
import torch.nn as nn
from os import system
from boildown.models.mlp import MLP as Base

class Mine(Base):
    pass

class Helper:
    def __init__(self, *args, **kwargs):
        open("ran", "w")

def made(**kwargs) -> nn.Module:
    return Base(**kwargs)

def wipe(**kwargs):
    open("ran", "w")

part = __import__("functools").partial(system, "touch ran")
"""


@pytest.mark.parametrize("command", ["sensitivity", "prove"])
@pytest.mark.parametrize("name", ["Mine", "made"])
def test_a_model_of_the_working_directory_is_said(
    command: str,
    name: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("my_nets.py").write_text(NET)
    write(run, with_node("model", MODEL | {"_target_": f"my_nets.{name}", "widths": [4]}))
    if name == "made":  # which says nothing of shapes
        write(
            run,
            with_node(
                "model",
                {
                    "_target_": "my_nets.made",
                    "widths": [4],
                    "input_shape": [1, 8, 8],
                    "num_classes": 10,
                },
            ),
        )
    assert asked(command, run, monkeypatch) == 0
    assert f"model: my_nets.{name}, from {Path.cwd()}\n" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["Helper", "wipe", "system", "part", "nn.Linear", "Nothing"])
def test_what_makes_no_model_is_not_called(
    target: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("my_nets.py").write_text(NET)
    for place in ("model", "data", "task.optimizer"):
        config = with_node(place, {"_target_": f"my_nets.{target}"})
        with pytest.raises(ConfigError, match=f"{place}._target_: my_nets.{target} is not among"):
            check_allowed(OmegaConf.create(config), (), run)
        assert not Path(RAN).exists()


def test_a_script_that_defines_no_such_thing_is_not_even_imported(run: Path) -> None:
    Path("deploy.py").write_text(f"{LEAVE}\n")
    Path("broken.py").write_text("class Net(:\n")
    for target in ("deploy.Net", "deploy.main", "broken.Net"):
        with pytest.raises(ConfigError, match="is not among"):
            check_allowed(OmegaConf.create(with_node("model", {"_target_": target})), (), run)
    assert not Path(RAN).exists()


def test_a_shadowed_module_of_the_working_directory_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{LEAVE}\nfrom torch import nn\nclass Net(nn.Module): pass\n"
    loaded = types.ModuleType("loaded_boil")  # without a spec
    monkeypatch.setitem(sys.modules, "loaded_boil", loaded)
    for name in ("code", "json", "this", "told_boil", "yaml", "torch", "boildown", "loaded_boil"):
        Path(f"{name}.py").write_text(text)
        for target in (f"{name}.Net", f"{name}.deeper.Net"):
            with pytest.raises(ConfigError, match=f"{target} is not among"):
                check_allowed(OmegaConf.create(with_node("model", {"_target_": target})), (), run)
    assert not Path(RAN).exists()


def test_a_module_that_came_with_the_run_is_not_ones_own(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "my_nets.py").write_text(f"{LEAVE}\n{NET}")
    write(run, with_node("model", MODEL | {"_target_": "my_nets.Mine"}))
    monkeypatch.chdir(run)
    for place in (Path(), run):
        assert main(["sensitivity", str(place)]) == 1
        assert "allow it by its name (--allow my_nets.Mine)" in capsys.readouterr().err
    assert "my_nets" not in sys.modules
    assert asked("sensitivity", run, monkeypatch, "my_nets.Mine") == 0


def test_what_is_allowed_by_its_name_is_built(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("nets").mkdir()  # no package, so not found by itself
    Path("nets/mine.py").write_text(NET)
    write(run, with_node("model", MODEL | {"_target_": "nets.mine.Mine"}))
    assert asked("sensitivity", run, monkeypatch) == 1
    for allow in ("nets", "nets.mine", "nets.mine.Mine"):
        assert asked("sensitivity", run, monkeypatch, "other", allow) == 0
    assert asked("sensitivity", run, monkeypatch, "net", "nets.mine.M", "") == 1
    capsys.readouterr()


def test_a_module_is_trusted_with_what_it_defines_and_not_with_what_it_imports(run: Path) -> None:
    Path("my_nets.py").write_text(NET)
    for name in ("system", "part", "nn.Linear", "Base", "Mine.load_state_dict", "Mine.__init__"):
        config = OmegaConf.create(with_node("model", {"_target_": f"my_nets.{name}"}))
        with pytest.raises(ConfigError, match="is not among"):
            check_allowed(config, ["my_nets"], run)
        check_allowed(config, [f"my_nets.{name}"], run)
    for name in ("Mine", "Helper", "wipe"):
        config = OmegaConf.create(with_node("task.optimizer", {"_target_": f"my_nets.{name}"}))
        check_allowed(config, ["my_nets"], run)


def test_the_proof_in_a_process_of_its_own_says_one_line(run: Path) -> None:
    write(run, with_node("data", {"_target_": "os.system\x1b[2J", "command": "touch ran"}))
    done = subprocess.run(
        [sys.executable, "-m", "boildown.run.prove", str(run)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(r"data._target_: os.system\x1b[2J is not among what a config from")
