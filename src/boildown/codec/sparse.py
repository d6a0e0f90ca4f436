"""Many zeros: the places of the other elements as gaps, and these as they are or as codes."""

from boildown.codec import values
from boildown.codec.bytewise import Reader
from boildown.codec.codebook import cheapest_code, read_code
from boildown.codec.coder import Anatomy, Plan, Survey
from boildown.codec.dtypes import word_type
from boildown.codec.gaps import Places, read_gaps
from boildown.codec.kernels import Words


def plan_raw(survey: Survey, limit: int) -> Plan | None:
    """Gaps, form of the values, values of the nonzero elements."""
    words, gaps = survey.words, survey.gaps
    dtype, form = survey.dtype, survey.form
    if gaps is None:
        return None
    return Plan(
        gaps.size + 1 + values.stored_size(survey.nonzero, words, form),
        lambda: [
            gaps.head,
            gaps.stream(words),
            bytes([form]),
            values.store(survey.survivors(), dtype, form),
        ],
        gaps.extra,
    )


def plan(survey: Survey, limit: int) -> Plan | None:
    """Gaps, codebook and codes of the nonzero elements."""
    words, book, gaps = survey.words, survey.book, survey.gaps
    if gaps is None or book is None:
        return None
    code = cheapest_code(book.words, book.counts, survey.dtype, survey.form, limit - gaps.size)
    if code is None:
        return None
    return Plan(
        gaps.size + code.size,
        lambda: [gaps.head, gaps.stream(words), code.head, code.stream(book.codes)],
        gaps.extra,
    )


def read_raw(source: Reader, dtype: str, size: int, extra: int) -> tuple[Words, Anatomy]:
    """The inverse of `plan_raw`."""
    word = word_type(dtype)
    places = read_gaps(source, extra, size)
    form = source.byte()
    stored = source.take(values.size_of(form, places.count, dtype, word.itemsize))
    survivors = values.load(stored, dtype, form, word)
    return places.fill(survivors, size), Anatomy("sparse raw", None, None, *_positions(places))


def read(source: Reader, dtype: str, size: int, extra: int) -> tuple[Words, Anatomy]:
    """The inverse of `plan`."""
    places = read_gaps(source, extra, size)
    code = read_code(source, places.count, dtype, word_type(dtype))
    coded = 8 * code.size / places.count
    anatomy = Anatomy(f"sparse {code.coder}", code.width, coded, *_positions(places))
    return places.fill(code.words[code.codes], size), anatomy


def _positions(places: Places) -> tuple[int, float, int]:
    """Bits of a gap, as coded on average, and fillers."""
    gaps = places.symbols.size
    return places.width, 8 * places.size / gaps, gaps - places.count
