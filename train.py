"""Train, compress, pack and prove: `python train.py +compression=deep`."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from boildown.config import accept_plus, one_line, register_resolvers


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def job(cfg: DictConfig) -> float:
    """Run one config in its own directory; returns the compressed model's test error."""
    from boildown.run import run

    return run(cfg, Path(HydraConfig.get().runtime.output_dir))


if __name__ == "__main__":
    register_resolvers()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach us; we say them on one line
    sys.argv[1:] = accept_plus(sys.argv[1:])
    try:
        job()
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if os.environ.get("BOILDOWN_TRACEBACK"):
            raise
        sys.exit(f"boildown: {one_line(error)}")
