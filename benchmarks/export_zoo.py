"""Every model by every recipe: trained a little, packed, loaded, exported, run by onnxruntime.

python benchmarks/export_zoo.py [--nets NAME ...] [--recipes NAME ...] [--steps 24] [--out DIR]

Each model of conf/model, small and on noise, is trained by each recipe of conf/compression with a
told amount, written to a .boil file, read into a network as its class builds it, and exported to
ONNX, whose outputs on other noise are compared with those of the network. AlexNet, VGG-16 and
SqueezeNet keep an eighth of their channels and units, by `boildown.structure.shrink`. Prints a line
for each pair and, in Markdown, a row for each recipe: how many networks went through, and the
largest difference, of the largest output, and for those whose inputs are rounded in steps of a grid
over the range of the outputs, and by the file to the letter, without onnxruntime's optimizations.
What is refused is named, weights that a pattern does not fit too. Figures are kept in --out.
"""

import argparse
import copy
import json
import logging
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bare_trainer import bare_trainer
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.pytorch import LightningModule, seed_everything
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

import boildown
from boildown.callbacks.budget import ComputeBudget
from boildown.data.loader import TensorLoader
from boildown.exporting.file import CLOSE
from boildown.exporting.onnx_file import session_of
from boildown.quantize.activations import grid_on
from boildown.run.config import register_resolvers
from boildown.run.recipe import Recipe, check_recipe
from boildown.run.stages import stages_of
from boildown.runtime.closeness import differ, steps_apart
from boildown.structure.shrink import groups_of, shrink
from boildown.tasks.classification import Classification
from boildown.tasks.language import Language
from boildown.tasks.regression import Regression

CONF = Path(__file__).parents[1] / "conf"
SAMPLES, BATCH, CLASSES, SYMBOLS = 48, 12, 5, 24
SMALL: dict[str, dict[str, Any]] = {  # what is not as in conf/model
    "mlp": {"width": 24},
    "resnet": {"width": 4},
    "resnet20": {"width": 4},
    "gpt": {"width": 32, "depth": 2},
    "bert": {"width": 32, "depth": 2},
    "tabular": {"width": 16},
}
SHAPES = {"lenet5": (1, 20, 20), "alexnet": (3, 67, 67), "vgg16": (3, 32, 32)}
SHAPES |= {"squeezenet": (3, 32, 32), "tabular": (10,), "gpt": (12,), "bert": (12,)}
NARROWED = ("alexnet", "vgg16", "squeezenet")
VARIANTS = {"qat, inputs 8 bits": ("qat", "compression.activations=8")}
LONG = ("alexnet woodfisher", "vgg16 woodfisher")  # for convolutions of thousands of inputs
LABELS: dict[str, Callable[[int], Tensor]] = {
    "text": lambda n: torch.randint(0, SYMBOLS, (n, 12)),
    "numbers": lambda n: torch.randn(n, 1),
    "images": lambda n: torch.randint(0, CLASSES, (n,)),
}


@dataclass
class Case:
    """A model, and noise that it takes."""

    name: str
    dense: nn.Module
    plain: Callable[[], nn.Module]

    @property
    def kind(self) -> str:
        known = {"gpt": "text", "bert": "text", "tabular": "numbers"}
        return known.get(self.name, "images")

    @property
    def shape(self) -> tuple[int, ...]:
        return SHAPES.get(self.name, (1, 8, 8))

    def inputs(self, count: int) -> Tensor:
        if self.kind == "text":
            return torch.randint(0, SYMBOLS, (count, *self.shape))
        return torch.randn(count, *self.shape)

    def task(self, model: nn.Module) -> LightningModule:
        def adam(parameters: Any) -> torch.optim.Optimizer:
            return torch.optim.Adam(parameters, lr=1e-3)

        if self.kind == "text":
            return Language(model, optimizer=adam)
        if self.kind == "numbers":
            return Regression(model, optimizer=adam)
        return Classification(model, optimizer=adam, num_classes=CLASSES)


def case_of(name: str) -> Case:
    """A model of conf/model, small."""
    outputs = {"gpt": SYMBOLS, "bert": SYMBOLS, "tabular": 1}.get(name, CLASSES)
    given = OmegaConf.to_container(OmegaConf.load(CONF / "model" / f"{name}.yaml"))
    shape = SHAPES.get(name, (1, 8, 8))
    given |= SMALL.get(name, {}) | {"input_shape": shape, "num_classes": outputs}

    def plain() -> nn.Module:
        made: nn.Module = instantiate(given)
        return made

    torch.manual_seed(0)
    made = Case(name, plain(), plain)
    if name in NARROWED:
        inputs = made.inputs(2)
        groups, _ = groups_of(made.dense.eval(), inputs)
        gone = {group.name: list(range(len(group) - len(group) // 8)) for group in groups}
        made.dense = shrink(made.dense, gone, inputs, groups).train()
    return made


def config_of(recipe: str, exclude: list[str]) -> DictConfig:
    """A recipe with a told amount, without some weights."""
    base, *overrides = VARIANTS.get(recipe, (recipe,))
    if exclude:
        overrides.append(f"compression.prune.exclude=[{','.join(exclude)}]")
    found = _composed(base, *overrides)
    if found.get("ratio") is not None:  # an asked size: here its amount is told
        knob = next(k for k in ("sparsity", "parameters", "factors", "bits") if k in found)
        amount = {"sparsity": 0.8, "parameters": 0.5, "factors": 0.5, "bits": 4}[knob]
        found = _composed(base, *overrides, f"compression.{knob}={amount}")
    return found


def _composed(recipe: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config: DictConfig = compose("config", [f"compression={recipe}", *overrides])
        return config.compression


def trained(case: Case, recipe: str, steps: int) -> tuple[nn.Module, list[str]]:
    """A copy of a model, trained by a recipe on noise, and what was to be left out of it.

    Raises:
        ValueError: if the recipe refuses the model for another reason than a weight's shape.
    """
    exclude: list[str] = []
    while True:
        try:
            return _trained(case, config_of(recipe, exclude), steps), exclude
        except ValueError as error:
            misfit = re.search(r"prune\.exclude=\[(?:model\.)?([^]]+)\]", str(error))
            if misfit is None or misfit[1] in exclude:
                raise
            exclude.append(misfit[1])


def _trained(case: Case, config: DictConfig, steps: int) -> nn.Module:
    seed_everything(0, verbose=False)
    model = copy.deepcopy(case.dense).train()
    check_recipe(config)
    techniques = Recipe.build(config, 4 * sum(p.numel() for p in model.parameters()))
    inputs, targets = case.inputs(SAMPLES), LABELS[case.kind](SAMPLES)
    loader = TensorLoader(inputs, targets, BATCH, shuffle=True, seed=0, drop_last=True)
    for technique in techniques.techniques.values():
        technique.calibration = lambda: loader
    budget = ComputeBudget(steps=steps, phases=techniques.phases or None)
    for place, stage in enumerate(stages_of(techniques.techniques.values())):
        budget.go_on(stage.until)
        task = case.task(model.train())
        task.example_input_array = inputs[:BATCH]
        trainer = bare_trainer([budget, *stage.techniques])
        if place:
            trainer.fit_loop.epoch_loop._batches_that_stepped = budget.steps
        trainer.fit(task, loader)
        if stage.change is not None:
            model = stage.change.restructure(model)
    return model.eval()


def measured(case: Case, recipe: str, steps: int, out: Path) -> dict[str, Any]:
    """What became of a pair."""
    began = time.perf_counter()
    file = out / f"{case.name} {recipe}.boil"
    try:
        model, excluded = trained(case, recipe, steps)
    except ValueError as error:
        return {"refused": f"in training: {str(error).splitlines()[0]}"}
    boildown.pack(model, file)
    model = boildown.load(file, case.plain())
    known = {n: t for n, t in model.state_dict().items() if torch.isfinite(t).all()}
    assert known.keys() == model.state_dict().keys(), "the training diverged"
    path = file.with_suffix(".onnx")
    found: dict[str, Any] = {"bytes": file.stat().st_size, "excluded": excluded}
    try:
        made = boildown.export(model, path, case.inputs(3))
    except ValueError as error:
        return found | {"refused": str(error).splitlines()[0]}
    inputs = case.inputs(16)
    with torch.no_grad():
        expected = model(inputs)
    off = differ(expected, session_of(path)(inputs)[0])
    grids = sum(grid_on(layer) is not None for layer in model.modules())
    exact = differ(expected, session_of(path, to_the_letter=True)(inputs)[0])
    most = max(CLOSE, steps_apart(model, expected, each=True))
    found |= {"onnx": made.bytes, "difference": off, "integers": len(made.integers)}
    found |= {"exact": exact, "grids": grids, "allowed": most}
    found["steps"] = off * grids / steps_apart(model, expected, each=True) if grids else None
    return found | {"seconds": time.perf_counter() - began}


def told(found: dict[str, Any]) -> str:
    """A pair in a line."""
    if "refused" in found:
        return f"refused: {found['refused']}"
    steps = f", {found['steps']:.2f} steps" if found["grids"] else ""
    far = "" if found["difference"] <= found["allowed"] else "TOO FAR "
    off = f"{found['difference']:.1e}, {found['exact']:.1e} to the letter{steps}"
    return f"{far}{off}, {found['integers']} whole, {found['seconds']:.0f} s"


def table(recipes: list[str], figures: dict[str, dict[str, Any]]) -> None:
    """A row for each recipe."""
    print(
        "\n| recipe | networks | difference | in steps | to the letter | whole numbers | refused |"
    )
    print("|---|---|---|---|---|---|---|")
    for recipe in recipes:
        own = {k.split(" ", 1)[0]: v for k, v in figures.items() if k.split(" ", 1)[1] == recipe}
        done = {name: one for name, one in own.items() if "refused" not in one}
        plain = [one["difference"] for one in done.values() if not one["grids"]]
        steps = [one["steps"] for one in done.values() if one["grids"]]
        cells = [
            recipe,
            f"{sum(one['difference'] <= one['allowed'] for one in done.values())} of {len(own)}",
            f"{max(plain):.0e}" if plain else "-",
            f"{max(steps):.2f}" if steps else "-",
            f"{max(one['exact'] for one in done.values()):.0e}" if steps and done else "-",
            str(sum(one["integers"] > 0 for one in done.values())),
            ", ".join(name for name in own if name not in done),
        ]
        print("| " + " | ".join(cells) + " |")
    for key, one in figures.items():
        if "refused" in one:
            print(f"\n{key}: {one['refused']}")


def main() -> None:
    """Measure and print."""
    nets = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
    every = sorted(path.stem for path in (CONF / "compression").glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nets", nargs="+", default=nets, choices=nets)
    parser.add_argument("--recipes", nargs="+", default=[*every, *VARIANTS])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("outputs/export_zoo"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    register_resolvers()
    torch.set_num_threads(1)
    kept = args.out / "figures.json"
    figures: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for name in args.nets:
        case = case_of(name)
        for recipe in args.recipes:
            key = f"{name} {recipe}"
            if key in LONG:
                continue
            if key not in figures:
                figures[key] = measured(case, recipe, args.steps, args.out)
                kept.write_text(json.dumps(figures, indent=1))
            print(f"{key}: {told(figures[key])}", flush=True)
    chosen = [f"{name} {recipe}" for name in args.nets for recipe in args.recipes]
    table(args.recipes, {key: figures[key] for key in chosen if key not in LONG})


if __name__ == "__main__":
    main()
