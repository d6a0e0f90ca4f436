"""A network whose layers each take the form that is fastest for them on this machine."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from boildown.forward import evaluating, tensors_of
from boildown.runtime.closeness import differ, steps_apart, tolerance
from boildown.runtime.example import batch_of, called, inputs_of_layers, resized
from boildown.runtime.layer import CompiledLayer
from boildown.runtime.offers import FORMS, can_be_compiled
from boildown.runtime.plan import Plan, Turns
from boildown.runtime.report import Report, Total, this_machine
from boildown.stopwatch import in_turns
from boildown.structure.replace import replaced

CLOSE = 1e-4  # of the largest output, by which those of the network may differ
ROUNDS, MOST_ROUNDS, SECONDS = 7, 101, 1.0  # for the whole network at one batch


def compile(
    model: nn.Module,
    example: Any,
    backend: str = "auto",
    *,
    batches: Sequence[int] | None = None,
    measured: Report | None = None,
    turns: Turns = in_turns,
) -> nn.Module:
    """A copy of a network for inference, each layer in the fastest of its forms.

    Linear and Conv2d layers that the example reaches are timed in turns, in each form that their
    weights allow: as they are, as sparse rows, without dead rows and columns, as factors where the
    rank is exactly low, and in whole numbers where they lie on grids. A form is taken only where it
    is clearly faster, and at each batch only if the whole network is faster with it.

    Args:
        model: any network on one device; it is not touched.
        example: a batch of its input, a tuple or list of its arguments, or a mapping of them.
        backend: "auto", or one of "dense", "csr", "shrunk", "factors", "2:4", "rounded", "int8",
            "fbgemm" and "bytes", which is then taken wherever it is possible, faster or not.
        batches: numbers of samples to be fast at; the example is cut or repeated to each. None:
            that of the example, or those of `measured`.
        measured: the report of the same network compiled on this machine before, whose choices are
            taken over without measuring.
        turns: the stopwatch.

    Returns:
        The copy, in evaluation mode and without gradients; its attribute `report` holds what was
        measured. Its state_dict has the names and values of the model's.

    Raises:
        ValueError: for another backend; batches below 1; an example that the model does not take;
            weights that are not finite; a report of another network or machine; a backend that no
            layer can take; a network that is compiled already or has a `report` of its own.
    """
    _check(model, backend)
    sizes = _batches(batches, example, measured)
    layers = {name: part for name, part in model.named_modules() if can_be_compiled(part)}
    _check_finite(layers)
    machine = this_machine(tensors_of(example)[0].device)
    if measured is not None and measured.machine != machine:
        raise ValueError(
            f"the report was measured on another machine or with other threads ({measured.machine})"
            f" than this ({machine}): compile without it"
        )
    examples = {size: resized(example, size) for size in sizes}
    plans = _decided(model, layers, examples, backend, measured, turns)
    if backend not in ("auto", "dense") and not any(plan.is_compiled() for plan in plans):
        raise ValueError(f"no layer of the {type(model).__name__} can be computed as {backend}")
    made, totals = _fastest(model, plans, examples, backend, measured, turns)
    rows = tuple(row for plan in plans for row in plan.rows)
    vars(made)["report"] = Report(machine, rows, totals, _bytes(model), _bytes(made))
    return made


def _fastest(
    model: nn.Module,
    plans: Sequence[Plan],
    examples: Mapping[int, Any],
    backend: str,
    measured: Report | None,
    turns: Turns,
) -> tuple[nn.Module, tuple[Total, ...]]:
    """The copy, with the plans of batches at which it is slower given up, and what passes take."""
    while True:
        made = _built(model, plans)
        _check_outputs(model, made, examples)
        if measured is not None:
            return made, measured.totals
        totals = _totals(model, made, examples, turns)
        slower = [total.batch for total in totals if total.compiled > total.dense]
        slower = [n for n in slower if any(plan.is_compiled(n) for plan in plans)]
        if backend != "auto" or not slower:
            return made, totals
        for plan in plans:
            plan.give_up(slower)


def _check(model: nn.Module, backend: str) -> None:
    if backend != "auto" and backend not in FORMS:
        raise ValueError(f"backend must be auto, {', '.join(FORMS)}, got {backend!r}")
    for name, part in model.named_modules():
        if isinstance(part, CompiledLayer):
            raise ValueError(f"{name or 'the model'} is compiled already: compile the plain model")
    if hasattr(model, "report"):
        raise ValueError(
            f"the {type(model).__name__} has an attribute report, where the measurements go: "
            "rename its own"
        )
    meta = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    if meta:
        raise ValueError(f"the model's {meta[0]} is on the meta device, without values to compile")


def _check_finite(layers: Mapping[str, nn.Module]) -> None:
    for name, layer in layers.items():
        for kind, tensor in layer.named_parameters(recurse=False):
            if not torch.isfinite(tensor).all():
                raise ValueError(
                    f"{name}.{kind} holds NaN or infinity, which zeros left out would hide: train "
                    "again, or mend the weights, before compiling"
                )


def _batches(batches: Sequence[int] | None, example: Any, measured: Report | None) -> list[int]:
    count = batch_of(example)
    if measured is not None:
        if batches is not None:
            raise ValueError("batches are those of the report: pass one of the two")
        batches = [total.batch for total in measured.totals]
    sizes = [count] if batches is None else list(batches)
    if not sizes or min(sizes) < 1:
        raise ValueError(f"batches must be numbers of samples of at least 1, got {sizes}")
    return sorted(set(sizes))


def _decided(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    examples: Mapping[int, Any],
    backend: str,
    measured: Report | None,
    turns: Turns,
) -> list[Plan]:
    """A plan for each layer that an example reaches."""
    reached = {size: inputs_of_layers(model, layers, one) for size, one in examples.items()}
    plans = []
    with evaluating(model):
        for name, layer in layers.items():
            inputs = {size: seen[name] for size, seen in reached.items() if name in seen}
            if inputs:
                plan = Plan(name, layer, backend)
                plan.decide(inputs, turns, measured)
                plans.append(plan)
    return plans


def _built(model: nn.Module, plans: Sequence[Plan]) -> nn.Module:
    made = replaced(model, {plan.name: plan.made() for plan in plans if plan.is_compiled()})
    return made.eval().requires_grad_(False)


def _check_outputs(model: nn.Module, made: nn.Module, examples: Mapping[int, Any]) -> None:
    """Refuse a copy that computes something else.

    Raises:
        ValueError: naming the difference.
    """
    example = examples[min(examples)]
    with evaluating(model):
        expected, found = (_outputs(one, example) for one in (model, made))
    for one, other in zip(expected, found, strict=True):
        off = differ(one, other)
        most = max(tolerance(CLOSE, one.dtype), steps_apart(model, one))
        if not off <= most:
            raise ValueError(
                f"the outputs of the compiled {type(model).__name__} differ by {off:.1e} of the "
                f"largest, more than {most:.1g}: the network makes much of rounding, or its "
                "outputs are not finite"
            )


def _outputs(model: nn.Module, example: Any) -> list[Tensor]:
    torch.manual_seed(0)  # alike for both, of what draws in evaluation too
    return [out for out in tensors_of(called(model, example)) if out.is_floating_point()]


def _totals(
    model: nn.Module, made: nn.Module, examples: Mapping[int, Any], turns: Turns
) -> tuple[Total, ...]:
    found = []
    with evaluating(model):
        for size, example in examples.items():
            took = turns(
                {
                    "dense": lambda example=example: called(model, example),
                    "compiled": lambda example=example: called(made, example),
                },
                tensors_of(example)[0].device,
                at_least=ROUNDS,
                at_most=MOST_ROUNDS,
                seconds=SECONDS,
            )
            dense, own = (statistics.median(took[name]) for name in ("dense", "compiled"))
            found.append(Total(size, dense, own))
    return tuple(found)


def _bytes(model: nn.Module) -> int:
    """What a network's parameters and buffers take, shared ones counted once."""
    held = {id(tensor): tensor.nbytes for tensor in (*model.parameters(), *model.buffers())}
    return sum(held.values())
