"""One run: train, compress, pack, prove from the file, report."""

import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
import warnings
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
from boildown.allocate import DENSE_BYTES, SparsityForSize, bits_for_ratio
from boildown.callbacks.bar import BudgetBar
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.prune import Prune
from boildown.callbacks.record import Record
from boildown.callbacks.save import SaveDense, SaveNewest, plain_state
from boildown.codec.replace import replacing
from boildown.config import KEYS, TECHNIQUES, ConfigError, check
from boildown.evaluate import build_task, model_config
from boildown.precision import precision_of
from boildown.report.metric import headline
from boildown.select import without
from boildown.width import RULE, rates_of

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
        return _figure(finished)
    _check_devices(cfg)
    quiet()
    seed_everything(cfg.seed, workers=True, verbose=False)
    data = instantiate(cfg.data)
    budget, phases = _budget(cfg)
    data.prepare()
    model: nn.Module = instantiate(model_config(cfg, data))
    cfg = resolve(cfg, 4 * sum(p.numel() for p in model.parameters()))
    techniques = [instantiate(cfg.compression[t]) for t in TECHNIQUES if t in cfg.compression]
    task = build_task(cfg, data, model)
    _check_reach(techniques, task)
    if rank == 0:
        OmegaConf.save(cfg, directory / "config.yaml", resolve=True)
    record = Record(directory / "metrics.csv")
    loader = data.train_dataloader()
    begin = list(phases.values())[1] if phases else 1.0
    newest = SaveNewest(directory / "newest.ckpt", _dense_trajectory(cfg), begin)
    scaling = cfg.get("loss_scaling")
    callbacks: list[Callback] = [
        budget,
        *([instantiate(scaling)] if scaling is not None else []),
        instantiate(cfg.learning_rate),
        SaveDense(directory / "dense.safetensors", begin),
        *techniques,
        record,
        BudgetBar(label=str(cfg.name or "")),
        newest,
    ]
    trainer = _trainer(cfg, directory, callbacks, _validate_every(cfg, budget, task, data))
    own = newest.path if cfg.resume and newest.path.exists() else None
    try:
        trainer.fit(
            task,
            loader,
            data.val_dataloader(),
            ckpt_path=str(own) if own else newest.start(),
            weights_only=True,
        )
    except (KeyboardInterrupt, SystemExit):
        if newest.path.exists():
            print(f"stopped; resume=true hydra.run.dir={directory} goes on")
        raise
    if not trainer.is_global_zero:
        return float("nan")
    if budget.progress < 1.0:
        raise RuntimeError(
            f"the training was stopped at {budget.progress:.0%} of its budget; resume=true "
            f"hydra.run.dir={directory} goes on"
        )
    state = plain_state(task.get_submodule("model"))
    size = codec.pack(state, directory / "model.boil", config=model_config(cfg, data))
    metrics = _evaluate(directory)
    compute = _compute(budget, newest.reused, precision_of(trainer))
    rates = _rates(cfg, trainer)
    result = _result(cfg, directory, model, compute, record, metrics, size, rates)
    _finish(result, directory, trainer)
    return _figure(result)


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
    digest = hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:16]
    return Path(cfg.share_dense) / f"{digest}.ckpt"


def _check_reach(techniques: list[Callback], task: LightningModule) -> None:
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
    given = [key for key in ("keep", "sparsity", "bytes") if recipe[key] is not None]
    if len(given) > 1:
        raise ConfigError(f"compression: {' and '.join(given)} are given; one of them decides")
    if recipe.bytes is not None:
        if not 0 < recipe.bytes < dense_bytes:
            raise ConfigError(
                f"compression.bytes must be between 0 and the dense {dense_bytes}, "
                f"got {recipe.bytes}"
            )
        recipe.ratio = dense_bytes / recipe.bytes
    elif given:
        recipe.ratio = None
    if recipe.bits is None:
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
        before = _plain(OmegaConf.load(directory / "config.yaml"))
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
    begins = {t: float(cfg.compression[t].begin) for t in TECHNIQUES if t in cfg.compression}
    ends = {t: float(cfg.compression[t].end) for t in begins}
    for technique, begin in begins.items():
        if begin > ends[technique]:
            raise ConfigError(
                f"compression.{technique}.begin = {begin} lies after compression.{technique}.end = "
                f"{ends[technique]}"
            )
    order = list(begins)
    for first, second in pairwise(order):
        if ends[first] > begins[second]:
            raise ConfigError(
                f"compression.{second}.begin = {begins[second]} lies before compression.{first}."
                f"end = {ends[first]}: the phases overlap"
            )
    phases = {"dense": 0.0} | begins
    return instantiate(cfg.budget, phases=phases), phases if begins else {}


def _validate_every(
    cfg: DictConfig, budget: ComputeBudget, task: LightningModule, data: Any
) -> int:
    """Batches between validations, so that there are cfg.validations in the whole budget."""
    accumulate = int(cfg.trainer.get("accumulate_grad_batches", 1))
    loader = data.train_dataloader()
    batches = budget.batches_ahead(task, next(iter(loader)), len(loader), accumulate)
    if batches < accumulate:
        raise ConfigError(
            f"budget.{budget.unit}={budget.total:g} does not pay for one step, which takes "
            f"{budget.total / batches * accumulate:.4g} {budget.unit} at data.batch_size="
            f"{loader.batch_size}"
        )
    return max(1, round(batches / int(cfg.validations)))


def _trainer(
    cfg: DictConfig, directory: Path, callbacks: list[Callback], validate_every: int
) -> Trainer:
    logger: Any = False
    if cfg.logger and "_target_" in cfg.logger:
        try:
            logger = instantiate(cfg.logger, save_dir=str(directory), name=run_name(cfg))
            if isinstance(logger, WandbLogger):
                _ = logger.experiment
        except Exception as error:
            warnings.warn(f"no logger: {cfg.logger['_target_']} says {error}", stacklevel=2)
            logger = False
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
        [sys.executable, "-m", "boildown.evaluate", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode:
        *_, why = done.stderr.strip().splitlines() or ["no reason given"]
        raise RuntimeError(f"cannot evaluate {directory / 'model.boil'}: {why}")
    return dict(json.loads((directory / "evaluation.json").read_text()))


def _compute(budget: ComputeBudget, reused: int, precision: str) -> dict[str, Any]:
    return {
        "flops": budget.flops,
        "flops_credited": budget.flops_credited,  # if weights held at zero cost nothing
        "wasted_flops": budget.wasted_flops,  # of the FLOPs, on steps the loss scaler skipped
        "reused": reused,  # of the FLOPs, what another run spent on the same dense trajectory
        "budget": {budget.unit: budget.total},
        "steps": budget.steps,
        "skipped_steps": budget.skipped_steps,
        "seconds": budget.seconds,
        "seconds_per_tflop": budget.seconds / budget.flops * 1e12 if budget.flops else None,
        "precision": precision,
        "by_phase": budget.by_phase,
    }


def _result(
    cfg: DictConfig,
    directory: Path,
    model: nn.Module,
    compute: dict[str, Any],
    record: Record,
    metrics: dict[str, dict[str, float]],
    size: int,
    rates: dict[str, Any],
) -> dict[str, Any]:
    params = sum(p.numel() for p in model.parameters())
    report = codec.inspect(directory / "model.boil")
    asked = cfg.compression.get("ratio")
    ratio = DENSE_BYTES * params / size
    result = {
        "schema": 1,
        "name": run_name(cfg),
        "seed": cfg.seed,
        "config": OmegaConf.to_container(cfg, resolve=True),
        "dense": {"params": params, "bytes": DENSE_BYTES * params, "metrics": metrics["dense"]},
        "compressed": {
            "bytes": size,
            "metrics": metrics["compressed"],
            "nonzero": sum(t.nonzero for t in report if not t.coder.startswith("tied")),
            "file": "model.boil",
        },
        "ratio": ratio,
        "target": {"ratio": asked, "met": asked is None or abs(ratio / asked - 1.0) <= 0.1},
        "compute": compute,
        "learning_rates": rates,
        "layers": [
            {
                "name": t.name,
                "shape": list(t.shape),
                "nonzero": t.nonzero,
                "distinct": t.distinct,
                "rank": None,
                "bits_per_weight": 8 * t.bytes / t.numel if t.numel else 0.0,
                "bytes": t.bytes,
                "coder": t.coder,
            }
            for t in report
        ],
        "curve": record.rows,
        "environment": {
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "python": platform.python_version(),
            "device": _device(),
            "git": _git(),
        },
    }
    with replacing(directory / "result.json") as part:
        part.write_text(json.dumps(result, indent=1))
    (directory / "error.json").unlink(missing_ok=True)  # of an earlier try
    return result


def _rates(cfg: DictConfig, trainer: Trainer) -> dict[str, Any]:
    """What each tensor's learning rate was before the schedule, and by which rule."""
    base_width = cfg.task.get("base_width")
    names = list(trainer.lightning_module.named_parameters())
    return {
        "rule": None if base_width is None else RULE,
        "base_width": base_width,
        "width": None if base_width is None else cfg.model.width,
        "groups": [group for o in trainer.optimizers for group in rates_of(o, names)],
    }


def _finish(result: dict[str, Any], directory: Path, trainer: Trainer) -> None:
    from boildown.report.picture import draw
    from boildown.report.table import show

    draw(result, directory / "result.png")
    place = None
    if isinstance(trainer.logger, WandbLogger):
        import wandb

        columns: list[str | int] = [
            "name",
            "shape",
            "nonzero",
            "distinct",
            "bits_per_weight",
            "bytes",
            "coder",
        ]
        rows = [[str(layer[str(c)]) for c in columns] for layer in result["layers"]]
        figures = {
            "final/ratio": result["ratio"],
            "final/bytes": result["compressed"]["bytes"],
            "final/flops": result["compute"]["flops"],
            "baseline/bytes": result["dense"]["bytes"],
        }
        for which in ("dense", "compressed"):
            for name, value in result[which]["metrics"].items():
                figures[f"{which}/{name}"] = value
        wandb_run = trainer.logger.experiment
        wandb_run.log({"layers": wandb.Table(columns=columns, data=rows)})
        wandb_run.log({"result": wandb.Image(str(directory / "result.png"))})
        wandb_run.summary.update(figures)
        place = Path(wandb_run.dir).parent
        wandb.finish()
    show(result, directory)
    if place is not None:
        print(f"wandb sync {place}")


def _figure(result: dict[str, Any]) -> float:
    metrics = result["compressed"]["metrics"]
    return float(metrics.get(f"test/{headline(metrics, 'test')}", float("nan")))


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _git() -> str | None:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip() or None
