"""Loops compiled by numba."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function as machine code, kept on disk where there is a place for it.

    Where there is none, as on a read-only system without a home directory, it is compiled anew by
    each process that calls it.
    """
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(F, njit(nogil=True)(function))


def without_blas() -> None:
    """Keep numba from importing scipy's linear algebra, which takes as long as reading a file.

    It looks for it where it first loads machine code, and does without where there is none: then
    compiled code of this process cannot multiply matrices. So this is for commands that end with
    the process, and does nothing in one that has imported torch.
    """
    if not {"torch", "scipy.linalg", "numba.np.arraymath"} & sys.modules.keys():
        sys.modules[_BLAS] = None  # type: ignore[assignment]
        try:
            import_module("numba.np.arraymath")
        finally:
            del sys.modules[_BLAS]


_BLAS = "scipy.linalg.cython_blas"
