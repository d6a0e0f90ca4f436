"""Prove a run: load its files in a process of its own and measure them on the test set.

`python -m boildown.run.prove DIR` reads DIR/config.yaml, measures DIR/dense.safetensors and
DIR/model.boil, and writes DIR/evaluation.json. The test set is touched here and nowhere else.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.utils import instantiate
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from boildown.callbacks.quiet import quiet
from boildown.codec import read_config
from boildown.loading import load
from boildown.lowrank.factorize import restructure, structure_in
from boildown.printable import printable
from boildown.run.allowed import check_allowed
from boildown.run.build import config_in, model_config
from boildown.run.config import register_resolvers
from boildown.run.datamodule import data_of
from boildown.run.errors import expected, one_line
from boildown.run.finished import evaluation_in, write_evaluation
from boildown.run.measure import metrics_of


def proven(directory: Path, allow: Sequence[str]) -> dict[str, dict[str, float]]:
    """What `prove` finds in a process of its own.

    Raises:
        RuntimeError: if it fails, with its last word.
    """
    arguments = [str(directory), *(f"--allow={name}" for name in allow)]
    done = subprocess.run(
        [sys.executable, "-m", "boildown.run.prove", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode:
        *_, why = done.stderr.strip().splitlines() or ["no reason given"]
        raise RuntimeError(f"cannot evaluate {directory / 'model.boil'}: {why}")
    found = evaluation_in(directory)
    if found is None:
        raise RuntimeError(
            f"{directory / 'evaluation.json'} is not of the files beside it: another process has "
            "changed them; resume=true measures them again"
        )
    return found


def prove(directory: Path, allow: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """Test metrics of the dense and of the compressed model, from their files.

    Args:
        directory: of the run, holding config.yaml, dense.safetensors and model.boil.
        allow: see `check_allowed`.

    Returns:
        {"dense": {"test/loss": ..., "test/error": ...}, "compressed": {...}}.

    Raises:
        ConfigError: if the config names what may not be built.
    """
    cfg = config_in(directory / "config.yaml")
    check_allowed(cfg, allow, directory)
    data = data_of(cfg)
    data.prepare()

    def test(model: nn.Module) -> dict[str, float]:
        return metrics_of(cfg, data, model, data.test_dataloader(), "test")

    dense: nn.Module = instantiate(model_config(cfg, data))
    load_dense(dense, directory / "dense.safetensors")
    file = directory / "model.boil"
    plain: nn.Module = instantiate(model_config(cfg, data))
    compressed = load(file, restructure(plain, structure_in(read_config(file))))
    return {"dense": test(dense), "compressed": test(compressed)}


def load_dense(model: nn.Module, path: Path) -> None:
    """Fill a model from a safetensors file, in which one name of tied tensors is enough.

    Raises:
        ValueError: if the file is damaged or has other tensors than the model.
    """
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    wanted = model.state_dict(keep_vars=True)
    there = {id(wanted[name]): tensor for name, tensor in state.items() if name in wanted}
    tied = {name: there[id(tensor)] for name, tensor in wanted.items() if id(tensor) in there}
    try:
        model.load_state_dict(tied | state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the model of config.yaml: {error}") from None


def main() -> None:
    """Prove the run in the directory named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--allow", action="append", default=[])
    args = parser.parse_args()
    register_resolvers()
    try:
        with quiet(warn=False):
            metrics = prove(args.directory, args.allow)
    except Exception as error:
        if not expected(error):
            raise
        sys.exit(printable(one_line(error)))
    write_evaluation(args.directory, metrics)


if __name__ == "__main__":
    main()
