"""nncodec in a process and an environment of its own, since it needs a numpy below 2.

It codes whole numbers as they are (int32) and quantizes floats, so it gets maps and codes alone,
zero as 0; codebooks, steps and other small tensors are counted as their bytes.
"""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from codec_streams import Stream


class Outside:
    """nncodec by another interpreter.

    Args:
        python: one that can import it.
    """

    def __init__(self, python: Path) -> None:
        self.python = python

    def misfit(self, streams: "list[Stream]") -> str:
        """Why it cannot code these; empty if it can."""
        codes = sum(s.words.nbytes for s in streams if s.dtype == "codes")
        if 2 * codes < sum(s.words.nbytes for s in streams):
            return "quantizes floats, so it cannot keep them"
        return ""

    def attempt(self, streams: "list[Stream]") -> tuple[int, float, float]:
        """Bytes, and seconds to encode and to decode."""
        maps = [s for s in streams if s.dtype == "codes"]
        rest = sum(s.words.nbytes for s in streams if s.dtype != "codes")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "maps.npz"
            arrays = {
                f"w{i}": (s.words.astype(np.int32) - s.zero).reshape(-1, s.columns)
                for i, s in enumerate(maps)
            }
            np.savez(path, **arrays)
            run = subprocess.run(
                [str(self.python), __file__, str(path)], capture_output=True, text=True, check=False
            )
        if run.returncode:
            raise RuntimeError(run.stderr.strip().rpartition("\n")[2])
        found = json.loads(run.stdout.strip().rpartition("\n")[2])
        return rest + found["bytes"], found["encode"], found["decode"]


def main() -> None:
    """Code the arrays of a file, and print what it took."""
    from nncodec.nn import decode, encode

    loaded = np.load(sys.argv[1])
    arrays = {name: loaded[name] for name in loaded.files}
    ways = {"use_dq": False, "verbose": False}
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent):
        begun = time.perf_counter()
        data = encode(arrays, {**ways, "results": tempfile.gettempdir()})
        between = time.perf_counter()
        back = decode(data)
        done = time.perf_counter()
    for name, array in arrays.items():
        assert np.array_equal(np.asarray(back[name]).reshape(array.shape), array), name
    size = len(bytes(data))
    print(json.dumps({"bytes": size, "encode": between - begun, "decode": done - between}))


if __name__ == "__main__":
    main()
