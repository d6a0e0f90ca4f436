"""Where an axis has its ticks."""

import math

STEPS = ((1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round values for a logarithmic axis, at most `most` where few decades are spanned.

    Args:
        low: least value shown, positive.
        high: largest, not below it.
        most: how many ticks there may be.

    Raises:
        ValueError: for a range that is empty or not positive.

    >>> log_ticks(1500, 6100)
    [1500.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0]
    >>> log_ticks(2900, 3100)
    [3000.0]
    >>> log_ticks(0.9, 110)
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    """
    if not 0.0 < low <= high:
        raise ValueError(f"a logarithmic axis cannot span {low} to {high}")
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in STEPS:
        found = [float(f"{s}e{e}") for e in range(first, last + 1) for s in steps]
        inside = [v for v in found if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
        if len(inside) <= most:
            break
    else:
        inside = inside[:: math.ceil(len(inside) / most)]
    if len(inside) >= 2:
        return inside
    if high < 1.3 * low:
        return [float(f"{math.sqrt(low) * math.sqrt(high):.3g}")]
    return [float(f"{low:.2g}"), float(f"{high:.2g}")]


def linear_ticks(high: float, most: int = 6) -> list[float]:
    """Round values from 0 to `high`, at most `most`.

    Raises:
        ValueError: unless `high` is positive.

    >>> linear_ticks(6.9e9)
    [0.0, 2000000000.0, 4000000000.0, 6000000000.0]
    """
    if not high > 0.0:
        raise ValueError(f"an axis cannot end at {high}")
    scale = 10.0 ** math.floor(math.log10(high / most))
    step = next(s * scale for s in (1.0, 2.0, 5.0, 10.0, 20.0) if high / (s * scale) < most)
    return [float(f"{i * step:.12g}") for i in range(math.floor(high / step + 1e-9) + 1)]
