"""boildown.structure.selection: which units go."""

from typing import Any

import pytest
import torch

from boildown.structure.dependencies import Group
from boildown.structure.selection import fewest, first, order, parameters_left, unit_scores

SHAPES = {"a.weight": (4, 3), "a.bias": (4,), "b.weight": (20, 4), "c.weight": (2, 20)}
OF_A = (("a.weight", 0), ("a.bias", 0), ("b.weight", 1))
OF_B = (("b.weight", 0), ("c.weight", 1))
GROUPS = [
    Group("a", tuple({place: torch.tensor([i]) for place in OF_A} for i in range(4))),
    Group("b", tuple({place: torch.tensor([i]) for place in OF_B} for i in range(20))),
]


def scores() -> dict[str, torch.Tensor]:
    make = torch.Generator().manual_seed(0)
    found = {n: torch.rand(s, generator=make) for n, s in SHAPES.items() if len(s) > 1}
    found["a.weight"][2] = found["b.weight"][:, 2] = -10.0
    return found


def test_a_units_score_is_the_sum_of_those_of_its_weights() -> None:
    given = scores()
    found = unit_scores(GROUPS, given)
    for i in range(4):
        expected = given["a.weight"][i].double().sum() + given["b.weight"][:, i].double().sum()
        torch.testing.assert_close(found["a"][i], expected)
    assert len(found["b"]) == 20


def test_each_group_keeps_a_tenth_and_one_at_least() -> None:
    for scope in ("group", "global"):
        plan = first(order(GROUPS, scores(), scope), 99)
        assert len(plan["a"]) == 3
        assert len(plan["b"]) == 18


def test_the_scope_group_takes_the_same_fraction_of_every_group() -> None:
    plan = first(order(GROUPS, scores(), "group"), 12)
    assert plan["a"] == [2, *sorted(set(plan["a"]) - {2})]
    assert (len(plan["a"]), len(plan["b"])) == (2, 10)


def test_the_scope_global_ranks_by_score_per_weight() -> None:
    given = scores()
    found = unit_scores(GROUPS, given)
    each = {("a", (i,)): float(found["a"][i]) / 23 for i in range(4)}
    each |= {("b", (i,)): float(found["b"][i]) / 6 for i in range(20)}
    ordered = order(GROUPS, given, "global")
    assert ordered[0] == ("a", (2,))
    assert [each[at] for at in ordered] == sorted(each[at] for at in ordered)


def test_parameters_are_counted_where_both_sides_of_a_matrix_go() -> None:
    plan = {"a": [0], "b": [0, 1, 2, 3, 4]}
    assert parameters_left(plan, GROUPS, SHAPES) == 3 * 3 + 3 + 15 * 3 + 2 * 15
    assert parameters_left({}, GROUPS, SHAPES) == 12 + 4 + 80 + 40


def test_the_shortest_plan_that_is_small_enough_is_found() -> None:
    ordered = order(GROUPS, scores(), "group")

    def cost(plan: object) -> float:
        return parameters_left(plan, GROUPS, SHAPES)  # type: ignore[arg-type]

    plan = fewest(ordered, cost, 70.0)
    taken = sum(map(len, plan.values()))
    assert cost(plan) <= 70.0 < cost(first(ordered, taken - 1))
    assert fewest(ordered, cost, 136.0) == {}
    with pytest.raises(ValueError, match="5 is out of reach: with all that can go, "):
        fewest(ordered, cost, 5.0)


@pytest.mark.parametrize("scope", ["group", "global"])
def test_channels_stay_a_multiple(scope: Any) -> None:
    ordered = order(GROUPS, scores(), scope, multiple=8)
    assert [(name, len(units)) for name, units in ordered] == [("b", 4), ("b", 8)]
    plan = first(ordered, 2)
    smallest = unit_scores(GROUPS, scores())["b"].argsort()[:12].tolist()
    assert plan == {"b": sorted(smallest)}
