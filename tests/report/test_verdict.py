"""Sections, file sizes, winners, and what is said of them."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import BIG_PAYS, family, result
from scipy import stats

from boildown.report import words
from boildown.report.groups import Section, differences, sections
from boildown.report.results import collect, parse
from boildown.report.sentences import headline, sentence
from boildown.report.verdict import Verdict, same_size, verdicts


def sections_of(*results: dict[str, Any]) -> list[Section]:
    made = [parse(data, Path(f"run{i}"), f"run{i}") for i, data in enumerate(results)]
    found, left_out = sections(made)
    assert left_out == []
    return found


def judged(directory: Path) -> tuple[Section, list[Verdict]]:
    ((section,), _) = sections(collect([directory])[0])
    return section, verdicts(section)


def test_where_training_big_pays(tmp_path: Path) -> None:
    section, found = judged(family(tmp_path, BIG_PAYS))
    assert [v.outcome for v in found] == ["holds", "holds", "not shown", "does not hold"]
    assert [v.winner.label for v in found] == ["width 256"] * 3 + ["width 64"]
    one = found[0]
    assert one.by_validation
    assert one.rival.label == "width 64"  # the best of those with a quarter of the parameters
    theirs = stats.ttest_ind(
        BIG_PAYS[64, 1000], BIG_PAYS[256, 1000], equal_var=False
    ).confidence_interval(0.95)
    assert one.lead.low == pytest.approx(theirs.low)
    assert one.lead.high == pytest.approx(theirs.high)
    assert one.storable == 8 * 1000 / 4
    assert one.stored is not None
    assert one.stored.label == "width 16"
    assert sentence(one) == (
        "At 1 kB the model trained at width 256 and compressed 340x is 4.9 ± 0.5 points better "
        "than the model trained at width 64 and compressed 36x. It has 43 times the 2,000 "
        "parameters that fit without pruning: training big pays."
    )
    assert "lies within the seeds' spread: no verdict" in sentence(found[2])
    assert "It has 0.56 times the 16,000 parameters" in sentence(found[3])
    assert "1.0 ± 0.2 points better than width 256, the best with 4 times" in sentence(found[3])
    told = headline(section, found)
    assert told.holds
    assert told.sentence.startswith(
        "Train big, then compress holds at 2 of 4 file sizes (1 kB and 2 kB, a factor of 2)"
    )
    assert "With Bonferroni's correction for 4 sizes it holds at 2." in told.sentence
    assert "It is not shown at 4 kB" in told.sentence
    assert "It does not hold at 8 kB" in told.sentence


def test_one_seed_supports_no_verdict(tmp_path: Path) -> None:
    section, (found,) = judged(family(tmp_path, {(16, 1000): [0.2], (256, 1000): [0.1]}))
    assert found.outcome == "not shown"
    assert "10.00 points better on test" in sentence(found)
    assert "with a single seed the spread is unknown: no verdict" in sentence(found)
    assert not headline(section, [found]).holds


def test_where_no_model_is_large_enough_nothing_is_tested(tmp_path: Path) -> None:
    errors = {(16, 4000): [0.1, 0.11, 0.12], (64, 4000): [0.01, 0.02, 0.03]}
    section, (found,) = judged(family(tmp_path, errors))
    assert found.outcome == "not tested"
    assert "No model of this file size has 4 times the 8,000 parameters" in sentence(found)
    told = headline(section, [found])
    assert not told.holds
    assert told.sentence.startswith("Train big, then compress is not tested at 4 kB: no model")


def test_a_small_winner_must_beat_the_big_ones_outside_the_spread(tmp_path: Path) -> None:
    errors = {(16, 1000): [0.10, 0.12, 0.14], (256, 1000): [0.11, 0.13, 0.15]}
    _, (found,) = judged(family(tmp_path, errors))
    assert found.winner.label == "width 16"
    assert found.outcome == "not shown"


def test_identical_seeds_support_no_verdict(tmp_path: Path) -> None:
    _, (found,) = judged(family(tmp_path, {(16, 1000): [0.2] * 3, (256, 1000): [0.1] * 3}))
    assert found.outcome == "not shown"
    assert "identical figures" in sentence(found)


def test_the_winner_is_chosen_on_validation_and_judged_on_test() -> None:
    runs = [result(width=16, seed=s, error=0.1 + s / 1000, validation=0.2) for s in range(3)]
    runs += [result(width=256, seed=s, error=0.2 + s / 1000, validation=0.1) for s in range(3)]
    (section,) = sections_of(*runs)
    (found,) = verdicts(section)
    assert found.winner.label == "width 256"
    assert found.by_validation
    assert found.outcome == "not shown"
    assert "best on validation, but on test 10.0 ± 0.2 points worse" in sentence(found)


def test_without_validation_the_test_set_chooses_and_it_is_said() -> None:
    runs = [result(width=w, seed=s, error=0.1 + 1 / w, curve=[]) for w in (16, 256) for s in (0, 1)]
    (section,) = sections_of(*runs)
    (found,) = verdicts(section)
    assert not found.by_validation
    assert "best on test" in sentence(found)


def test_unequal_compute_is_no_test_of_the_claim() -> None:
    runs = [
        result(
            width=w,
            seed=s,
            error=0.1 + s / 999 + 1 / w,
            **{"compute.flops": w * 1e6, "compute.budget": {"epochs": 3}},
        )
        for w in (16, 256)
        for s in (0, 1, 2)
    ]
    (section,) = sections_of(*runs)
    found = verdicts(section)
    assert [v.outcome for v in found] == ["not tested"]
    assert "differ by up to 16 times" in headline(section, found).sentence


def test_no_common_size_says_so() -> None:
    (section,) = sections_of(
        result(width=16, size=500, asked=None), result(width=64, size=900, asked=None)
    )
    assert verdicts(section) == []
    assert "no two models have files of the same size" in headline(section, []).sentence


def test_scores_are_better_when_larger() -> None:
    runs = []
    for width in (16, 256):
        for seed in (0, 1, 2):
            score = 0.5 + width / 1000 + seed / 999
            made = result(width=width, seed=seed, size=1000, error=score, metric="accuracy")
            del made["compressed"]["metrics"]["test/loss"]
            runs.append(made)
    (section,) = sections_of(*runs)
    assert section.metric == "test/accuracy"
    (found,) = verdicts(section)
    assert found.winner.label == "width 256"
    assert found.outcome == "holds"
    assert "24.0 ± 0.2 points better" in sentence(found)


def test_bits_per_byte_is_told_in_its_unit() -> None:
    runs = [
        result(width=w, seed=s, error=3 - w / 256 + s / 99, metric="bits_per_byte", size=1000)
        for w in (16, 256)
        for s in (0, 1, 2)
    ]
    (section,) = sections_of(*runs)
    assert section.title == "Digits, test bits per byte, budget 1e9 FLOPs"
    (found,) = verdicts(section)
    assert found.outcome == "holds"
    assert "0.94 ± 0.02 bits per byte better" in sentence(found)


def test_data_metrics_and_budgets_are_never_mixed() -> None:
    found = sections_of(
        result(),
        result(
            **{"config.data._target_": "boildown.data.text.Text", "config.data.path": "a/x.txt"}
        ),
        result(metric="bits_per_byte"),
        result(flops=2e9),
        result(flops=2e9, seed=1),
    )
    assert [(s.title, len(s.runs)) for s in found] == [
        ("Digits, test bits per byte, budget 1e9 FLOPs", 1),
        ("Digits, test error, budget 1e9 FLOPs", 1),
        ("Digits, test error, budget 2e9 FLOPs", 2),
        ("Text (x.txt), test error, budget 1e9 FLOPs", 1),
    ]


def test_other_metrics_need_to_be_shared() -> None:
    odd = result(**{"compressed.metrics": {"test/f1": 0.5, "test/loss": 1.0}})
    (section,) = sections_of(odd, result(seed=1, **{"compressed.metrics": {"test/loss": 1.0}}))
    assert section.metric == "test/loss"
    runs = [parse(result(**{"compressed.metrics": {"speed": 1.0}}), Path("a"), "a")]
    made, (left_out,) = sections(runs)
    assert made == []
    assert left_out.why == "compressed.metrics holds no test metric"


def test_variants_of_a_model_are_told_apart_by_what_differs() -> None:
    runs = [
        result(seed=s, **{"config.task.lr": lr, "config.x": lr, "config.task.deep.lr": lr})
        for lr in (0.1, 0.2)
        for s in (0, 1)
    ]
    runs.append(result(asked=None, **{"config.compression": {}}))
    (section,) = sections_of(*runs)
    assert [line.label for line in section.lines] == [
        "not compressed",
        "x=0.1",
        "x=0.2",
    ]
    assert [len(line.cells[0].runs) for line in section.lines] == [1, 2, 2]


@pytest.mark.parametrize(
    ("models", "labels"),
    [
        ([{"width": 8, "heads": 1}, {"width": 16, "heads": 2}], ["width 8", "width 16"]),
        ([{"depth": 2}, {"depth": 3}], ["depth 2", "depth 3"]),
        ([{"_target_": "a.Wide"}, {"_target_": "a.Deep"}], ["Wide", "Deep"]),
        (
            [{"width": 8, "depth": 1}, {"width": 8, "depth": 2}, {"width": 9, "depth": 2}],
            ["1,001 parameters", "1,002 parameters", "1,003 parameters"],
        ),
    ],
)
def test_sizes_are_named_by_what_differs(models: list[dict[str, Any]], labels: list[str]) -> None:
    runs = []
    for i, model in enumerate(models):
        made = result(**{"dense.params": 1001 + i})
        made["config"]["model"] = {"_target_": "a.MLP"} | model
        runs.append(made)
    (section,) = sections_of(*runs)
    assert [line.label for line in section.lines] == labels


def test_files_that_missed_their_size_are_compared_by_their_real_one() -> None:
    runs = [result(width=w, size=1200, asked=1000) for w in (16, 64)]
    runs.append(result(width=256, size=1000))
    (section,) = sections_of(*runs)
    found = {size: [c.params for c in cells] for size, cells in same_size(section)}
    assert found == {1000: [85002], 1200: [1482, 8970]}


@settings(deadline=None)
@given(st.lists(st.integers(100, 10_000), min_size=1, max_size=12, unique=True))
def test_sizes_within_ten_per_cent_are_one(sizes: list[int]) -> None:
    (section,) = sections_of(
        *(
            result(size=size, asked=None, **{"config.compression.ratio": 1e6 / size})
            for size in sizes
        )
    )
    clusters = same_size(section)
    assert sorted(c.bytes for _, cells in clusters for c in cells) == sorted(sizes)
    for size, cells in clusters:
        assert size == max(c.bytes for c in cells) <= 1.1 * min(c.bytes for c in cells)
    starts = [min(c.bytes for c in cells) for _, cells in clusters]
    assert all(b > 1.1 * a for a, b in itertools.pairwise(starts))


def test_settings_that_move_together_are_told_once() -> None:
    runs = [parse(result(width=w, seed=s), Path("a"), "a") for w in (16, 64) for s in (0, 1)]
    differing, shared = differences(runs)
    assert {s.key: s.also for s in differing} == {
        "seed": ("data.seed", "compression.share.seed"),
        "model.width": (),
        "compression.ratio": (),
    }
    assert {s.key: s.values for s in differing}["model.width"] == (("16", 2), ("64", 2))
    assert "environment.torch" in {s.key for s in shared}


@settings(deadline=None)
@given(st.floats(1e-12, 1e6), st.floats(-1e6, 1e6))
def test_an_uncertainty_has_one_or_two_digits(half: float, mean: float) -> None:
    text = words.plus_minus(mean, half)
    shown = text.split(" ± ")[1]
    assert len(shown.split(".")[-1]) == (words.decimals(half) if "." in shown else len(shown))
    if 1e-6 < half < 1:
        assert math.isclose(float(shown), half, rel_tol=0.34, abs_tol=1e-6)


def test_runs_in_any_order_give_the_same(tmp_path: Path) -> None:
    family(tmp_path, BIG_PAYS)
    runs, _ = collect([tmp_path])
    ((one,), _), ((other,), _) = sections(runs), sections(runs[::-1])
    assert [sentence(v) for v in verdicts(one)] == [sentence(v) for v in verdicts(other)]
