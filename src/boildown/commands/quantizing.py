"""The command quantize: a trained run's network on grids of few bits, as a new file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from boildown.calibrate.batches import collect
from boildown.codec import inspect_file
from boildown.commands.options import Files
from boildown.commands.reworking import opened
from boildown.printable import printable
from boildown.quantize.layers import Plan, line_of, quantized
from boildown.quantize.mixed import spread_bits
from boildown.report import quantize_table
from boildown.run.reopen import TrainedRun


@dataclass(frozen=True)
class Asked:
    """How a network is quantized, as on a command line: `boildown.quantize.layers.Plan`.

    Attributes:
        bits: such as ["4"], ["ternary"], or ["fc1=4", "*=8"], pattern=bits.
        activations: the same, without ternary; [] leaves inputs as they are.
        method: see there.
        granularity: channel, tensor, or a number of inputs.
        exclude: patterns of weights.
        outliers: fraction of the weights of linear layers.
        samples: of the training data to calibrate with.
        allocation: None, or what spreads the bits (`boildown.quantize.mixed.spread_bits`).
        unit: in which the bits are a budget then.
        groups: then, lists of patterns of weights that get one number of bits.
    """

    bits: Sequence[str]
    activations: Sequence[str]
    method: str
    granularity: str
    exclude: Sequence[str]
    outliers: float
    samples: int
    allocation: str | None
    unit: str
    groups: Sequence[Sequence[str]] = ()

    def plan(self) -> Plan:
        """What it says.

        Raises:
            ValueError: for what says nothing, or a value out of its range.
        """
        group = int(self.granularity) if self.granularity.isdecimal() else self.granularity
        try:
            return Plan(
                _widths("bits", self.bits),
                _widths("activations", self.activations) if self.activations else None,
                self.method,  # type: ignore[arg-type]
                group,  # type: ignore[arg-type]
                exclude=self.exclude,
                outliers=self.outliers,
            )
        except ValueError as error:
            raise ValueError(f"--{error}") from None


def _widths(what: str, given: Sequence[str]) -> Any:
    """The bits, or pattern -> bits; a word that is no number stays one, to be refused.

    Raises:
        ValueError: for several that are not all pattern=bits.
    """
    pairs = [text.rpartition("=") for text in given]
    widths = [int(last) if last.isdecimal() else last for _, _, last in pairs]
    if len(given) == 1 and not pairs[0][1]:
        return widths[0]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError(
            f"{what} {' '.join(given)}: give one number, or PATTERN=BITS several times"
        )
    return {pattern: width for (pattern, _, _), width in zip(pairs, widths, strict=True)}


def _spread(run: TrainedRun, plan: Plan, asked: Asked) -> dict[str, int]:
    """The bits of each weight, of the budget that those of the plan are.

    Raises:
        ValueError: as `boildown.quantize.mixed.spread_bits`.
    """
    return spread_bits(
        run.model,
        run.data.train_dataloader(),
        plan,
        run.loss(),
        by=asked.allocation,  # type: ignore[arg-type]
        unit=asked.unit,  # type: ignore[arg-type]
        groups=asked.groups,
        samples=asked.samples,
    )


def quantize_file(files: Files, asked: Asked, *, as_json: bool) -> None:
    """Quantize a run's network, write the file, and tell what it cost from that file.

    Args:
        files: the run's, and that which is made.
        asked: how.
        as_json: whether everything is printed as data instead.

    Raises:
        ValueError: for other arguments, data that say too little, or a network that cannot be
            built, with the remedy.
        OSError: if a file cannot be read or written.
    """
    plan = asked.plan()
    if asked.groups and asked.allocation is None:
        raise ValueError(
            "--group says which weights get one width when bits are spread: give --allocation too"
        )
    work = opened(
        files,
        name="quantized.boil",
        in_python="boildown.quantize.layers.quantize_oneshot(network, samples, bits)",
    )
    if asked.allocation is not None:
        plan = replace(plan, bits=_spread(work.run, plan, asked))
    samples = collect(work.run.data.train_dataloader(), asked.samples)
    found = quantized(work.run.model, samples, plan, samples=asked.samples)
    made = work.written(found.model)
    sizes = {tensor.name: tensor for tensor in inspect_file(work.out).tensors}
    rows = []
    for name, one in found.weights.items():
        parts = [sizes[part] for part in _parts(name) if part in sizes]
        numel, size = sum(part.numel for part in parts), sum(part.bytes for part in parts)
        rows.append(
            quantize_table.Row(name, numel, one.bits, one.input_bits, one.error, size)
        )  # fmt: skip
    if as_json:
        said = {"file": str(work.out), "of": str(work.run.file)} | asdict(asked) | asdict(made)
        layers = [asdict(row) | {"why": found.weights[row.name].why} for row in rows]
        print(json.dumps(said | {"layers": layers, "left": found.left}, indent=2))
        return
    title = f"{work.run.file}: quantized by {asked.method}, {asked.samples} samples"
    told = [line_of(name, why) for name, why in found.left.items()]
    fell = [line for line in found.told if line not in told]
    told += [f"{n}: {len(own)} columns at 16 bits" for n, own in found.outliers.items()]
    quantize_table.show(rows, [*told, *fell], made, title)
    print(printable(str(work.out)))


def _parts(weight: str) -> list[str]:
    """The tensors of a weight, be it that of a layer which became two."""
    layer = weight.removesuffix("weight")
    return [weight, f"{layer}rest.weight", f"{layer}outliers.weight"]
