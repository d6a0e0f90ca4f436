"""Results made up for tests: what a run would have written."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PARAMS = {16: 1482, 64: 8970, 256: 85002}


def result(
    *,
    width: int = 64,
    size: int = 3000,
    seed: int = 0,
    error: float = 0.05,
    validation: float | None = None,
    flops: float = 1e9,
    metric: str = "error",
    asked: int | None = -1,
    **more: Any,
) -> dict[str, Any]:
    """A result.json; `more` are further keys, "a.b" for one inside another."""
    params = PARAMS.get(width, 100 * width)
    shared = error if validation is None else validation
    made: dict[str, Any] = {
        "schema": 1,
        "name": f"w{width}-b{size}-s{seed}",
        "seed": seed,
        "config": {
            "data": {"_target_": "boildown.data.digits.Digits", "seed": seed, "batch_size": 64},
            "model": {"_target_": "boildown.models.mlp.MLP", "width": width, "depth": 2},
            "trainer": {"precision": "32-true"},
            "budget": {"flops": flops},
            "compression": {
                "bytes": size if asked == -1 else asked,
                "ratio": 4 * params / size,
                "bits": 4,
                "prune": {"_target_": "boildown.callbacks.prune.Prune", "begin": 0.35},
                "share": {"_target_": "boildown.callbacks.share.ShareWeights", "seed": seed},
            },
            "seed": seed,
            "name": None,
        },
        "dense": {
            "params": params,
            "bytes": 4 * params,
            "metrics": {"test/loss": 1.0, f"test/{metric}": error * 1.1},
        },
        "compressed": {
            "bytes": size,
            "metrics": {"test/loss": 0.9, f"test/{metric}": error},
            "nonzero": params // 2,
            "file": "model.boil",
        },
        "ratio": 4 * params / size,
        "target": {"ratio": 4 * params / size, "met": True},
        "compute": {
            "flops": flops,
            "reused": 0,
            "budget": {"flops": flops},
            "steps": 100,
            "seconds": 2.5,
            "by_phase": {
                "dense": {"flops": 0.35 * flops, "steps": 35, "seconds": 0.5},
                "prune": {"flops": 0.45 * flops, "steps": 45, "seconds": 1.5},
                "share": {"flops": 0.20 * flops, "steps": 20, "seconds": 0.5},
            },
        },
        "layers": [
            layer("fc1.weight", [params // 10, 10], size - 100),
            layer("fc1.bias", [10], 60),
        ],
        "test_samples": 360,
        "curve": [
            {
                "progress": i / 20,
                "epoch": i,
                "phase": "dense" if i <= 7 else "prune" if i <= 16 else "share",
                "flops": i * flops / 20,
                "prune/sparsity": min(max(i - 7, 0) / 10, 0.9),
                "bytes": round(4 * params - (4 * params - size) * max(i - 7, 0) / 13),
                f"val/{metric}": shared * (1 + (20 - i) / 10),
            }
            for i in range(1, 21)
        ],
        "environment": {"torch": "2.13.0", "python": "3.11.7", "device": "CPU"},
    }
    for key, value in more.items():
        change(made, key, value)
    return made


def layer(name: str, shape: list[int], size: int) -> dict[str, Any]:
    """A row of a result's layers."""
    return {
        "name": name, "shape": shape, "nonzero": 7, "distinct": 5, "rank": None,
        "bits_per_weight": 1.0, "bytes": size, "coder": "sparse huffman",
    }  # fmt: skip


def change(node: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; `...` removes it."""
    *path, last = key.split(".")
    for part in path:
        node = node.setdefault(part, {})
    if value is ...:
        del node[last]
    else:
        node[last] = value


def put(directory: Path, content: Mapping[str, Any] | str | bytes) -> Path:
    """Write a result.json into a directory, made if it is missing; returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Mapping):
        content = json.dumps(content)
    data = content if isinstance(content, bytes) else content.encode()
    (directory / "result.json").write_bytes(data)
    return directory


def family(directory: Path, errors: Mapping[tuple[int, int], Sequence[float]], **more: Any) -> Path:
    """A sweep: (width, bytes) -> the test error of each seed."""
    for (width, size), values in errors.items():
        for seed, error in enumerate(values):
            made = result(width=width, size=size, seed=seed, error=error, **more)
            put(directory / f"w{width}-b{size}-s{seed}", made)
    return directory


# Training big pays at 1 and 2 kB, at 4 kB the seeds decide nothing, at 8 kB the small one wins.
BIG_PAYS = {
    (16, 1000): [0.200, 0.204, 0.202],
    (64, 1000): [0.150, 0.154, 0.152],
    (256, 1000): [0.101, 0.105, 0.103],
    (16, 2000): [0.150, 0.151, 0.149],
    (64, 2000): [0.120, 0.121, 0.122],
    (256, 2000): [0.060, 0.061, 0.062],
    (16, 4000): [0.090, 0.100, 0.110],
    (64, 4000): [0.060, 0.080, 0.100],
    (256, 4000): [0.055, 0.075, 0.085],
    (64, 8000): [0.030, 0.031, 0.032],
    (256, 8000): [0.040, 0.041, 0.042],
}  # fmt: skip
