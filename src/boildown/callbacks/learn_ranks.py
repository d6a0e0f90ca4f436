"""Learn the ranks of all layers jointly while training: the learning-compression algorithm.

When its C steps come and what they are given; the algorithm is
`boildown.lowrank.learning_compression`.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from boildown.callbacks.budget import clock_of
from boildown.callbacks.constraint import BrokenConstraintError, Check
from boildown.callbacks.evidence import OutputForms, weights_read_elsewhere
from boildown.callbacks.held import tell_held
from boildown.callbacks.learning_rate import rates_before_schedules
from boildown.callbacks.restructuring import Restructuring
from boildown.callbacks.trained import trained_in
from boildown.flops import layer_positions
from boildown.forward import inputs_of
from boildown.lowrank import learning_compression as lc
from boildown.lowrank.costs import Counting, Layer, cost_of, dense_cost_of
from boildown.lowrank.factorize import describe, factorisable, refused, structure
from boildown.lowrank.scheme import Unit
from boildown.lowrank.target import Spectra, Target
from boildown.name_patterns import without
from boildown.schedule import Cubic, Schedule
from boildown.structure.weights import weights_in

EASED = Cubic()


class LearnRanks(Restructuring):
    """Alternate training under a pull towards low rank with choosing the ranks of all layers.

    `LearnRanks(factors=0.5)` alone halves what the layers cost. After each optimizer step the
    weights are pulled towards the nearest network of low rank, which every so often is found anew;
    the rate is the optimizer's before its schedule, which would let the pull fade. At `end` the fit
    stops, and the weights are that network. Until then the network stays as it is; `restructure`
    gives the one with two smaller layers in place of each that has a rank, for the next fit.

    Args:
        factors: what the layers may cost together over what they cost dense, in (0, 1). This or one
            of `price`, `energy` and `ranks`, or in a run none of them and the size of the file: see
            `boildown.lowrank.target.Target` for them and `choose`.
        begin: progress at the first C step. For what says when and how hard, `begin` to `schedule`
            and `multipliers`, see `boildown.lowrank.learning_compression.Algorithm`.
        end: progress at the last C step, where this fit ends.
        metric: what makes an error large: "outputs", what it does to what the network says
            (`boildown.lowrank.form`), for the matrices, the ranks and what energy means alike; or
            "weights", its own size, as in the paper. Without a `calibration` it is "weights".
        calibration: for "outputs": makes an iterable of batches, such as a training dataloader.
        samples: how many of its samples to measure on.
        unit: of the cost: "parameters", "flops" or "bytes". For what is counted, `unit` to `scheme`
            and `exclude`, see `boildown.lowrank.costs.Counting`.
        check: see `Constraint`.
        share: `factors`, as the first version called it.

    Attributes:
        ranks_report: for each layer with a rank or a choice: what it is and what it would be.
        layers: what the ranks of each layer cost; {} before the training.
        learned: where the algorithm is.

    Raises:
        ValueError: for a value out of range, naming it; in `setup` for a pattern that matches no
            layer, and at the start for a fraction that rank 1 everywhere exceeds.

    Source: Idelbayev & Carreira-Perpinan, CVPR 2020, see `boildown.lowrank.learning_compression`
    """

    afterwards = "factored"

    def __init__(
        self,
        *,
        factors: float | None = None,
        price: float | None = None,
        energy: float | None = None,
        ranks: Mapping[str, int] | None = None,
        begin: float = 0.2,
        end: float = 0.3,
        steps: int = 20,
        mu: Sequence[float] = (10.0, 30.0),
        schedule: Schedule = EASED,
        choose: Literal["joint", "energy"] = "joint",
        metric: Literal["weights", "outputs"] = "outputs",
        calibration: Callable[[], Iterable[Any]] | None = None,
        samples: int = 512,
        unit: Unit = "parameters",
        dtype: str | None = None,
        scheme: str = "channel",
        multipliers: bool = False,
        exclude: Sequence[str] = (),
        check: Check = "stage",
        share: float | None = None,
    ) -> None:
        super().__init__(check)
        if metric not in ("weights", "outputs"):
            raise ValueError(f"lowrank.metric must be weights or outputs, got {metric!r}")
        if samples < 1:
            raise ValueError(f"lowrank.samples must be at least 1, got {samples}")
        self.target = Target(share if factors is None else factors, price, energy, ranks, choose)
        self.algorithm = lc.Algorithm(self.target, begin, end, steps, mu, schedule, multipliers)
        self.counting = Counting(unit, dtype, scheme, exclude, ranks)
        self.begin, self.end = begin, end
        self.metric, self.calibration, self.samples = metric, calibration, samples
        self.ranks_report: list[dict[str, Any]] = []
        self.learned = lc.State()
        self.layers: dict[str, Layer] = {}
        self._targets: dict[str, Tensor] = {}
        self._forms: OutputForms | None = None
        self._spectra: Spectra = {}  # in a C step
        self._rates: dict[str, float] = {}  # weight -> its learning rate before any schedule

    @property
    def amounts(self) -> dict[str, Any]:
        return self.target.given

    @property
    def ranks(self) -> dict[str, int | None]:
        """Layer -> the rank of the newest C step, None where it stays dense."""
        return self.learned.ranks

    @property
    def held_figures(self) -> dict[str, dict[str, float]]:
        ranks = {name: float(rank) for name, rank in self.ranks.items() if rank is not None}
        return {"rank": ranks}

    @property
    def reached(self) -> bool:
        return self.learned.step == self.algorithm.last

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and self.is_open and self.size is None:
            raise ValueError(
                "lowrank: how much is to be saved? give factors, such as LearnRanks(factors=0.5), "
                "or one of price, energy and ranks"
            )
        if stage == "fit" and self.structure is None:
            self.counting.names(pl_module)
            if self.metric == "outputs" and self.calibration is not None:
                self._forms = self._forms or OutputForms(self.calibration, self.samples)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for kept in (self.learned.nearest, self.learned.owed):
            for name, tensor in kept.items():
                kept[name] = tensor.to(pl_module.get_parameter(f"{name}.weight").device)
        self._aim()
        self._rates = rates_before_schedules(trainer, pl_module)
        example = pl_module.example_input_array
        passes = self.counting.unit == "flops" or self._forms is not None  # some inputs through
        if self.structure is None and (not passes or isinstance(example, Tensor)):
            self._find_layers(pl_module, example)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.structure is None and not self.layers:
            self._find_layers(pl_module, inputs_of(batch))
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def _find_layers(self, pl_module: LightningModule, inputs: Any, fits: bool = True) -> None:
        """Find the layers and what their ranks cost, and whether the target is within reach."""
        names = self.counting.names(pl_module)
        if fits:
            names = self._trained(pl_module, names)
        if fits and self._forms is not None and isinstance(inputs, Tensor):
            read = weights_read_elsewhere(pl_module.trainer, pl_module, inputs)
            names = self.counting.unread(names, read)
        positions = layer_positions(pl_module, inputs) if self.counting.unit == "flops" else {}
        self.layers = self.counting.layers(pl_module, names, positions)
        if fits:
            self._tell(pl_module)
        if self.learned.step < 0:
            self.target.check_reach(self.layers, self.counting.unit)

    def _trained(self, pl_module: LightningModule, names: list[str]) -> list[str]:
        """Those of the layers whose weight an optimizer trains."""
        there = trained_in(pl_module.trainer)
        left = [n for n in names if id(pl_module.get_parameter(f"{n}.weight")) in there]
        others = [name for name in names if name not in left]
        if not left or (others and self.counting.only is not None):
            raise ValueError(f"lowrank: no optimizer trains {', '.join(others)}; leave them out")
        return left

    def _tell(self, pl_module: LightningModule) -> None:
        """Say which layers learn their ranks, and why the others do not."""
        trained = trained_in(pl_module.trainer)
        reasons = refused(pl_module)
        named = set(without(self.counting.exclude, factorisable(pl_module), "lowrank.exclude"))
        left = {}
        for name, weight in weights_in(pl_module).items():
            layer = name.removesuffix(".weight")
            if layer in self.layers:
                continue
            if id(weight) not in trained:
                left[name] = "no optimizer trains it"
            elif layer in reasons:
                left[name] = reasons[layer]
            elif layer not in named:
                left[name] = "lowrank.exclude"
            elif self.counting.only is not None:
                left[name] = "not in lowrank.ranks"
            else:
                left[name] = "read by more than its layer"
        tell_held("lowrank", [f"{layer}.weight" for layer in self.layers], left)

    def _network(self, pl_module: LightningModule) -> lc.Network:
        return lc.Network(self.layers, dict(pl_module.named_parameters()))

    def act(self, trainer: Trainer, pl_module: LightningModule, progress: float) -> None:
        step = self.algorithm.step_at(progress)
        if self.structure is not None or (step == self.algorithm.last and not self.ending):
            return
        if step > self.learned.step and self.layers:
            self._compress(trainer, pl_module, step)

    @torch.no_grad()
    def _compress(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        """The C step, charged to the clock."""
        began = time.perf_counter()
        forms, measuring = None, 0
        if self._forms is not None:
            schemes = {name: layer.scheme for name, layer in self.layers.items()}
            forms, measuring = self._forms.measure(trainer, pl_module, schemes)
        network = self._network(pl_module)
        self.learned, flops = self.algorithm.c_step(
            self.learned,
            step,
            network,
            forms,
            trainer.strategy.broadcast,
            partial(self._searched, network) if self.is_open else None,
        )
        if self.reached:
            for name, weight in network.weights.items():
                weight.copy_(self.learned.nearest[name])
        self._aim()
        clock = clock_of(trainer)
        if clock is not None:
            seconds = time.perf_counter() - began if self.ending else 0.0
            clock.charge(measuring + flops * trainer.world_size, seconds)

    def _searched(self, network: lc.Network, spectra: Spectra) -> float:
        """What the layers may cost together for a file of the asked size."""
        assert self.size is not None
        self._spectra = spectra
        amount = self.size.amount(network.parameters)
        self._spectra = {}
        return 1.0 - amount

    def look_at(self, network: LightningModule) -> None:
        if self.structure is None:
            flops = self.counting.unit == "flops"  # of which layers tell nothing by themselves
            inputs = network.example_input_array if flops else None
            self._find_layers(network, inputs, fits=False)

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        if self.structure is not None:
            return dict(weights)
        spectra = self._spectra or lc.spectra_of(
            {name: weights[f"{name}.weight"] for name in self.layers}, self.layers
        )
        factors = None if amount is None else 1.0 - amount
        ranks = self.target.chosen(spectra, self.layers, mu=1.0, factors=factors)
        return lc.factors_in(weights, self.layers, spectra, ranks)

    def preview_config(
        self, config: dict[str, Any], weights: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        if self.structure is not None:
            return config
        return describe(config, lc.structure_of(self.layers, weights))

    def _aim(self) -> None:
        """Where the weights are pulled until the next C step."""
        self._targets = self.learned.targets(self.algorithm.mu_after(self.learned.step))

    def steer(self, pl_module: LightningModule) -> None:
        """Gradients are left alone: the pull is a step of its own, in `hold`."""

    def hold(self, pl_module: LightningModule, stepped: Optimizer | None = None) -> None:
        if self.structure is not None or self.reached:
            return
        mu = self.algorithm.mu_after(self.learned.step)
        groups = [] if stepped is None else stepped.param_groups
        moved = {id(p) for group in groups for p in group["params"]}
        for name, target in self._targets.items():
            weight = pl_module.get_parameter(f"{name}.weight")
            if stepped is None or id(weight) in moved:
                lc.pull(weight, target, self._rates[f"{name}.weight"], mu)

    def verify(self, pl_module: LightningModule) -> None:
        if self.structure is not None or not self.reached:
            return
        for name, rank in self.ranks.items():
            weight = pl_module.get_parameter(f"{name}.weight")
            if rank is not None and not torch.equal(weight, self.learned.nearest[name]):
                raise BrokenConstraintError(
                    f"{name}: its weight is no longer of rank {rank}; something else than the "
                    "optimizer writes to the parameters between steps"
                )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.structure is None and self.learned.nearest:
            weights = {n: pl_module.get_parameter(f"{n}.weight") for n in self.learned.nearest}
            pl_module.log("lowrank/distance", lc.distance(self.learned, weights))
            spent = cost_of(self.layers, self.ranks)
            pl_module.log("lowrank/share", spent / dense_cost_of(self.layers))

    def restructure(self, model: nn.Module) -> nn.Module:
        """The network with two smaller layers in place of each that has a rank.

        Args:
            model: the network that was trained, or the part of the LightningModule that is.

        Raises:
            RuntimeError: if the fit ended before the last C step.
            ValueError: if it is another network.
        """
        if not self.reached:
            raise RuntimeError(f"lowrank: no ranks were chosen: the fit ended before {self.end}")
        built, names = lc.factorized(model, self.layers, self.learned)
        self.ranks_report = lc.report(self.learned, self.layers, self.counting.unit, names)
        self.structure = structure(model, built)
        self.learned = replace(self.learned, nearest={}, owed={})
        self._targets = {}
        return built

    @property
    def results(self) -> dict[str, Any]:
        return {"ranks": self.ranks_report}

    def state_dict(self) -> dict[str, Any]:
        report = [dict(row) for row in self.ranks_report]
        return super().state_dict() | {"report": report} | self.learned.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.ranks_report = state_dict["report"]
        self.learned = lc.State.of(state_dict)
