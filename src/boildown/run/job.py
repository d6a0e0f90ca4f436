"""One run: train, compress, pack, prove from the file, report."""

import hashlib
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from boildown import codec
from boildown.allocate.size import SparsityForSize, bits_for_ratio
from boildown.amp.plugins import precision_of
from boildown.callbacks.bar import BudgetBar
from boildown.callbacks.budget import ComputeBudget, inputs_of
from boildown.callbacks.prune import Prune
from boildown.callbacks.record import Record
from boildown.callbacks.save import SaveDense, SaveNewest, plain_state
from boildown.name_patterns import without
from boildown.run.config import KEYS, PHASES, TECHNIQUES, ConfigError, check
from boildown.run.prove import build_task, config_in, model_config
from boildown.run.result import compute_of, headline_figure, present, rates_of_run, write_result
from boildown.run.stages import stages_of, train

STARTS = ("begin", "rewind", "rewind_to")  # what a technique does before it begins
FREE_KEYS = ("resume", "logger", "name", "share_dense")  # may differ when a run is resumed


def run(cfg: DictConfig, directory: Path) -> float:
    """Run one config in `directory`, which then holds everything there is to know of it.

    Leaves model.boil, result.json, result.png, metrics.csv, dense.safetensors, config.yaml and the
    newest checkpoint. With cfg.resume an unfinished run goes on, a finished one is left alone.

    Args:
        cfg: as composed from conf/.
        directory: of the run; made if it is missing.

    Returns:
        The compressed model's test error, or bits per byte, or first test metric, whichever the
        task has.

    Raises:
        ConfigError: for a config that cannot be run, before any training starts.
    """
    check(cfg)
    directory.mkdir(parents=True, exist_ok=True)
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    finished = _earlier(cfg, directory) if rank == 0 else None
    if finished is not None:
        print(f"{directory} holds a finished run: nothing to do (result.json)")
        return headline_figure(finished)
    _check_devices(cfg)
    quiet()
    seed_everything(cfg.seed, workers=True, verbose=False)
    data = instantiate(cfg.data)
    budget, phases = _budget(cfg)
    data.prepare()
    model: nn.Module = instantiate(model_config(cfg, data))
    cfg = resolve(cfg, 4 * sum(p.numel() for p in model.parameters()))
    all_techniques = [instantiate(cfg.compression[t]) for t in TECHNIQUES if t in cfg.compression]
    for technique in all_techniques:
        if getattr(technique, "calibration", ...) is None:
            technique.calibration = data.train_dataloader
    params = sum(p.numel() for p in model.parameters())
    if rank == 0:
        OmegaConf.save(cfg, directory / "config.yaml", resolve=True)
    record = Record(directory / "metrics.csv")
    example = inputs_of(next(iter(data.train_dataloader())))
    begin = list(phases.values())[1] if phases else 1.0
    newest = SaveNewest(directory / "newest.ckpt", _dense_trajectory(cfg), begin)
    scaling = cfg.get("loss_scaling")
    before: list[Callback] = [
        budget,
        *([instantiate(scaling)] if scaling is not None else []),
        instantiate(cfg.learning_rate),
        SaveDense(directory / "dense.safetensors", begin),
    ]
    after: list[Callback] = [record, BudgetBar(label=str(cfg.name or "")), newest]
    logger = _logger(cfg, directory)

    def prepare(
        model: nn.Module, techniques: Sequence[Callback]
    ) -> tuple[LightningModule, Trainer]:
        task = build_task(cfg, data, model)
        task.example_input_array = example
        ahead = [t for t in all_techniques if t not in techniques and not getattr(t, "exclude", ())]
        _check_reach([*techniques, *ahead], task)
        every = _validate_every(cfg, budget, task, len(data.train_dataloader()))
        return task, _trainer(cfg, directory, [*before, *techniques, *after], logger, every)

    def fit(trainer: Trainer, task: LightningModule, start: str | None) -> None:
        loaders = data.train_dataloader(), data.val_dataloader()
        trainer.fit(task, *loaders, ckpt_path=start, weights_only=True)

    stages = stages_of(all_techniques)
    try:
        task, trainer = train(
            stages,
            model,
            budget=budget,
            newest=newest,
            resume=cfg.resume,
            prepare=prepare,
            fit=fit,
        )
    except (KeyboardInterrupt, SystemExit):
        if newest.path.exists():
            print(f"stopped; resume=true hydra.run.dir={directory} goes on")
        raise
    if not trainer.is_global_zero:
        return float("nan")
    description = model_config(cfg, data)
    for stage in stages:
        if stage.change is not None:
            description = stage.change.describe(description)
    state = plain_state(task.get_submodule("model"))
    codec.pack(state, directory / "model.boil", config=description)
    result = write_result(
        directory,
        cfg=cfg,
        name=run_name(cfg),
        params=params,
        metrics=_evaluate(directory),
        compute=compute_of(budget, newest.reused, precision_of(trainer)),
        rates=rates_of_run(cfg, trainer),
        ranks=[row for t in all_techniques for row in getattr(t, "ranks_report", [])],
        curve=record.rows,
    )
    present(result, directory, trainer)
    return headline_figure(result)


def _dense_trajectory(cfg: DictConfig) -> Path | None:
    """Where runs that are alike until compression begins keep the checkpoint they share.

    Its name is a digest of all that the weights depend on until then.
    """
    if cfg.share_dense is None:
        return None
    recipe = {t: cfg.compression[t] for t in TECHNIQUES if t in cfg.compression}
    if not recipe:
        return None
    before = (
        "data", "model", "task", "trainer", "budget", "learning_rate", "loss_scaling", "seed",
        "validations",
    )  # fmt: skip
    alike: dict[str, Any] = {key: _plain(cfg).get(key) for key in before}
    alike |= {t: [node.get(k) for k in STARTS] for t, node in recipe.items()}
    alike |= {"torch": torch.__version__, "lightning": lightning.__version__}
    alike |= {"threads": torch.get_num_threads()}  # they decide in which order sums are added up
    digest = hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:16]
    return Path(cfg.share_dense) / f"{digest}.ckpt"


def _check_reach(techniques: Sequence[Callback], task: LightningModule) -> None:
    """Refuse a size before the training that no pruning will reach."""
    parameters = dict(task.named_parameters())
    for technique in techniques:
        if isinstance(technique, Prune) and isinstance(technique.final, SparsityForSize):
            matrices = [n for n, p in parameters.items() if p.requires_grad and p.ndim > 1]
            cut = without(technique.exclude, matrices, "prune.exclude")
            technique.final.check_reach(
                parameters, dict(task.named_buffers()), {name: parameters[name] for name in cut}
            )


def _check_devices(cfg: DictConfig) -> None:
    """Refuse more processes than cores: Lightning would start them all and wait for ever."""
    devices = cfg.trainer.get("devices", 1)
    on_cpu = cfg.trainer.get("accelerator", "auto") == "cpu" or not torch.accelerator.is_available()
    cores = os.cpu_count() or 1
    if on_cpu and str(devices).isdecimal() and int(devices) > cores:
        raise ConfigError(
            f"trainer.devices={devices}: on the CPU each device is a process, and this machine "
            f"has {cores} cores; give at most {cores}"
        )


def quiet() -> None:
    """Silence what a user of a run can do nothing about."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for message in ("LeafSpec", "does not have many workers", "GPU available", "logging interval"):
        warnings.filterwarnings("ignore", f".*{message}.*")


def resolve(cfg: DictConfig, dense_bytes: int) -> DictConfig:
    """The config with what depends on the model filled in: the ratio and bits of the recipe.

    Args:
        cfg: as composed; not changed.
        dense_bytes: of the model's parameters in fp32.

    Raises:
        ConfigError: if the settings of the recipe contradict each other.
    """
    cfg = cfg.copy()
    recipe = cfg.compression
    if "ratio" not in recipe:
        return cfg
    lowrank = ("factors", "energy", "price", "ranks")
    deciding = ("keep", "sparsity") if "prune" in recipe else lowrank
    ways = [key for key in ("ratio", *deciding, "bytes") if key in recipe]
    given = [key for key in ways if recipe[key] is not None]
    if len(given) > 1:
        raise ConfigError(
            f"compression: {' and '.join(given)} are given; one of them decides, the others are to "
            f"be null (compression.{given[0]}=null)"
        )
    if not given:
        raise ConfigError(f"compression: give a ratio, or one of {', '.join(ways[1:])}")
    ratio = recipe.ratio
    if recipe.bytes is not None:
        if not 0 < recipe.bytes < dense_bytes:
            raise ConfigError(
                f"compression.bytes must be between 0 and the dense {dense_bytes}, "
                f"got {recipe.bytes}"
            )
        ratio = dense_bytes / recipe.bytes
    elif ratio is not None and "lowrank" in recipe:
        # the parameters will be others than those the ratio is of
        recipe.bytes = round(dense_bytes / ratio)
    recipe.ratio = ratio
    if "bits" in recipe and recipe.bits is None:
        recipe.bits = bits_for_ratio(recipe.ratio) if recipe.ratio is not None else 5
    return cfg


def _earlier(cfg: DictConfig, directory: Path) -> dict[str, Any] | None:
    """What an earlier run left here: its result if it is finished and is to be resumed."""
    result = directory / "result.json"
    if not cfg.resume:
        if result.exists() or (directory / "newest.ckpt").exists():
            raise ConfigError(
                f"hydra.run.dir={directory} holds an earlier run; resume=true goes on with it, "
                "another directory keeps both"
            )
        return None
    if (directory / "config.yaml").exists():
        before = _plain(config_in(directory / "config.yaml"))
        now = _plain(resolve(cfg, _dense_bytes(before)))
        for key in KEYS:
            old, new = before.get(key), now.get(key)
            if key not in FREE_KEYS and old != new:
                place, old, new = _difference(key, old, new)
                raise ConfigError(
                    f"{place}: the run to resume in {directory} was started with {old}, not {new}"
                )
    if result.exists():
        return dict(json.loads(result.read_text()))
    if (directory / "newest.ckpt").exists():
        print(f"resuming in {directory}")
    return None


def _difference(key: str, old: Any, new: Any) -> tuple[str, Any, Any]:
    """Where two configs first differ, and what is there."""
    if isinstance(old, dict) and isinstance(new, dict):
        for k in [*old, *(k for k in new if k not in old)]:
            if old.get(k) != new.get(k):
                return _difference(f"{key}.{k}", old.get(k), new.get(k))
    return key, old, new


def _dense_bytes(before: dict[str, Any]) -> int:
    """Bytes of the dense model of an earlier run, as far as its recipe asked for a size."""
    recipe = before["compression"]
    return round(recipe["ratio"] * recipe["bytes"]) if recipe.get("bytes") else 2**62


def _plain(cfg: DictConfig | ListConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _budget(cfg: DictConfig) -> tuple[ComputeBudget, dict[str, float]]:
    """The clock, and the phases: dense training, then each technique from its begin."""
    timed = [t for t in TECHNIQUES if t in cfg.compression and "begin" in cfg.compression[t]]
    begins = {t: float(cfg.compression[t].begin) for t in timed}
    ends = {t: float(cfg.compression[t].end) for t in timed}
    for technique, begin in begins.items():
        if begin > ends[technique]:
            raise ConfigError(
                f"compression.{technique}.begin = {begin} lies after compression.{technique}.end = "
                f"{ends[technique]}"
            )
    for first, second in pairwise(timed):
        if ends[first] > begins[second]:
            raise ConfigError(
                f"compression.{second}.begin = {begins[second]} lies before compression.{first}."
                f"end = {ends[first]}: the phases overlap"
            )
    if "lowrank" in ends and begins["lowrank"] == ends["lowrank"]:  # it cuts, and that is all
        del begins["lowrank"]
    if "lowrank" in ends and ends["lowrank"] not in begins.values():
        begins["factored"] = ends["lowrank"]
    phases = {"dense": 0.0} | {name: begins[name] for name in PHASES if name in begins}
    return instantiate(cfg.budget, phases=phases), phases if begins else {}


def _validate_every(
    cfg: DictConfig, budget: ComputeBudget, task: LightningModule, per_epoch: int
) -> int:
    """Batches between validations, so that there are cfg.validations in the whole budget."""
    accumulate = int(cfg.trainer.get("accumulate_grad_batches", 1))
    batches = budget.batches_ahead(task, task.example_input_array, per_epoch, accumulate)
    if batches < accumulate:
        raise ConfigError(
            f"budget.{budget.unit}={budget.total:g} does not pay for one step, which takes "
            f"{budget.total / batches * accumulate:.4g} {budget.unit} at data.batch_size="
            f"{cfg.data.batch_size}"
        )
    return max(1, round(batches / int(cfg.validations)))


def _logger(cfg: DictConfig, directory: Path) -> Any:
    """The logger, or False where there is none or it cannot start."""
    if not (cfg.logger and "_target_" in cfg.logger):
        return False
    try:
        logger = instantiate(cfg.logger, save_dir=str(directory), name=run_name(cfg))
        if isinstance(logger, WandbLogger):
            _ = logger.experiment
    except Exception as error:
        warnings.warn(f"no logger: {cfg.logger['_target_']} says {error}", stacklevel=2)
        return False
    return logger


def _trainer(
    cfg: DictConfig, directory: Path, callbacks: list[Callback], logger: Any, validate_every: int
) -> Trainer:
    trainer: Trainer = instantiate(
        cfg.trainer,
        callbacks=callbacks,
        logger=logger,
        max_epochs=-1,
        val_check_interval=validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_checkpointing=True,
        log_every_n_steps=10**9,
        use_distributed_sampler=False,
        default_root_dir=str(directory),
    )
    return trainer


def run_name(cfg: DictConfig) -> str:
    """What the run is called: its name, or model, data and techniques."""
    if cfg.name:
        return str(cfg.name)
    techniques = [t for t in TECHNIQUES if t in cfg.compression]
    model, data = (str(cfg[k]["_target_"]).rpartition(".")[2].lower() for k in ("model", "data"))
    return "-".join([model, data, *(techniques or ["dense"])])


def _evaluate(directory: Path) -> dict[str, dict[str, float]]:
    done = subprocess.run(
        [sys.executable, "-m", "boildown.run.prove", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode:
        *_, why = done.stderr.strip().splitlines() or ["no reason given"]
        raise RuntimeError(f"cannot evaluate {directory / 'model.boil'}: {why}")
    return dict(json.loads((directory / "evaluation.json").read_text()))
