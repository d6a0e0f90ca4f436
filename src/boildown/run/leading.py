"""Which of the processes that train one model leads, and how the others end."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


def leads() -> bool:
    """Whether this is the process, of all that train one model, that writes its files."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    with contextlib.suppress(ValueError):
        return all(int(os.environ.get(rank) or 0) == 0 for rank in ranks)
    return True


@contextmanager
def ended_at_once() -> Iterator[None]:
    """End a process that does not lead with the block, with the exit code that it would have had.

    An interpreter that shuts down may abort the process: a thread of gloo that still lets go of a
    tensor asks for it in vain (pytorch's pull request 179291). Lightning then kills the leading
    process. There is nothing left to shut down in the others, which write no files.
    """
    if leads():
        yield
        return
    code: object = None
    try:
        yield
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)
