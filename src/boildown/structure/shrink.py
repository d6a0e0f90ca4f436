"""Structured pruning: networks without some of their channels, units and heads.

Groups are found by following one forward pass and proven by trying: a network without some of a
group's units must run, and say what the whole network says with these units at zero.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from boildown.forward import evaluating, tensors_of
from boildown.structure.dependencies import Group, Place, call, coupled
from boildown.structure.resize import note_sizes, resized, tensors_in

AGREES = 1e-5  # of the largest output, in fp32: the same but for rounding
MOST_NUMBERS = 3  # of modules, that are tried together

Plan = Mapping[str, Sequence[int]]  # group -> the units that go


class UnshrinkableError(ValueError):
    """A network that does not run, or says something else, without the units of a group."""


def groups_of(model: nn.Module, example_input: Any) -> tuple[list[Group], dict[str, str]]:
    """The dependency groups whose units may go, and those that the network cannot do without.

    Each is tried. Where a network's code counts on how many there are, and that number stands in a
    module's attribute, such as that of heads, it is found too.

    Args:
        model: is not changed.
        example_input: see `boildown.structure.dependencies.coupled`.

    Returns:
        The groups; name -> why not, of the others, and of recurrent layers and local response
        norms, whose channels are in no group.

    Raises:
        UntraceableError: see there.
    """
    groups = coupled(model, example_input)
    left = _not_followed(model)
    if not groups or _differs(model, _half(groups), groups, example_input) is None:
        return groups, left
    found = []
    for group in groups:
        proven, why = _proven(model, group, example_input)
        if proven is None:
            left[group.name] = why
        else:
            found.append(proven)
    return found, left


def _not_followed(model: nn.Module) -> dict[str, str]:
    """The layers through which no units are followed -> why."""
    left = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            left[path] = (
                f"a recurrent layer ({type(module).__name__}) is not looked into, so its "
                f"{module.hidden_size} hidden units and the channels it reads stay"
            )
        elif isinstance(module, nn.LocalResponseNorm):
            left[path] = "a local response norm mixes neighbouring channels, so what it reads stays"
    return left


def shrink(
    model: nn.Module,
    plan: Plan,
    example_input: Any,
    groups: Sequence[Group] | None = None,
) -> nn.Module:
    """A copy of the network without some of its channels, units and heads.

    It says what the network says with all that belongs to these at zero, to 1e-5 of the largest
    output; that is checked on the example.

    Args:
        model: any network; it is not touched.
        plan: group -> numbers of its units that go, at least one of which must stay.
        example_input: a tensor, a tuple of arguments or a mapping of named ones.
        groups: as `groups_of` found them in this network or one of the same structure; by default
            they are found.

    Returns:
        The smaller network, on the same device and in the same mode. It knows what was changed, so
        its file (`boildown.pack`) is one that `boildown.load` reads.

    Raises:
        ValueError: for a group or unit that is not there, or a group that would lose its last unit.
        UnshrinkableError: if the smaller network says something else.
        UntraceableError: if the forward pass cannot be followed.

    Source: Fang et al. 2023 (dependency groups), https://arxiv.org/abs/2301.12900
    """
    if groups is None:
        groups, left = groups_of(model, example_input)
        for name in plan:
            if name in left:
                raise UnshrinkableError(f"{name}: {left[name]}")
    _check(plan, groups)
    why = _differs(model, plan, groups, example_input)
    if why is not None:
        raise UnshrinkableError(f"without {_told(plan)} the network {why}")
    made = smaller(model, plan, groups, share=False)
    note_sizes(model, made)
    return made


def masked(model: nn.Module, plan: Plan, groups: Sequence[Group]) -> nn.Module:
    """A copy of the network with all that belongs to some units at zero.

    Args:
        model: is not touched.
        plan: group -> the units.
        groups: of `groups_of`.

    Raises:
        ValueError: for a group or unit that is not there, or if the network cannot be copied.
    """
    _check(plan, groups)
    return _masked(model, plan, groups, share=False)


def _masked(model: nn.Module, plan: Plan, groups: Sequence[Group], *, share: bool) -> nn.Module:
    zeroed = filled(dict(model.named_parameters()), removed(plan, groups))
    return resized(model, _under_each_name(model, zeroed), {}, share=share)


def _under_each_name(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors for those of a model, tied ones under all of their names."""
    there = tensors_in(model)
    first = {id(tensor): name for name, tensor in reversed(list(there.items()))}
    return {n: tensors[first[id(t)]] for n, t in there.items() if first[id(t)] in tensors}


@torch.no_grad()
def zero(model: nn.Module, plan: Plan, groups: Sequence[Group]) -> None:
    """Set all parameters that belong to some units to zero, in place."""
    parameters = dict(model.named_parameters())
    for (name, axis), gone in removed(plan, groups).items():
        if name in parameters:
            parameters[name].index_fill_(axis, gone.to(parameters[name].device), 0.0)


def removed(plan: Plan, groups: Sequence[Group]) -> dict[Place, Tensor]:
    """What a plan takes away: parameter or buffer and axis -> (k,) indices, in ascending order."""
    found: dict[Place, list[Tensor]] = {}
    for group in groups:
        for unit in plan.get(group.name, ()):
            for place, at in group.units[unit].items():
                found.setdefault(place, []).append(at)
    return {place: torch.cat(parts).sort().values for place, parts in found.items()}


def sliced(tensors: Mapping[str, Tensor], gone: Mapping[Place, Tensor]) -> dict[str, Tensor]:
    """Those of the tensors of which something goes, without it.

    Args:
        tensors: name -> tensor.
        gone: as `removed` returns it; places of other tensors are left out.
    """
    found: dict[str, Tensor] = {}
    for (name, axis), at in gone.items():
        if name in tensors:
            tensor = found.get(name, tensors[name]).detach()
            stays = torch.ones(tensor.shape[axis], dtype=torch.bool)
            stays[at] = False
            kept = stays.nonzero()[:, 0].to(tensor.device)
            found[name] = tensor.index_select(axis, kept)
    return found


def filled(tensors: Mapping[str, Tensor], gone: Mapping[Place, Tensor]) -> dict[str, Tensor]:
    """Those of the tensors of which something goes, with that at zero; see `sliced`."""
    found: dict[str, Tensor] = {}
    for (name, axis), at in gone.items():
        if name in tensors:
            tensor = found.get(name, tensors[name]).detach()
            found[name] = tensor.index_fill(axis, at.to(tensor.device), 0.0)
    return found


def _check(plan: Plan, groups: Sequence[Group]) -> None:
    there = {group.name: group for group in groups}
    for name, units in plan.items():
        if name not in there:
            raise ValueError(f"there is no group {name!r}; there are {', '.join(there) or 'none'}")
        count = len(there[name])
        wrong = [unit for unit in units if unit not in range(count)]
        if wrong or len(set(units)) < len(units):
            raise ValueError(
                f"{name}: the units that go must be different ones of 0 to {count - 1}, "
                f"got {wrong[0] if wrong else list(units)}"
            )
        if len(units) == count:
            raise ValueError(f"{name}: all {count} of its units would go; one must stay")


def smaller(
    model: nn.Module, plan: Plan, groups: Sequence[Group], *, share: bool = True
) -> nn.Module:
    """As `shrink` makes it, but not tried.

    Args:
        model: is not touched.
        plan: group -> the units that go.
        groups: of `groups_of`.
        share: whether tensors of which nothing goes are the model's own, see `resized`.

    Raises:
        ValueError: if the network cannot be copied.
    """
    found = sliced(tensors_in(model), removed(plan, groups))
    numbers = {
        at: each * (len(group) - len(set(plan.get(group.name, ()))))
        for group in groups
        for at, each in group.numbers.items()
    }
    return resized(model, _under_each_name(model, found), numbers, share=share)


def _differs(
    model: nn.Module, plan: Plan, groups: Sequence[Group], example_input: Any
) -> str | None:
    """Why a network without some units is not the one with these at zero; None if it is."""
    with evaluating(model):
        zeroed = _masked(model, plan, groups, share=True)
        expected = tensors_of(call(zeroed, example_input))
        try:
            said = tensors_of(call(smaller(model, plan, groups), example_input))
        except Exception as error:  # whatever its forward pass raises
            line = str(error).strip().partition("\n")[0]
            return f"does not run: {type(error).__name__}: {line}"
    if len(said) != len(expected) or any(
        one.shape != other.shape for one, other in zip(said, expected, strict=True)
    ):
        return "has an output of another shape"
    if not all(map(_alike, said, expected)):
        return "says something else than with their weights at zero"
    return None


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs are the same but for rounding."""
    if not other.is_floating_point() or not other.numel():
        return torch.equal(one, other)
    rounding = AGREES * max(1.0, torch.finfo(other.dtype).eps / torch.finfo(torch.float32).eps)
    within = rounding * float(other.abs().nan_to_num(posinf=0.0).max())
    return torch.allclose(one, other, rtol=0.0, atol=within, equal_nan=True)


def _half(groups: Sequence[Group]) -> dict[str, list[int]]:
    """Every other unit of each group."""
    return {group.name: list(range(0, len(group) - 1, 2)) for group in groups}


def _proven(model: nn.Module, group: Group, example_input: Any) -> tuple[Group | None, str]:
    """The group with the numbers that have to follow it; None and why if nothing helps."""
    plan = _half([group])
    why = _differs(model, plan, [group], example_input)
    if why is None:
        return group, ""
    candidates = _numbers(model, group)
    for count in range(1, MOST_NUMBERS + 1):
        for chosen in combinations(candidates, count):
            numbers = {at: candidates[at] for at in chosen}
            trial = Group(group.name, group.units, numbers)
            if _differs(model, plan, [trial], example_input) is None:
                return trial, ""
    return None, f"without some of its units the network {why}"


def _numbers(model: nn.Module, group: Group) -> dict[tuple[str, str], int]:
    """Numbers that may count the units of a group -> what they would count of each.

    They stand in the modules round the group's layers. Those that are the number of units come
    first.
    """
    paths: dict[str, None] = {}
    for name, _ in group.places:
        parts = name.split(".")[:-1]
        for end in range(len(parts), -1, -1):
            paths[".".join(parts[:end])] = None
    count = len(group)
    found = {}
    for path in paths:
        module = model.get_submodule(path)
        known = type(module).__module__.startswith("torch.nn.modules.")
        for name, value in vars(module).items() if not known else ():
            counts = isinstance(value, int) and not isinstance(value, bool)
            if counts and value >= count and value % count == 0:
                found[path, name] = value // count
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _told(plan: Plan) -> str:
    parts = [f"{len(units)} units of {name}" for name, units in plan.items() if units]
    return ", ".join(parts[:3]) + (f" and {len(parts) - 3} more" if len(parts) > 3 else "")
