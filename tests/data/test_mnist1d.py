"""boildown.data.mnist1d: made once, kept, the same for every seed, and no global state touched."""

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("mnist1d")

from boildown.data import mnist1d
from boildown.data.mnist1d import MNIST1D, made

CONF = Path(__file__).parents[2] / "conf" / "data" / "mnist1d.yaml"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "boildown" / "mnist1d"


def curves(**changes: Any) -> MNIST1D:
    settings = yaml.safe_load(CONF.read_text()) | {"seed": 0, "samples": 200} | changes
    del settings["_target_"]
    return MNIST1D(**settings)


def test_shapes_and_parts() -> None:
    data = curves(batch_size=16)
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == (16, *data.input_shape) == (16, 40)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert (data.num_classes, len(data.classes)) == (10, 10)
    parts = [
        torch.cat([x for x, _ in loader])
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    ]
    assert [len(part) for part in parts] == [144, 16, 40]
    rows = {row.numpy().tobytes() for part in parts for row in part}
    assert len(rows) == 200
    everything = torch.cat(parts)
    assert abs(everything.mean()) < 0.01
    assert abs(everything.std() - 1) < 0.01


def test_it_is_what_the_package_makes() -> None:
    from mnist1d.data import get_dataset_args, make_dataset

    settings = get_dataset_args()
    settings.num_samples = 200
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    theirs = make_dataset(settings)
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    ours = made(200, 0.8)
    for name, array in ours.items():
        assert np.array_equal(array, theirs[name].astype(array.dtype))


def test_it_is_made_once_for_each_number(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(100, 0.8)
    made(50, 0.8)
    assert len(list(cache.iterdir())) == 2

    def fail(_: Any) -> Any:
        raise AssertionError("made again")

    monkeypatch.setattr(mnist1d, "_make", fail)
    again = made(100, 0.8)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_a_damaged_file_is_made_again(cache: Path) -> None:
    first = made(50, 0.8)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    again = made(50, 0.8)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert file.stat().st_size > 100


def test_a_cache_that_cannot_be_written_is_no_matter(cache: Path) -> None:
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file where a directory should be")
    assert made(50, 0.8)["x"].shape == (40, 40)


def test_global_generators_stay_as_they_were() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    made(50, 0.8)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_the_test_part_does_not_depend_on_the_seed() -> None:
    one, two = (next(iter(curves(seed=seed).test_dataloader()))[0] for seed in (0, 1))
    assert torch.equal(one, two)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(ValueError, match=r'pip install "boildown\[mnist1d\]"'):
        curves().prepare()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"samples": 0}, "samples must be a multiple of 10, got 0"),
        ({"samples": 4999}, "samples must be .* got 4999"),
        ({"samples": 2.5}, "samples must be .* got 2.5"),
        ({"val_size": 160}, "val_size=160 takes 160 of 160"),
    ],
)
def test_bad_settings_are_refused_at_once(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        curves(**changes)
