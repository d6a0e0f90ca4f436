"""A run's model, and its metrics on the validation set. The test set is not touched here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from boildown.callbacks.quiet import quiet
from boildown.checkpoints.checkpoint import load_state_dict
from boildown.codec import read_config, unpack
from boildown.lowrank.factorize import restructure, structure_in
from boildown.run.allowed import check_allowed
from boildown.run.build import build_task, config_in, model_config
from boildown.run.config import register_resolvers
from boildown.run.datamodule import data_of
from boildown.run.errors import expected, one_line
from boildown.run.measure import metrics_of

Split = Literal["val", "train"]
FILES = ("dense.safetensors", "newest.ckpt", "model.boil")  # of a run; the first there is, is read


@dataclass(frozen=True)
class TrainedRun:
    """What a run left, ready to be measured.

    Attributes:
        config: of the run.
        data: its data module, prepared.
        model: with the file's weights, on the CPU.
        file: that the weights came from.
    """

    config: DictConfig
    data: Any
    model: nn.Module
    file: Path

    def evaluator(
        self, split: Split = "val", batches: int | None = None
    ) -> Callable[[nn.Module], dict[str, float]]:
        """What measures a model of this structure with the run's task.

        Args:
            split: "val", or "train": as it is trained on, but without updates.
            batches: how many to measure on, the same each time; None for all.

        Returns:
            Model -> metrics, such as {"val/loss": 0.1, "val/error": 0.02}.

        Raises:
            ValueError: for another split or a number of batches below 1.
        """
        if split not in ("val", "train"):
            raise ValueError(
                f"split must be val or train, got {split!r}; the test set is for the final figure"
            )
        if batches is not None and batches < 1:
            raise ValueError(f"batches must be at least 1, got {batches}")

        def evaluate(model: nn.Module) -> dict[str, float]:
            loader = self.data.val_dataloader() if split == "val" else self.data.train_dataloader()
            found = metrics_of(self.config, self.data, model, loader, "validate", batches)
            return {name.replace("val/", f"{split}/", 1): value for name, value in found.items()}

        return evaluate

    def loss(self) -> Callable[[Any, Tensor], Tensor]:
        """The training loss of the run's task: (outputs, targets) -> scalar.

        Raises:
            ConfigError: if the config's task cannot be built.
        """
        task = build_task(self.config, self.data, self.model)
        task.model = nn.Identity()  # what it is given are outputs

        def loss(outputs: Any, targets: Tensor) -> Tensor:
            found: Any = task.training_step((outputs, targets), 0)
            value: Tensor = found["loss"] if isinstance(found, dict) else found
            return value

        return loss

    def basis(self, split: Split, batches: int | None) -> str:
        """All that the metrics depend on beside the weights, in words."""
        parts = {key: self.config[key] for key in ("data", "model", "task")}
        return f"{OmegaConf.to_yaml(OmegaConf.create(parts))} {split} {batches}"


def open_run(path: Path, config: Path | None = None, allow: Sequence[str] = ()) -> TrainedRun:
    """Load a run's model and data.

    Args:
        path: of the run's directory, of which the dense model is taken, or of a file in it:
            dense.safetensors, model.boil, newest.ckpt, or another state dict.
        config: of the run; None: config.yaml beside the file.
        allow: what the config may build beside what any may (`boildown.run.allowed`).

    Raises:
        ValueError: if there is no model or config, they do not belong together, or the config names
            what may not be built.
        OSError: if a file cannot be read.
    """
    register_resolvers()
    file = _file(path)
    cfg = _config(file, config)
    check_allowed(cfg, allow, file.parent)
    try:
        with quiet(warn=False):
            data = data_of(cfg)
            data.prepare()
            model: nn.Module = instantiate(model_config(cfg, data))
    except Exception as error:
        if not expected(error):
            raise
        raise ValueError(one_line(error)) from error
    state = _state(file)
    try:
        model = restructure(model, _structure(file))
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{file} does not fit the model of its config: {error}") from None
    return TrainedRun(cfg, data, model.eval(), file)


def _file(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"{path}: there is no such run or file")
    if not path.is_dir():
        return path
    for name in FILES:
        if (path / name).exists():
            return path / name
    raise ValueError(f"{path} is no directory of a run: it holds none of {', '.join(FILES)}")


def _config(file: Path, given: Path | None) -> DictConfig:
    path = given or file.parent / "config.yaml"
    if not path.is_file():
        hint = "" if given else "; --config names the run's"
        raise ValueError(f"{path}: there is no such config{hint}")
    try:
        cfg = config_in(path)
    except Exception as error:
        raise ValueError(f"{path} is no config: {error}") from error
    missing = [
        key
        for key in ("data", "model", "task", "trainer")
        if not isinstance(cfg, DictConfig) or key not in cfg
    ]
    if missing:
        raise ValueError(f"{path} is no config of a run: it has no {missing[0]}")
    assert isinstance(cfg, DictConfig)
    return cfg


def _state(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".boil":
        return unpack(file)
    state = load_state_dict(file)
    if file.suffix == ".ckpt":  # of the task, which holds the model
        inside = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
        return inside or state
    return state


def _structure(file: Path) -> dict[str, Any]:
    """What has become of the layers of the config's model; {} if nothing has."""
    if file.suffix == ".boil":
        return structure_in(read_config(file))
    if file.suffix == ".ckpt":
        held = torch.load(file, map_location="cpu", weights_only=True)
        states = held.get("callbacks", {}) if isinstance(held, dict) else {}
        found = [s["structure"] for s in states.values() if s.get("structure") is not None]
        return dict(found[-1]) if found else {}
    return {}
