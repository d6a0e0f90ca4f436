"""The command prune: a trained run's network, pruned without training, as a new file."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from torch import nn

from boildown.calibrate.batches import collect
from boildown.calibrate.outputs import output_errors
from boildown.commands.options import Files
from boildown.commands.reworking import opened
from boildown.locate import locate, search_here
from boildown.name_patterns import without
from boildown.printable import printable
from boildown.prune import criteria
from boildown.prune.criteria import Criterion
from boildown.prune.layers import prune_oneshot
from boildown.prune.reconstruct import METHODS
from boildown.prune.scopes import Scope
from boildown.report import prune_table
from boildown.run.reopen import TrainedRun
from boildown.structure.weights import weights_in

SCOPES = get_args(Scope)


@dataclass(frozen=True)
class Amounts:
    """What is cut, and how: see `boildown.prune.layers.prune_oneshot`."""

    sparsity: float | None
    method: str
    scope: Scope
    pattern: str | None
    exclude: Sequence[str]
    samples: int
    mix: float


def prune_file(files: Files, amounts: Amounts, *, as_json: bool) -> None:
    """Prune a run's network, write the file, and tell what it cost from that file.

    Args:
        files: the run's, and that which is made.
        amounts: what is cut.
        as_json: whether everything is printed as data instead.

    Raises:
        ValueError: for other arguments, data that say too little, or a network that cannot be
            built, with the remedy.
        OSError: if a file cannot be read or written.
    """
    method = _method(amounts.method)
    work = opened(
        files,
        name="pruned.boil",
        in_python="boildown.prune.layers.prune_oneshot(network, samples, sparsity)",
    )
    run = work.run
    pruned = prune_oneshot(
        run.model,
        run.data.train_dataloader(),
        amounts.sparsity,
        method=method,
        scope=amounts.scope,
        pattern=amounts.pattern,
        exclude=amounts.exclude,
        samples=amounts.samples,
        mix=amounts.mix,
        loss=run.loss(),
    )
    rows = _rows(run, pruned, amounts)
    made = work.written(pruned)
    if as_json:
        said = {"file": str(work.out), "of": str(run.file)} | asdict(amounts) | asdict(made)
        print(json.dumps(said | {"layers": [asdict(row) for row in rows]}, indent=2))
        return
    by = f"{amounts.method}, {amounts.samples} samples" + (
        f", mix {amounts.mix:g}" * bool(amounts.mix)
    )
    prune_table.show(rows, made, f"{run.file}: pruned by {by}")
    print(printable(str(work.out)))


def methods() -> list[str]:
    """The names that --method takes."""
    return [*METHODS, *(name for name in _criteria() if name not in METHODS)]


def _criteria() -> dict[str, Criterion]:
    """Those that need no training, by their names."""
    functions = inspect.getmembers(criteria, inspect.isfunction)
    return {
        name: function
        for name, function in functions
        if list(inspect.signature(function).parameters)[:2] == ["weights", "evidence"]
        and function is not criteria.movement
    }


def _method(name: str) -> Any:
    """A method's name as it is, or the criterion of a name.

    Raises:
        ValueError: for one there is none of, with those there are.
    """
    if name in METHODS:
        return name
    if name in _criteria():
        return _criteria()[name]
    if "." not in name:
        raise ValueError(
            f"--method {name}: there is no such method, only {', '.join(methods())}, or a "
            "criterion of your own by its dotted path, such as my_module.my_criterion"
        )
    search_here()
    try:
        found = locate(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--method {name} cannot be found: {error}") from error
    if not callable(found):
        raise ValueError(f"--method {name} is no function of weights and evidence")
    return found


def _rows(run: TrainedRun, pruned: nn.Module, amounts: Amounts) -> list[prune_table.Row]:
    """What is left of each weight that was asked for."""
    weights = weights_in(pruned)
    names = without(amounts.exclude, weights, "exclude")
    layers = {name: name.rpartition(".")[0] for name in names}
    samples = collect(run.data.train_dataloader(), amounts.samples)
    errors = output_errors(run.model, pruned, samples, list(dict.fromkeys(layers.values())))
    return [
        prune_table.Row(name, w.numel(), int((w != 0).sum()), errors.get(layers[name]))
        for name, w in ((name, weights[name].detach()) for name in names)
    ]
