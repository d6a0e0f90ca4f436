"""Networks that run faster for being compressed: each layer in the form that this machine likes."""

from boildown.runtime.compiling import compile
from boildown.runtime.report import Report

__all__ = ["Report", "compile"]
