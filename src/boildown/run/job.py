"""One run: train, compress, pack, prove from the file, report."""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from torch import nn

from boildown import codec
from boildown.allocate.size import DENSE_BYTES
from boildown.amp.plugins import precision_of
from boildown.callbacks.bar import BudgetBar
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.observe import Observe
from boildown.callbacks.quiet import quiet
from boildown.callbacks.record import Record
from boildown.callbacks.save import SaveDense, SaveNewest, Stopped, plain_state
from boildown.callbacks.technique import Technique
from boildown.files.atomic import remove_parts
from boildown.files.lock import locked
from boildown.forward import inputs_of
from boildown.run.allowed import targets_of
from boildown.run.build import build_task, model_config
from boildown.run.built import built, refusal
from boildown.run.config import check
from boildown.run.datamodule import data_of
from boildown.run.errors import ConfigError
from boildown.run.file_size import FileSize
from boildown.run.leading import leads
from boildown.run.loggers import close, loggers_of
from boildown.run.measure import samples_in
from boildown.run.names import run_name
from boildown.run.prove import proven
from boildown.run.recipe import Recipe
from boildown.run.result import compute_of, headline_figure, make_result, present, rates_of_run
from boildown.run.resume import earlier, keep_config, plain
from boildown.run.signals import Signals, end_others, stoppable
from boildown.run.stages import Fit, fits, stages_of
from boildown.run.trial import check_data, check_described, check_fit, check_model, check_optimizer
from boildown.saving import structured


def run(cfg: DictConfig, directory: Path) -> float:
    """Run one config in `directory`, which then holds everything there is to know of it.

    Leaves model.boil, result.json, result.png, metrics.csv, dense.safetensors, config.yaml and the
    newest two checkpoints. With cfg.resume an unfinished run goes on, a finished one is left alone.
    While it runs, no other process may run in the directory.

    Args:
        cfg: as composed from conf/.
        directory: of the run; made if it is missing.

    Returns:
        The compressed model's test error, or bits per byte, or first test metric, whichever the
        task has.

    Raises:
        ConfigError: for a config that cannot be run, before any training starts.
        LockedError: if another process runs in the directory.
        SystemExit: if the run was stopped (docs/run.md says with which codes).
    """
    check(cfg)
    directory.mkdir(parents=True, exist_ok=True)
    signals = Signals()
    with stoppable(signals, directory, leads=leads()):
        if not leads():
            return _run(cfg, directory, signals)
        with locked(directory):
            remove_parts(directory, alone=True)  # of what was killed
            return _run(cfg, directory, signals)


def _run(cfg: DictConfig, directory: Path, signals: Signals) -> float:
    finished = earlier(cfg, directory) if leads() else None
    if finished is not None:
        print(f"{directory} holds a finished run: nothing to do (result.json)")
        return headline_figure(finished)
    with quiet(tell=partial(print, flush=True)):
        return _trained(cfg, directory, signals)


def _trained(cfg: DictConfig, directory: Path, signals: Signals) -> float:
    _check_devices(cfg)
    seed_everything(cfg.seed, workers=True, verbose=False)
    job = Job.prepare(cfg, directory, signals)
    if leads():
        keep_config(cfg, directory)
    try:
        stages = stages_of(job.recipe.techniques.values())
        for fit in fits(stages, job.model, job.newest, resume=cfg.resume):
            trainer = job.train(fit)
        return job.finish(trainer) if trainer.is_global_zero else float("nan")
    finally:  # a run that has ended well has closed them
        close(job.loggers, exit_code=1)


@dataclass
class Job:
    """A run, ready to be trained.

    Attributes:
        cfg: as composed.
        directory: of the run.
        data: its data module, prepared.
        model: in its first structure.
        recipe: what compresses it.
        budget: the clock, which goes through all fits.
        before: callbacks ahead of the techniques.
        after: callbacks behind them.
        record: of them, the curve.
        newest: of them, what saves the checkpoints.
        loggers: of all fits.
        size: what the file would take.
    """

    cfg: DictConfig
    directory: Path
    data: Any
    model: nn.Module
    recipe: Recipe
    budget: ComputeBudget
    before: list[Callback]
    after: list[Callback]
    record: Record
    newest: SaveNewest
    loggers: list[Logger]
    size: FileSize

    @classmethod
    def prepare(cls, cfg: DictConfig, directory: Path, signals: Signals) -> "Job":
        """Build everything, so that what is wrong shows before the training.

        Raises:
            ConfigError: naming the key and the remedy.
        """
        data = prepared(cfg)
        described = model_config(cfg, data)
        model: nn.Module = built(described, "model")
        check_model(model, cfg)
        dense_bytes = DENSE_BYTES * sum(p.numel() for p in model.parameters())
        recipe = Recipe.build(cfg.compression, dense_bytes)
        for technique in recipe.techniques.values():
            technique.calibration = technique.calibration or data.train_dataloader
        budget = built(cfg.budget, "budget", phases=recipe.phases)
        size = FileSize(described, recipe.techniques.values())
        record = Record(directory / "metrics.csv", size.as_it_is)
        newest = SaveNewest(
            directory / "newest.ckpt",
            _dense_trajectory(cfg, recipe),
            recipe.begin,
            plain(cfg),
            asked=lambda: signals.asked is not None,
        )
        before = _before(cfg, directory, budget, recipe)
        after = [
            *_own_callbacks(cfg),
            Observe(),
            record,
            BudgetBar(label=str(cfg.name or "")),
            signals,
            newest,
        ]
        recipe.ask(size)
        loggers = loggers_of(cfg, directory)  # last: what fails before it leaves none open
        return cls(
            cfg, directory, data, model, recipe, budget, before, after, record, newest, loggers,
            size,
        )  # fmt: skip

    def train(self, fit: Fit) -> Trainer:
        """Train one stage to its end."""
        cfg, data = self.cfg, self.data
        task = build_task(cfg, data, fit.model)
        batch = next(iter(data.train_dataloader()))
        task.example_input_array = inputs_of(batch)
        if fit.first:
            check_fit(cfg, data, task, batch)
            check_optimizer(cfg, task)
        self.size.config, self.size.task = fit.describe(model_config(cfg, data)), task
        self.recipe.look_at(task)
        if fit.first and not fit.resumed:
            self.recipe.check_reach(dict(task.named_parameters()))
        every = _validate_every(cfg, self.budget, task, len(data.train_dataloader()))
        callbacks = [*self.before, *fit.stage.techniques, *self.after]
        trainer = _trainer(cfg, self.directory, callbacks, self.loggers, every)
        fit.go_on(trainer, self.budget)
        loaders = data.train_dataloader(), data.val_dataloader()
        try:
            trainer.fit(task, *loaders, ckpt_path=fit.start, weights_only=True)
        except Stopped:
            end_others(trainer)
            raise
        except MisconfigurationException as error:
            raise refusal(error, "trainer", "cannot train so") from error
        fit.check_end(self.budget)
        return trainer

    def finish(self, trainer: Trainer) -> float:
        """Pack the network, prove the file, and report; returns the figure that counts."""
        model = trainer.lightning_module.get_submodule("model")
        config = structured(model, self.size.config)
        codec.pack(plain_state(model), self.directory / "model.boil", config=config)
        result = make_result(
            self.directory,
            cfg=self.cfg,
            name=run_name(self.cfg),
            params=sum(p.numel() for p in self.model.parameters()),
            recipe=self.recipe,
            samples=samples_in(self.data.test_dataloader()),
            metrics=proven(self.directory, [*self.cfg.run.allow, *targets_of(self.cfg)]),
            compute=compute_of(self.budget, self.newest.reused, precision_of(trainer)),
            rates=rates_of_run(self.cfg, trainer),
            curve=self.record.rows,
        )
        present(result, self.directory, self.loggers)
        return headline_figure(result)


def prepared(cfg: DictConfig) -> Any:
    """The data, ready to be read.

    Raises:
        ConfigError: for what is no data of a run.
    """
    data = data_of(cfg, built(cfg.data, "data"))
    check_data(data, cfg)
    try:
        data.prepare()
    except (ConfigError, OSError):
        raise
    except Exception as error:
        raise refusal(error, "data", f"{cfg.data['_target_']} cannot be prepared") from error
    check_described(data, cfg)
    return data


def _before(
    cfg: DictConfig, directory: Path, budget: ComputeBudget, recipe: Recipe
) -> list[Callback]:
    """The callbacks ahead of the techniques: the clock, and what reads it.

    Raises:
        ConfigError: for a peak of a phase that the recipe does not have.
    """
    peaks = dict(cfg.learning_rate.get("peaks") or {})
    for phase, peak in peaks.items():
        if phase not in budget.phases:
            raise ConfigError(
                f"learning_rate.peaks.{phase}: there is no such phase (value {peak!r}); "
                f"the phases are {', '.join(budget.phases)}"
            )
    scaling = cfg.get("loss_scaling")
    return [
        budget,
        *([built(scaling, "loss_scaling")] if scaling is not None else []),
        built(cfg.learning_rate, "learning_rate", peaks=recipe.peaks | peaks),
        SaveDense(directory / "dense.safetensors", recipe.begin),
    ]


def _own_callbacks(cfg: DictConfig) -> list[Callback]:
    """What `callbacks` names: Lightning's, or anybody's.

    Raises:
        ConfigError: for what is no callback, or a technique, which belongs in the recipe.
    """
    made = []
    for key, node in (cfg.get("callbacks") or {}).items():
        callback = built(node, f"callbacks.{key}")
        if not isinstance(callback, Callback):
            raise ConfigError(
                f"callbacks.{key}: {node['_target_']} makes a {type(callback).__name__}, which is "
                "no callback; derive it from lightning.pytorch.Callback"
            )
        if isinstance(callback, Technique):
            raise ConfigError(
                f"callbacks.{key}: {node['_target_']} is a technique, which acts in the order of a "
                f"recipe; say +compression.{key}._target_={node['_target_']}"
            )
        made.append(callback)
    return made


def _dense_trajectory(cfg: DictConfig, recipe: Recipe) -> Path | None:
    """Where runs that are alike until compression begins keep the checkpoint they share.

    Its name is a digest of all that the weights depend on until then.
    """
    if cfg.share_dense is None or recipe.begin == 1.0:
        return None
    before = (
        "data", "model", "task", "trainer", "budget", "learning_rate", "loss_scaling", "seed",
        "validations", "callbacks",
    )  # fmt: skip
    config = plain(cfg)
    alike: dict[str, Any] = {key: config.get(key) for key in before}
    alike |= {"recipe": recipe.before, "phases": recipe.phases}
    alike |= {"torch": torch.__version__, "lightning": lightning.__version__}
    alike |= {"threads": torch.get_num_threads()}  # they decide in which order sums are added up
    digest = hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:16]
    return Path(cfg.share_dense) / f"{digest}.ckpt"


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
            f"{cfg.data.get('batch_size')}"
        )
    return max(1, round(batches / int(cfg.validations)))


def _trainer(
    cfg: DictConfig,
    directory: Path,
    callbacks: list[Callback],
    loggers: list[Logger],
    validate_every: int,
) -> Trainer:
    trainer: Trainer = built(
        cfg.trainer,
        "trainer",
        search=True,
        callbacks=callbacks,
        logger=loggers or False,
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
    if not isinstance(trainer, Trainer):
        raise ConfigError(
            f"trainer._target_: {cfg.trainer['_target_']} makes a {type(trainer).__name__}; name "
            "lightning.pytorch.Trainer"
        )
    return trainer
