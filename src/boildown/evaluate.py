"""Prove a run: load its files in a process of its own and measure them on the test set.

`python -m boildown.evaluate DIR` reads DIR/config.yaml, evaluates DIR/dense.safetensors and
DIR/model.boil, and writes DIR/evaluation.json. The test set is touched here and nowhere else.
"""

import inspect
import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch import LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from torch import nn

from boildown.artifact import load
from boildown.codec.replace import replacing
from boildown.config import locate, register_resolvers


def model_config(cfg: DictConfig, data: Any) -> dict[str, Any]:
    """The model's config as plain data, with the shapes that its target asks for."""
    config = OmegaConf.to_container(cfg.model, resolve=True)
    assert isinstance(config, dict)
    takes = inspect.signature(locate(str(config["_target_"]))).parameters
    shapes = {"input_shape": list(data.input_shape), "num_classes": int(data.num_classes)}
    return {str(k): v for k, v in config.items()} | {k: v for k, v in shapes.items() if k in takes}


def build_task(cfg: DictConfig, data: Any, model: nn.Module) -> LightningModule:
    """The task around a model."""
    takes = inspect.signature(locate(str(cfg.task["_target_"]))).parameters
    shapes = {"num_classes": data.num_classes} if "num_classes" in takes else {}
    task = instantiate(cfg.task, model=model, **shapes)
    if not isinstance(task, LightningModule):
        raise ValueError(f"task: {cfg.task['_target_']} does not make a LightningModule")
    return task


def evaluate(directory: Path) -> dict[str, dict[str, float]]:
    """Test metrics of the dense and of the compressed model, from their files.

    Args:
        directory: of the run, holding config.yaml, dense.safetensors and model.boil.

    Returns:
        {"dense": {"test/error": ...}, "compressed": {...}}.
    """
    cfg = OmegaConf.load(directory / "config.yaml")
    assert isinstance(cfg, DictConfig)
    data = instantiate(cfg.data)
    data.prepare()

    def test(model: nn.Module) -> dict[str, float]:
        trainer = Trainer(
            accelerator=cfg.trainer.get("accelerator", "auto"),
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        (metrics,) = trainer.test(
            build_task(cfg, data, model), data.test_dataloader(), verbose=False
        )
        # Lightning keeps float32: beyond its 7 digits 0.0159 would read 0.01590001583
        return {name: round(float(value), 7) for name, value in metrics.items()}

    dense: nn.Module = instantiate(model_config(cfg, data))
    dense.load_state_dict(load_file(directory / "dense.safetensors"), strict=False)
    compressed = load(directory / "model.boil", instantiate(model_config(cfg, data)))
    return {"dense": test(dense), "compressed": test(compressed)}


def main() -> None:
    """Evaluate the run in the directory named on the command line."""
    register_resolvers()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    directory = Path(sys.argv[1])
    metrics = evaluate(directory)
    with replacing(directory / "evaluation.json") as part:
        part.write_text(json.dumps(metrics))


if __name__ == "__main__":
    main()
