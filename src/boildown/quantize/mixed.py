"""Bits for each weight of a trained network, where they do most."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from torch import Tensor, nn

from boildown.allocate.widths import (
    BYS,
    WIDTHS,
    By,
    Groups,
    Options,
    allocate_bits,
    check_groups,
    coded_bytes,
    cost_of,
    groups_among,
    harm_by,
    options_of,
)
from boildown.calibrate.batches import Data, collect_whole
from boildown.calibrate.evidence import Evidence
from boildown.calibrate.losses import loss_through
from boildown.flops import forward_flops_by_weight
from boildown.forward import inputs_of
from boildown.name_patterns import without
from boildown.quantize.grid import blocks_of
from boildown.quantize.layers import Plan, check_plan, columns_of
from boildown.quantize.outliers import sixteen_bits
from boildown.quantize.split_layer import parts_of
from boildown.structure.weights import weights_in

Unit = Literal["bytes", "bits", "operations"]
UNITS = get_args(Unit)
OUTLIER_BITS = 16
INPUTS = 32  # bits of what layers get, where it is not rounded


def spread_bits(
    model: nn.Module,
    calibration: Data,
    plan: Plan,
    loss: Callable[[Any, Any], Tensor],
    *,
    by: By = "trace",
    unit: Unit = "bytes",
    budget: float | None = None,
    widths: Iterable[int] = WIDTHS,
    groups: Groups = (),
    samples: int = 512,
) -> dict[str, int]:
    """How many bits each weight gets, so that they do the least harm within a budget.

    Args:
        model: takes a batch of inputs alone; it is left as it was.
        calibration: batches of (inputs, targets).
        plan: whose weights and grids they are for; its bits are the budget unless another is given.
            Columns of outliers are those that its bits call for, and count with 16 bits each.
        loss: (outputs, targets) -> scalar, such as `torch.nn.functional.cross_entropy`.
        by: "trace", the curvature of the loss times the squared error, or "measured", the loss
            itself with one weight of few bits at a time (`boildown.allocate.widths.harm_by`).
        unit: of the budget: "bytes" of the codes and steps in a file, nominal "bits" of the codes,
            or "operations", products of a sample each times bits of weight and of input.
        budget: for all weights of the plan together; None: what its own bits take.
        widths: bits to choose from, 2 to 8.
        groups: lists of patterns of weights that get one number of bits, such as those of the
            queries, keys and values of a block.
        samples: how many to judge by at most.

    Returns:
        Weight -> bits, as `boildown.quantize.layers.quantize_oneshot` takes them, long names first.

    Raises:
        ValueError: for a value out of its range, ternary weights, or a budget below what the fewest
            bits take, naming it; for a pattern of a group that matches nothing, or a weight in two.
        EvidenceError: for a loss that is not finite, or batches without targets.

    Source: Dong et al. 2020 (HAWQ-V2), https://arxiv.org/abs/1911.03852
    """
    if by not in BYS:
        raise ValueError(f"by must be one of {', '.join(BYS)}, got {by!r}")
    if unit not in UNITS:
        raise ValueError(f"unit must be one of {', '.join(UNITS)}, got {unit!r}")
    check_groups(groups, "groups")
    check_plan(plan, model)
    weights = dict(weights_in(model))
    given = plan.bits_of(without(plan.exclude, weights, "exclude"))
    bits = {name: width for name, width in given.items() if isinstance(width, int)}
    if len(bits) < len(given):
        raise ValueError("bits are spread over weights on uniform grids: leave out ternary ones")
    members = groups_among(groups, bits, "groups")
    batches = collect_whole(calibration, samples)
    options = _options(model, batches, replace(plan, bits=bits), loss, by, unit, widths)
    budget = cost_of(options, bits) if budget is None else budget
    found = allocate_bits(options, budget, members)
    # as patterns, of which the first that matches decides: conv1.weight also means 0.conv1.weight
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _options(
    model: nn.Module,
    batches: list[Any],
    plan: Plan,
    loss: Callable[[Any, Any], Tensor],
    by: By,
    unit: Unit,
    widths: Iterable[int],
) -> Options:
    assert isinstance(plan.bits, Mapping)
    weights: dict[str, Tensor] = {name: model.get_parameter(name) for name in plan.bits}
    evidence = Evidence(model, list(weights), lambda: batches, loss_through(model, loss))
    inputs = [inputs_of(batch) for batch in batches]
    apart = columns_of(model, inputs, plan, plan.bits) if plan.outliers else {}

    def rounded(name: str, width: int) -> Tensor:
        weight = weights[name].detach()
        if name not in apart:
            grid = plan.grid(width, weight)
            return grid.nearest(blocks_of(weight, plan.granularity)).view_as(weight)
        made = sixteen_bits(weight)
        rest, _ = (part.to(weight.device) for part in parts_of(apart[name], weight.shape[1]))
        made[:, rest] = plan.grid(width, weight[:, rest]).nearest(weight[:, rest])
        return made

    cost = _cost(model, inputs[0], plan, unit, apart)
    choices = sorted({*widths, *(b for b in plan.bits.values() if isinstance(b, int))})
    return options_of(weights, rounded, harm_by(by, evidence, weights), widths=choices, cost=cost)


def _cost(
    model: nn.Module,
    inputs: Tensor,
    plan: Plan,
    unit: Unit,
    apart: Mapping[str, Sequence[int]],
) -> Callable[[str, int, Tensor], float]:
    """Name, bits and weight -> cost, the columns of outliers by what their 16 bits take."""

    def parts(name: str, made: Tensor) -> list[Tensor]:
        """Of the layers that a weight becomes."""
        both = parts_of(apart[name], made.shape[1])
        return [made[:, part.to(made.device)] for part in both]

    def mean_bits(name: str, bits: int, made: Tensor) -> float:
        few = len(apart.get(name, ()))
        return bits + (OUTLIER_BITS - bits) * few / made.shape[1]

    if unit == "bytes":
        return lambda name, bits, made: (
            sum(map(coded_bytes, parts(name, made))) if name in apart else coded_bytes(made)
        )
    if unit == "bits":
        return lambda name, bits, made: mean_bits(name, bits, made) * made.numel()
    operations = forward_flops_by_weight(model, inputs[:1])
    assert isinstance(plan.bits, Mapping)
    found = plan.input_bits_of(model, list(plan.bits))
    own = {f"{layer}.weight" if layer else "weight": width for layer, width in found.items()}
    return lambda name, bits, made: (
        float(operations.get(name, 0)) / 2 * mean_bits(name, bits, made) * own.get(name, INPUTS)
    )
