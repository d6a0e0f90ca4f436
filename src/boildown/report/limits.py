"""What a result.json may hold at most, so that a hostile one costs no more than being read."""

from typing import Any

SMALLEST, LARGEST = 1e-30, 1e30
"""Sizes of figures, 0 aside: beyond these, powers and ratios of them overflow or vanish."""

_VALUES_MOST = 1_000_000
_DEPTH_MOST = 100
_LETTERS_MOST = 10_000  # of a text
_NAME_MOST = 200  # of a key
_CURVE_MOST = 100_000  # rows
_METRICS_MOST = 200


def why_too_much(data: Any) -> str | None:
    """Why the content of a result.json is beyond what a report reads; None if it is not.

    Args:
        data: as from json.loads.
    """
    waiting: list[tuple[Any, int]] = [(data, 0)]
    count = 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > _VALUES_MOST:
            return f"it holds over {_VALUES_MOST:,} values"
        if depth > _DEPTH_MOST:
            return f"it is nested deeper than {_DEPTH_MOST} levels"
        if isinstance(value, str) and len(value) > _LETTERS_MOST:
            return f"a text of {len(value):,} letters, {value[:20]!r}...; {_LETTERS_MOST:,} at most"
        if isinstance(value, dict):
            long = next((key for key in value if len(key) > _NAME_MOST), None)
            if long is not None:
                return f"a key of {len(long):,} letters, {long[:20]!r}...; {_NAME_MOST} at most"
            waiting.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            waiting.extend((inner, depth + 1) for inner in value)
    return _why_too_many(data)


def _why_too_many(data: Any) -> str | None:
    """The same for the parts that are drawn."""
    if not isinstance(data, dict):
        return None
    curve, compressed = data.get("curve"), data.get("compressed")
    if isinstance(curve, list) and len(curve) > _CURVE_MOST:
        return f"its curve has {len(curve):,} rows; {_CURVE_MOST:,} at most"
    metrics = compressed.get("metrics") if isinstance(compressed, dict) else None
    if isinstance(metrics, dict) and len(metrics) > _METRICS_MOST:
        return f"it has {len(metrics):,} metrics; {_METRICS_MOST} at most"
    return None
