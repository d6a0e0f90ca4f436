"""Which forms a layer could take, by what its weight looks like."""

from contextlib import suppress

import torch
from torch import Tensor, nn

from boildown.quantize.activations import InputGrid, grid_on
from boildown.quantize.integers import integers_of
from boildown.runtime.bytes_form import bytes_form
from boildown.runtime.exact_rank import exact_factors
from boildown.runtime.forms import (
    Dense,
    Factored,
    Form,
    Shrunk,
    Sparse,
    TwoOfFour,
    Window,
    is_two_of_four,
    live,
)
from boildown.runtime.integer import whole_forms

FORMS = ("dense", "csr", "shrunk", "factors", "2:4", "rounded", "int8", "fbgemm", "bytes")
CHUNKS = (16, 32)  # columns of one sparse product: more of the input stays in the cache than whole
SPARSE = 0.5  # the largest fraction of nonzeros for which a Linear's sparse rows are tried
SPARSE_CONVOLUTION = 0.1  # likewise of a convolution, which sparse rows hardly serve
SMALLER = 0.95  # the largest fraction of a layer that is tried as a smaller one


def can_be_compiled(module: nn.Module) -> bool:
    """Whether a module is a layer of a kind that has forms, and nothing but that.

    A subclass, one with a parametrization or with hooks, but for those that round its inputs to a
    grid, does more than its class; it is left alone.
    """
    if type(module) not in (nn.Linear, nn.Conv2d):
        return False
    before = [h for h in module._forward_pre_hooks.values() if not isinstance(h, InputGrid)]
    if module._forward_hooks or before or "forward" in vars(module):
        return False
    return not isinstance(module, nn.Conv2d) or module.padding_mode == "zeros"


def offers(layer: nn.Module, backend: str) -> dict[str, Form]:
    """The forms that a layer could take, the layer as it is among them.

    Args:
        layer: one that `can_be_compiled`.
        backend: "auto" for all of `FORMS`, or one, which is offered wherever it is possible.

    Returns:
        Form -> what computes it.
    """
    weight = layer.get_parameter("weight").detach()
    window = Window.of(layer)
    grid = grid_on(layer)
    made: dict[str, Form] = {"dense": Dense(weight, window, grid)}
    if grid is not None:  # of the others none rounds
        return made | _whole(weight, grid, window, backend)
    for name in FORMS[1:] if backend == "auto" else {backend} - {"dense"}:
        with suppress(RuntimeError, NotImplementedError):  # what torch does not offer here
            form = _offered(name, weight, window, forced=backend != "auto")
            if form is not None:
                made[name] = form
    return made


def _whole(weight: Tensor, grid: InputGrid, window: Window | None, backend: str) -> dict[str, Form]:
    """The forms of a layer whose inputs are rounded to a grid."""
    integers = None if backend in ("dense", "rounded") else integers_of(weight)
    made: dict[str, Form | None] = {
        "rounded": Dense(weight, window, grid),
        **whole_forms(integers, grid, window, weight.device),
        "bytes": bytes_form(integers, weight, grid),
    }
    return {n: form for n, form in made.items() if form and backend in ("auto", n)}


def _offered(name: str, weight: Tensor, window: Window | None, *, forced: bool) -> Form | None:
    one_group = window is None or window.groups == 1
    if name in ("rounded", "int8", "fbgemm"):
        return None  # its inputs lie on no grid
    if name == "bytes":
        return bytes_form(integers_of(weight), weight) if window is None else None
    if name == "2:4":
        fits = window is None and weight.device.type == "cuda" and is_two_of_four(weight)
        return TwoOfFour(weight) if fits else None
    if not one_group:
        return None
    if name == "csr":
        same = window is not None and window.padding == "same" and not window.is_a_pixel
        most = 1.0 if forced else SPARSE if window is None else SPARSE_CONVOLUTION
        full = int(weight.count_nonzero()) > most * weight.numel()
        return None if same or full else Sparse(weight, window)
    if name == "shrunk":
        outputs, inputs = (int(alive.sum()) for alive in live(weight))
        left = outputs * inputs / (weight.shape[0] * weight.shape[1])
        return Shrunk(weight, window) if 0.0 < left < (1.0 if forced else SMALLER) else None
    factors = exact_factors(weight.flatten(1))
    return None if factors is None else Factored(weight, window, *factors)


def ways(name: str, rows: int) -> list[tuple[str, int]]:
    """How a form may be called: its name in a report, and the columns of one product.

    Args:
        name: of the form.
        rows: that it multiplies at once: those of a Linear's input, pixels of a convolution's.
    """
    if name != "csr":
        return [(name, 0)]
    return [(name, 0), *((f"{name}/{n}", n) for n in CHUNKS if n < rows)]


def columns_of(way: str) -> tuple[str, int]:
    """The form and the columns that `ways` named so.

    >>> columns_of("csr/16"), columns_of("dense")
    (('csr', 16), ('dense', 0))
    """
    name, _, columns = way.partition("/")
    return name, int(columns or 0)


def rows_of(layer: nn.Module, inputs: torch.Size) -> int:
    """See `ways`; of a convolution those of one image, about."""
    if isinstance(layer, nn.Linear):
        return inputs[:-1].numel()
    return inputs[-2:].numel()
