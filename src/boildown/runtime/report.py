"""What was measured when a network was compiled: kept on it, saved, and used again."""

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from boildown.files.atomic import replacing

SCHEMA = 1


@dataclass(frozen=True)
class Machine:
    """What the figures depend on beside the network.

    Attributes:
        cpu: its name, or its architecture.
        capability: instructions that torch's kernels use, such as "AVX2" or "AVX512 VNNI".
        device: "cpu", or an accelerator's name.
        threads: of torch.
        torch: its version.
    """

    cpu: str
    capability: str
    device: str
    threads: int
    torch: str

    def __str__(self) -> str:
        where = "" if self.device == "cpu" else f"{self.device}, "
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        return f"{where}{self.cpu}, {self.capability}, {threads}, torch {self.torch}"


def this_machine(device: torch.device) -> Machine:
    """The one that this runs on, with the device of a network."""
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    own = torch.backends.cpu.get_cpu_capability()
    names = {"VNNI": ("avx512_vnni", "avx_vnni"), "AMX": ("amx_int8", "amx_bf16")}
    more = [name for name, flags in names.items() if any(found.get(f) for f in flags)]
    return Machine(
        str(found.get("cpu_name") or platform.machine()),
        " ".join([own, *more]),
        accelerator,
        torch.get_num_threads(),
        torch.__version__,
    )


@dataclass(frozen=True)
class Measured:
    """A form of a layer at one batch.

    Attributes:
        layer: its dotted path.
        batch: the model's.
        inputs: the shape of the layer's input.
        calls: how often one pass calls it with that shape.
        form: "dense", "csr", "csr/16" in chunks of 16 columns, "shrunk", "factors" or "2:4".
        seconds: the median of one call.
        bytes: that the form takes, without the bias.
        chosen: whether the compiled layer takes this form for such inputs.
    """

    layer: str
    batch: int
    inputs: tuple[int, ...]
    calls: int
    form: str
    seconds: float
    bytes: int
    chosen: bool


@dataclass(frozen=True)
class Total:
    """The whole network at one batch.

    Attributes:
        batch: the model's.
        dense: seconds of a pass of the network as it was, the median.
        compiled: likewise of the compiled one.
    """

    batch: int
    dense: float
    compiled: float


@dataclass(frozen=True)
class Report:
    """All that was measured.

    Attributes:
        machine: where.
        layers: each form of each layer at each batch.
        totals: by batch; one for each.
        dense_bytes: of the parameters and buffers of the network as it was.
        compiled_bytes: likewise of the compiled one, all forms that it holds included.
    """

    machine: Machine
    layers: tuple[Measured, ...]
    totals: tuple[Total, ...]
    dense_bytes: int
    compiled_bytes: int

    def save(self, path: str | Path) -> None:
        """Write it as JSON.

        Args:
            path: of the file; appears whole or not at all.

        Raises:
            OSError: if it cannot be written.
        """
        with replacing(path) as part:
            part.write_text(json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Report":
        """Read what `save` wrote.

        Raises:
            ValueError: if the file is no such report.
            OSError: if it cannot be read.
        """
        try:
            read = json.loads(Path(path).read_text(encoding="utf-8"))
            if read["schema"] != SCHEMA:
                raise ValueError(f"its schema is {read['schema']!r}, not {SCHEMA}")
            rows = [{**row, "inputs": tuple(row["inputs"])} for row in read["layers"]]
            return cls(
                _made(Machine, read["machine"]),
                tuple(_made(Measured, row) for row in rows),
                tuple(_made(Total, row) for row in read["totals"]),
                int(read["dense_bytes"]),
                int(read["compiled_bytes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no report of a compiled model: {error}") from None

    def of(self, layer: str, batch: int) -> list[Measured]:
        """A layer's rows at a batch."""
        return [row for row in self.layers if row.layer == layer and row.batch == batch]

    def lines(self) -> list["Line"]:
        """Each layer at each batch that reaches it, and last the whole network at each."""
        found = []
        for layer in dict.fromkeys(row.layer for row in self.layers):
            rows = [row for row in self.layers if row.layer == layer]
            dense = next(row.bytes for row in rows if row.form == "dense")
            forms = {row.form.partition("/")[0]: row.bytes for row in rows if row.chosen}
            for batch in dict.fromkeys(row.batch for row in rows):
                here = [row for row in rows if row.batch == batch]
                taken = dict.fromkeys(row.form for row in here if row.chosen)
                found.append(
                    Line(
                        *(layer, batch, _seconds(here, "dense"), _seconds(here, None)),
                        *(", ".join(taken), dense, sum(forms.values())),
                    )
                )
        for total in self.totals:
            sizes = self.dense_bytes, self.compiled_bytes
            found.append(Line(None, total.batch, total.dense, total.compiled, "", *sizes))
        return found


@dataclass(frozen=True)
class Line:
    """A layer, or the network, at one batch: as it was and compiled.

    Attributes:
        layer: its dotted path; None for the whole network.
        batch: the model's.
        dense: seconds in one pass as it was.
        compiled: likewise compiled.
        form: what was taken; "" for the network.
        dense_bytes: of the weight, or of all parameters and buffers.
        compiled_bytes: likewise compiled, the forms for all batches together.
    """

    layer: str | None
    batch: int
    dense: float
    compiled: float
    form: str
    dense_bytes: int
    compiled_bytes: int

    @property
    def times(self) -> float:
        """How many times faster."""
        return self.dense / self.compiled


def _seconds(rows: Iterable[Measured], form: str | None) -> float:
    """What one pass takes in a form, or in what was chosen."""
    wanted = [row for row in rows if (row.chosen if form is None else row.form == form)]
    return sum(row.calls * row.seconds for row in wanted)


def _made(kind: Any, given: dict[str, Any]) -> Any:
    """A dataclass of plain values of the types that it says."""
    wanted: dict[Any, Any] = {tuple[int, ...]: tuple, float: (int, float)}
    for field in fields(kind):
        value = given[field.name]
        if not isinstance(value, wanted.get(field.type, field.type)):
            raise ValueError(f"{field.name} is {value!r}")
    return kind(**given)
