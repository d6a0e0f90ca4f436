"""Files of every version and kind are read for ever."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from states import plain_bytes

from boildown import codec

GOLDEN = Path(__file__).with_name("golden")
FILES = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.boil"))


def base_of(file: str) -> Path | None:
    """The file that a golden one is relative to."""
    where, _, name = file.partition("/")
    return GOLDEN / "version2_best" / name if where == "version2_base" else None


def plain(value: Any) -> Any:
    """Data from what JSON holds."""
    if isinstance(value, dict):
        if value.keys() == {"__bytes__"}:
            return bytes.fromhex(value["__bytes__"])
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_there_are_files_of_every_version() -> None:
    versions = {(GOLDEN / file).read_bytes()[4] for file in FILES}
    assert versions == {1, 2}


@pytest.mark.parametrize("file", FILES)
def test_a_golden_file_holds_what_it_held(file: str) -> None:
    path = GOLDEN / file
    with np.load(path.with_suffix(".npz")) as arrays:
        held = {name: arrays[name].tobytes() for name in arrays.files}
    told = json.loads(held.pop("index"))
    there = base_of(file)
    base = None if there is None else codec.unpack(there)
    state = codec.unpack(path, base=base)
    assert codec.read_config(path) == plain(told["config"])
    assert list(state) == [row["name"] for row in told["tensors"]]
    for place, (row, tensor) in enumerate(zip(told["tensors"], state.values(), strict=True)):
        assert tensor.dtype is getattr(torch, row["dtype"])
        assert list(tensor.shape) == row["shape"]
        if row["tied"] is None:
            assert plain_bytes(tensor) == held[str(place)]
        else:
            assert tensor is state[told["tensors"][row["tied"]]["name"]]
    report = codec.inspect_file(path, base=base)
    assert report.bytes == path.stat().st_size
    assert [tensor.name for tensor in report.tensors] == list(state)
