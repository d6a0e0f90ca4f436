"""The loggers of a run. What one of them cannot do is said in a line, and the training goes on."""

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import DictConfig

from boildown.locate import locate
from boildown.printable import say
from boildown.run import wandb_logging
from boildown.run.config import loggers_in
from boildown.run.errors import one_line
from boildown.run.names import Identity, identity_of
from boildown.run.resume import plain

_GUARDED = (  # what Lightning and the callbacks call
    "log_hyperparams", "log_metrics", "log_graph", "save", "finalize", "after_save_checkpoint",
)  # fmt: skip


def loggers_of(cfg: DictConfig, directory: Path) -> list[Logger]:
    """The loggers of a run, begun, with its config; one that cannot start is left out and said.

    Args:
        cfg: as composed.
        directory: of the run, in which they write.
    """
    identity = identity_of(cfg)
    loggers = []
    for key, node in loggers_in(cfg.logger).items():
        name = key or str(node["_target_"]).rpartition(".")[2]
        try:
            logger = _built(node, directory, identity)
            if isinstance(logger, WandbLogger):
                wandb_logging.begin(logger)
            logger.log_hyperparams(plain(cfg))
        except Exception as error:
            say(f"{name} cannot start ({_why(error)}): the training goes on without it")
            wandb_logging.forget()
            continue
        loggers.append(_guarded(logger, name))
    return loggers


def _built(node: DictConfig, directory: Path, identity: Identity) -> Logger:
    """A logger, told where to write and what the run is called, as far as it asks."""
    target: Any = locate(str(node["_target_"]))
    given: dict[str, Any] = {"save_dir": str(directory), "name": identity.name}
    takes = inspect.signature(target).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        given = {key: value for key, value in given.items() if key in takes}
    if inspect.isclass(target) and issubclass(target, WandbLogger):
        given |= {"group": identity.group, "job_type": identity.recipe}
        given["tags"] = list(identity.tags)
    given = {key: value for key, value in given.items() if key not in node}
    logger = instantiate(node, **given, _convert_="all")
    if not isinstance(logger, Logger):
        raise TypeError(f"{node['_target_']} makes a {type(logger).__name__}, which is no logger")
    return logger


def _guarded(logger: Logger, name: str) -> Logger:
    """The same logger, whose failures end its work and not the training."""
    made: Any = logger
    made.called, made.lost = name, False
    for method in _GUARDED:
        setattr(made, method, partial(_call, made, method))
    return logger


def _call(logger: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    with guard(logger):
        return getattr(type(logger), method)(logger, *args, **kwargs)


@contextlib.contextmanager
def guard(logger: Any) -> Iterator[None]:
    """Let the block fail: then the logger is lost, which is said once."""
    try:
        yield
    except Exception as error:
        if not logger.lost:
            logger.lost = True
            say(f"{logger.called} has failed ({_why(error)}): the run goes on without it")
            if isinstance(logger, WandbLogger):
                wandb_logging.forget()


def alive(loggers: Sequence[Logger]) -> list[Any]:
    """Those that have not failed."""
    return [logger for logger in loggers if not logger.lost]  # type: ignore[attr-defined]


def places(loggers: Sequence[Logger]) -> dict[str, Any]:
    """Where a run is to be found in what its loggers keep, for the result."""
    found: dict[str, Any] = {}
    for logger in alive(loggers):
        if isinstance(logger, WandbLogger):
            with guard(logger):
                found["wandb"] = wandb_logging.place(logger)
    return found


def log_result(loggers: Sequence[Logger], result: Mapping[str, Any], directory: Path) -> None:
    """Tell the loggers what a run has ended with.

    Args:
        loggers: from `loggers_of`.
        result: as in result.json.
        directory: of the run, in which the files of the result are.
    """
    for logger in alive(loggers):
        with guard(logger):
            if isinstance(logger, WandbLogger):
                wandb_logging.log_result(logger, result, directory)
            else:
                figures = wandb_logging.final_figures(result)
                logger.log_metrics(figures, step=result["compute"]["steps"])
                logger.save()


def close(loggers: Sequence[Logger], exit_code: int = 0) -> None:
    """End the loggers' work; those that have ended are left alone.

    Args:
        loggers: from `loggers_of`.
        exit_code: of the run, not 0 if it failed or was stopped.
    """
    for logger in alive(loggers):
        with guard(logger):
            if isinstance(logger, WandbLogger):
                wandb_logging.end(logger, exit_code)
            else:
                logger.finalize("success" if exit_code == 0 else "failed")
        logger.lost = True


def _why(error: Exception) -> str:
    return one_line(error) or type(error).__name__
