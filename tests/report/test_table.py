"""The closing table says what the loss scaler wasted and what zeros would have saved."""

from pathlib import Path
from typing import Any

import pytest

from boildown.report.table import show


def result(**compute: Any) -> dict[str, Any]:
    cost = {"flops": 2_000_000, "steps": 10, "seconds": 1.0}
    return {
        "name": "a-run",
        "ratio": 10.0,
        "target": {"ratio": None, "met": True},
        "dense": {"bytes": 400, "params": 100, "metrics": {"test/error": 0.1}},
        "compressed": {"bytes": 40, "nonzero": 9, "metrics": {"test/error": 0.1}},
        "compute": {**cost, "by_phase": {"train": cost}, **compute},
    }


def shown(capsys: pytest.CaptureFixture[str], **compute: Any) -> str:
    show(result(**compute), Path("here"))
    return " ".join(capsys.readouterr().out.split())


def test_waste_and_credit_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(
        capsys,
        skipped_steps=3,
        wasted_flops=500_000,
        flops_credited=800_000,
        precision="16-mixed",
        seconds_per_tflop=5e5,
    )
    assert "training cost, 16-mixed, 5e+05 s per 1e12 FLOPs" in text
    assert "skipped 3 steps besides: 5e+05 FLOPs wasted, 25.0% of all" in text
    assert "8e+05 FLOPs if weights held at zero cost nothing" in text


def test_nothing_is_said_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, skipped_steps=0, wasted_flops=0, flops_credited=2_000_000)
    assert "skipped" not in text
    assert "zero cost" not in text
    assert shown(capsys) == text
