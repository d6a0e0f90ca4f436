"""Which figure a run is judged by, and how it is written."""

from collections.abc import Iterable

HEADLINE = ("error", "bits_per_byte")  # a task logs one of these; less is better
NEAR = 1.1  # files within this factor have the same size


def headline(names: Iterable[str], stage: str) -> str | None:
    """The metric of a stage that a run is judged by, without the stage.

    Args:
        names: of metrics, such as "test/error".
        stage: "val" or "test".

    Returns:
        "error" where there is one, else "bits_per_byte", else the first metric of that stage; None
        where there is none.

    >>> headline(["test/loss", "test/bits_per_byte"], "test")
    'bits_per_byte'
    """
    found = [name.removeprefix(f"{stage}/") for name in names if name.startswith(f"{stage}/")]
    return next((metric for metric in HEADLINE if metric in found), next(iter(found), None))


def in_words(metric: str) -> str:
    """The metric as a person would say it.

    >>> in_words("bits_per_byte")
    'bits per byte'
    """
    return metric.replace("_", " ")


def unit(metric: str) -> tuple[float, str]:
    """What to multiply a value by for an axis, and what to write behind the axis' name.

    >>> unit("error"), unit("bits_per_byte")
    ((100.0, ', %'), (1.0, ''))
    """
    return (100.0, ", %") if metric.endswith("error") else (1.0, "")


def number(metric: str, value: float) -> str:
    """A value as it is printed: an error in percent, anything else with four decimals.

    >>> number("test/error", 0.0159), number("test/bits_per_byte", 2.345678)
    ('1.59%', '2.3457')
    """
    return f"{value:.2%}" if metric.endswith("error") else f"{value:.4f}"
