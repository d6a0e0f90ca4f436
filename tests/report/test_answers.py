"""What a report says of ratios, recipes, seeds, and of a size or error that was asked for."""

from pathlib import Path
from typing import Any

import pytest
from made import family, put, result

from boildown.cli import main
from boildown.report.answers import answers
from boildown.report.asked import Asked, choice
from boildown.report.groups import Section, sections
from boildown.report.results import parse
from boildown.report.varies import varying
from boildown.report.verdict import verdicts


def section_of(*results: dict[str, Any]) -> Section:
    made = [parse(data, Path(f"run{i}"), f"run{i}") for i, data in enumerate(results)]
    ((section,), _) = sections(made)
    return section


def told(section: Section, about: str, asked: Asked | None = None) -> list[str]:
    found = answers(section, verdicts(section), asked or Asked())
    return [answer.text for answer in found if answer.about == about]


def at(size: int, before: list[float], after: list[float], **more: Any) -> list[dict[str, Any]]:
    """Runs of one size, a seed for each pair; other settings say that a size was not asked for."""
    return [
        result(
            size=size, seed=s, error=a, asked=None, **{"dense.metrics": {"test/error": b}}, **more
        )
        for s, (b, a) in enumerate(zip(before, after, strict=True))
    ]


DENSE = [0.036, 0.039, 0.042]
# 4 bytes x 8970 parameters: 10x, 20x, 40x, 80x
SWEEP = [
    *at(3588, DENSE, [0.036, 0.0391, 0.0419]),
    *at(1794, DENSE, [0.042, 0.045, 0.0486]),
    *at(897, DENSE, [0.048, 0.0525, 0.054]),
    *at(448, DENSE, [0.094, 0.0985, 0.1]),
]


def test_what_each_ratio_costs_and_the_knee() -> None:
    (text,) = told(section_of(*SWEEP), "ratios")
    assert text == (
        "10x costs nothing measurable (3.90 → 3.90 %), 20x costs 0.62 ± 0.09 points "
        "(3.90 → 4.52 %), 40x costs 1.2 ± 0.2 points (3.90 → 5.15 %), 80x costs 5.9 ± 0.2 points "
        "(3.90 → 9.75 %). The knee is at 40x (897 bytes): beyond it halving the file costs "
        "4.6 points, up to it 0.62."
    )


def test_a_gain_is_a_gain_and_an_even_slope_has_no_knee() -> None:
    runs = [
        *at(3588, DENSE, [0.030, 0.0332, 0.036]),
        *at(1794, DENSE, [0.046, 0.0491, 0.052]),
        *at(897, DENSE, [0.062, 0.0651, 0.068]),
    ]
    (text,) = told(section_of(*runs), "ratios")
    assert text.startswith("10x gains 0.59 ± 0.03 points (3.90 → 3.31 %), 20x costs 1.0")
    assert "knee" not in text


def test_a_large_cost_on_which_the_seeds_do_not_agree_is_not_called_nothing() -> None:
    (text,) = told(section_of(*at(897, DENSE, [0.04, 0.08, 0.20])), "ratios")
    said = "40x seems to cost 7 ± 20 points (3.90 → 10.67 %), on which the seeds differ"
    assert text.startswith(said)


@pytest.mark.parametrize(
    ("after", "start"),
    [
        (0.05, "40x costs nothing measurable"),
        (0.08, "40x costs 4.40 points (3.60 → 8.00 %)"),
    ],
)
def test_a_single_seed_is_judged_by_the_test_sets_own_error(after: float, start: str) -> None:
    (text,) = told(section_of(*at(897, [0.036], [after])), "ratios")
    assert text.startswith(start)


def test_less_than_one_sample_is_nothing_measurable() -> None:
    runs = at(897, DENSE, [d + 0.002 + i / 1e6 for i, d in enumerate(DENSE)])
    assert told(section_of(*runs), "ratios")[0].startswith("40x costs nothing measurable")
    for run in runs:
        run["test_samples"] = 10_000
    assert told(section_of(*runs), "ratios")[0].startswith("40x costs 0.20")


def test_a_single_seed_on_an_unknown_test_set_settles_nothing() -> None:
    text = told(section_of(*at(897, [0.036], [0.08], test_samples=None)), "ratios")[0]
    assert text == "40x seems to cost 4.40 points (3.60 → 8.00 %), which one seed does not settle."


def test_figures_that_differ_by_rounding_have_no_spread() -> None:
    runs = at(897, [0.0388889, 0.0361111], [0.0416667, 0.0388888])
    assert told(section_of(*runs), "ratios")[0].startswith(
        "40x costs nothing measurable (3.75 → 4.03 %)"
    )
    for run in runs:
        run["test_samples"] = None
    assert told(section_of(*runs), "ratios") == [
        "40x seems to cost 0.28 points (3.75 → 4.03 %), with no spread to judge it by."
    ]


def test_scores_cost_by_falling() -> None:
    runs = at(897, [0.95, 0.96], [0.90, 0.911], metric="accuracy")
    for run, before in zip(runs, (0.95, 0.96), strict=True):
        run["dense"]["metrics"] = {"test/accuracy": before}
        del run["compressed"]["metrics"]["test/loss"]
    assert told(section_of(*runs), "ratios")[0].startswith("40x costs 4.9 ± 0.6 points")


def recipe(name: str, **more: Any) -> dict[str, Any]:
    """Settings of a recipe of two techniques, the second of that name."""
    target = {"_target_": f"boildown.{name}", "begin": 0.5, "own": name}
    return {"config.compression.share": ..., f"config.compression.{name}": target, **more}


def test_which_recipe_wins_at_each_size() -> None:
    runs = []
    for size, deep, flat in ((1000, 0.05, 0.08), (2000, 0.04, 0.06), (4000, 0.03, 0.031)):
        for seed, wobble in enumerate((0.0, 0.001, 0.002)):
            runs += [
                result(size=size, seed=seed, error=deep + wobble),
                result(size=size, seed=seed, error=flat - wobble / 2, **recipe("flat")),
            ]
    section = section_of(*runs)
    (text,) = told(section, "recipes")
    assert text == (
        "prune + share wins at 1 kB (36x) by 2.8 ± 0.2 points over prune + flat and at 2 kB (18x) "
        "by 1.8 ± 0.2 points over prune + flat. At 4 kB nothing tells prune + flat from "
        "prune + share (0.1 ± 0.2 points)."
    )
    assert [a.about for a in answers(section, [], Asked())][:1] == ["recipes"]
    (varies,) = told(section, "varies")
    assert varies.startswith("The runs differ in recipe (prune + flat and prune + share), ")


def test_recipes_without_a_common_size_or_seeds_are_not_judged() -> None:
    apart = result(size=500, asked=None), result(size=900, asked=None, **recipe("flat"))
    assert told(section_of(*apart), "recipes")[0].startswith(
        "No two recipes have files of the same"
    )
    alone = result(size=500, error=0.1), result(size=500, error=0.2, **recipe("flat"))
    assert told(section_of(*alone), "recipes") == [
        "prune + share leads by 10.00 points at 500 bytes, with no spread to judge it by."
    ]


def test_the_seeds_spread_and_the_test_sets_own_error_are_told() -> None:
    (text,) = told(section_of(*SWEEP), "seeds")
    assert text.startswith("3 seeds per setting, whose standard deviation is 0.3 to 0.33 points;")
    assert "One of the 360 test samples is 0.28 points; at 3.90 % another" in text
    assert "would give 1 points more or less" in text
    (alone,) = told(section_of(result(test_samples=None)), "seeds")
    assert alone == (
        "Each setting has a single seed: no spread, and no error bars. How much the choice of the "
        "test set adds is not known."
    )


def test_what_follows_from_other_settings_is_not_said_to_vary() -> None:
    runs = [
        result(
            size=size, seed=seed, asked=None,
            **{"config.compression.ratio": ratio, "config.compression.share.bits": bits},
        )
        for ratio, bits, size in ((10, 6, 3588), (20, 5, 1794), (40, 5, 897))
        for seed in (0, 1)
    ]  # fmt: skip
    found = {s.key: [v for v, _ in s.values] for s in varying(section_of(*runs).runs)}
    assert found == {"seed": ["0", "1"], "compression.ratio": ["10", "20", "40"]}
    assert told(section_of(result()), "varies") == [
        "The runs do not differ in anything that was set."
    ]


def test_of_very_many_settings_the_first_are_told() -> None:
    runs = [
        result(seed=i, **{f"config.task.k{j}": (i >> j) & 1 for j in range(12)})
        for i in (1 << j for j in range(12))
    ]
    (text,) = told(section_of(*runs), "varies")
    assert text.startswith("The runs differ in seed (1 to 2048, 12 values)")
    for i, run in enumerate(runs):
        run["seed"] = run["config"]["seed"] = run["config"]["data"]["seed"] = 0
        run["config"]["compression"]["share"]["seed"] = i // 12
    (text,) = told(section_of(*runs), "varies")
    assert "task.k7 (0 and 1) and 3 more settings." in text


def test_the_best_run_under_a_size_is_chosen_on_validation() -> None:
    runs = [
        result(size=900, seed=s, error=e, validation=v, asked=None)
        for s, (e, v) in enumerate(((0.02, 0.09), (0.05, 0.03)))
    ]
    section = section_of(*runs, result(size=3000, error=0.01, asked=None))
    assert choice(section, Asked(bytes=1000)) == (
        "The best file of at most 1 kB is run run1: MLP at 40x, 900 bytes, error 5.00 %, mean of "
        "its 2 seeds 3.50 %; the seed was chosen on validation."
    )
    assert choice(section, Asked(bytes=800)) == (
        "No run is of at most 800 bytes. The smallest, run run0, has 900 bytes."
    )
    for run in runs:
        run["curve"] = []
    told_ = choice(section_of(*runs), Asked(bytes=1000))
    assert told_ is not None
    assert "run run0" in told_
    assert "chosen on the test set, which flatters it" in told_


def test_the_smallest_file_under_an_error() -> None:
    section = section_of(*SWEEP)
    told_ = choice(section, Asked(error=0.046))
    assert told_ is not None
    assert told_.startswith("The smallest file with error at most 4.60 % is run run3: MLP at 20x")
    assert choice(section, Asked(error=0.01)) == (
        "No run is with error at most 1.00 %. The best, MLP at 10x, has 3.90 % at 3.59 kB."
    )
    assert choice(section, Asked()) is None


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--bytes", "0"], "--bytes 0: a file has at least 1 byte"),
        (["--error", "5"], "--error 5: error is a fraction, such as 0.05 for 5 %"),
        (["--error", "-1"], "--error -1.0: give 0 or more"),
        (["--error", "nan"], "--error nan: give 0 or more"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    option: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "a", result())
    out = tmp_path / "r.html"
    assert main(["report", str(tmp_path), "-o", str(out), *option]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_the_terminal_and_the_page_say_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family(tmp_path / "runs", {(64, 900): [0.05, 0.06], (64, 3000): [0.04, 0.05]})
    out = tmp_path / "r.html"
    assert main(["report", str(tmp_path / "runs"), "-o", str(out), "--bytes", "1000"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "asked The best file of at most 1 kB is run w64-b900-s0" in shown
    assert "seeds 2 seeds per setting, whose standard deviation is 0.71 points" in shown
    page = out.read_text(encoding="utf-8")
    assert '<p class="headline">The best file of at most 1 kB is run w64-b900-s0' in page
    assert "<dt>seeds</dt><dd>2 seeds per setting" in page
