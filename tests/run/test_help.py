"""What `train.py --help` says: boildown's knobs, recipes and choices, at 80 columns."""

from pathlib import Path

from runs import ROOT

from boildown.run.help import help_text

CONF = ROOT / "conf"


def test_every_recipe_and_its_knobs_are_named() -> None:
    text = help_text(CONF)
    for recipe in (CONF / "compression").glob("*.yaml"):
        assert recipe.stem == "none" or f"\n  {recipe.stem} " in text
    for knob in ("ratio", "bytes", "sparsity", "keep", "bits", "factors", "seed", "resume"):
        assert f"  {knob} " in text
    assert "Hydra" in text.splitlines()[-1]
    assert max(map(len, text.splitlines())) <= 80


def test_a_new_recipe_is_named_by_being_there(tmp_path: Path) -> None:
    (tmp_path / "compression").mkdir()
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "compression" / "mine.yaml").write_text("# My own. Really.\namount: 3 # of it\n")
    text = help_text(tmp_path)
    assert "  mine              My own\n" in text
    assert "    amount          of it\n" in text
