"""Figures in words: as many digits as mean something."""

import math

BETTER_WHEN_LARGER = ("acc", "f1", "auc", "auroc", "precision", "recall", "r2", "iou", "psnr")


def size(count: float) -> str:
    """Bytes, to three digits.

    >>> size(812), size(1582), size(20000), size(3.2e6)
    ('812 bytes', '1.58 kB', '20 kB', '3.2 MB')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * scale:
            return (
                f"{count / scale:.3g} {unit}"
                if count < 999.5 * scale
                else f"{count / scale:.0f} {unit}"
            )
    return f"{count:.0f} bytes"


def flops(count: float) -> str:
    """FLOPs, to two digits.

    >>> flops(2e12), flops(96190464), flops(0)
    ('2e12', '9.6e7', '0')
    """
    if not count:
        return "0"
    mantissa, exponent = f"{count:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def two_digits(number: float) -> str:
    """A positive figure to two digits, written out.

    >>> two_digits(15234.0), two_digits(3.46), two_digits(0.0123)
    ('15,000', '3.5', '0.012')
    """
    rounded = float(f"{number:.1e}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def seconds(count: float) -> str:
    """A time.

    >>> seconds(0.28), seconds(3.62), seconds(75), seconds(4000)
    ('0.28 s', '3.6 s', '1 min 15 s', '1 h 7 min')
    """
    if count < 9.95:
        return f"{count:.2g} s"
    if count < 59.5:
        return f"{count:.0f} s"
    if count < 3599.5:
        minutes, rest = divmod(round(count), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(count / 60), 60)
    return f"{hours} h {minutes} min"


def ratio(value: float) -> str:
    """A compression ratio.

    >>> ratio(3.747), ratio(79.6), ratio(171.2)
    ('3.7x', '80x', '171x')
    """
    return f"{value:.1f}x" if value < 9.95 else f"{value:.0f}x"


def leaf(metric: str) -> str:
    """A metric's name in words.

    >>> leaf("test/bits_per_byte")
    'bits per byte'
    """
    return metric.rpartition("/")[2].replace("_", " ")


def larger_is_better(metric: str) -> bool:
    """Whether a metric is a score; anything else is taken for a loss.

    >>> larger_is_better("test/accuracy"), larger_is_better("test/error")
    (True, False)
    """
    name = metric.rpartition("/")[2].lower()
    return any(piece.startswith(BETTER_WHEN_LARGER) for piece in name.replace("-", "_").split("_"))


def is_fraction(metric: str) -> bool:
    """Whether a metric is a fraction, told in per cent."""
    name = metric.rpartition("/")[2].lower()
    return "error" in name or name.startswith("acc") or name.endswith("accuracy")


def scale(metric: str) -> float:
    """What a metric's values are multiplied by to be shown."""
    return 100.0 if is_fraction(metric) else 1.0


def value(metric: str, number: float | None) -> str:
    """A value of a metric.

    >>> value("test/error", 0.0164), value("test/bits_per_byte", 1.98), value("a", None)
    ('1.64 %', '1.980', '')
    """
    if number is None:
        return ""
    return f"{100 * number:.2f} %" if is_fraction(metric) else f"{number:#.4g}".rstrip(".")


def decimals(half: float) -> int:
    """Decimals that show an uncertainty to one digit, or two if the first is a 1.

    >>> [decimals(h) for h in (0.2, 0.13, 3.0, 12.0)]
    [1, 2, 0, 0]
    """
    if not half > 0 or not math.isfinite(half):
        return 2
    places = -math.floor(math.log10(half))
    first = int(half * 10**places + 1e-9)
    return max(0, min(places + (first == 1), 6))


def plus_minus(mean: float, half: float) -> str:
    """A figure and its uncertainty, to the same decimals.

    >>> plus_minus(1.912, 0.213), plus_minus(0.0123, 0.0017)
    ('1.9 ± 0.2', '0.0123 ± 0.0017')
    """
    places = decimals(half)
    return f"{mean:z.{places}f} ± {half:.{places}f}"


def unit(metric: str) -> str:
    """What a difference of a metric is counted in."""
    return "points" if is_fraction(metric) else leaf(metric)


def axis(metric: str) -> str:
    """A metric's name and unit, for an axis."""
    words = metric.replace("/", " ").replace("_", " ")
    words = words.replace("val ", "validation ", 1) if words.startswith("val ") else words
    return f"{words}, %" if is_fraction(metric) else words


def shorten(text: str, most: int = 44) -> str:
    """A text with its middle left out if it is long.

    >>> shorten("parameters", 7)
    'par…ers'
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"


def listing(items: list[str]) -> str:
    """A list in a sentence.

    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def numeric(text: str) -> tuple[int, float, str]:
    """A sort key that puts numbers in their order, before other texts."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
