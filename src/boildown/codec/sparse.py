"""Many zeros: the places of the other elements as gaps, and these as they are or as codes."""

from itertools import chain

from boildown.codec import values
from boildown.codec.bytewise import Reader
from boildown.codec.codebook import cheapest_code, read_code
from boildown.codec.coder import Anatomy, Plan, Survey
from boildown.codec.dtypes import word_type
from boildown.codec.gaps import Places, read_gaps
from boildown.codec.kernels import Words


def plan_raw(survey: Survey, limit: int) -> Plan | None:
    """Gaps, form of the values, values of the nonzero elements."""
    blocks, gaps = survey.blocks, survey.gaps
    dtype, form = survey.dtype, survey.form
    if gaps is None:
        return None
    return Plan(
        gaps.size + 1 + values.stored_size(survey.nonzero, blocks.word.itemsize, form),
        lambda: chain(
            [gaps.head],
            gaps.stream(blocks),
            [bytes([form])],
            (values.store(survivors, dtype, form) for survivors in survey.survivors()),
        ),
        gaps.extra,
    )


def plan(survey: Survey, limit: int) -> Plan | None:
    """Gaps, codebook and codes of the nonzero elements."""
    blocks, book, gaps = survey.blocks, survey.book, survey.gaps
    if gaps is None or book is None:
        return None
    left = limit - gaps.size
    code = cheapest_code(
        book.words, book.counts, survey.dtype, survey.form, left, paper=survey.paper
    )
    if code is None:
        return None
    return Plan(
        gaps.size + code.size,
        lambda: chain(
            [gaps.head], gaps.stream(blocks), [code.head], code.stream(survey.survivors())
        ),
        gaps.extra,
    )


def read_raw(source: Reader, dtype: str, size: int, extra: int) -> tuple[Words, Anatomy]:
    """The inverse of `plan_raw`."""
    word = word_type(dtype)
    places = read_gaps(source, extra, size)
    form = source.byte()
    stored = source.take(values.size_of(form, places.count, dtype, word.itemsize))
    words = places.fill(values.load_blocks(stored, dtype, form, word), size, word)
    return words, Anatomy("sparse raw", None, None, *_positions(places))


def read(source: Reader, dtype: str, size: int, extra: int) -> tuple[Words, Anatomy]:
    """The inverse of `plan`."""
    places = read_gaps(source, extra, size)
    code = read_code(source, dtype, word_type(dtype))
    start = source.at
    words = places.fill(code.values(places.count), size, code.words.dtype)
    coded = 8 * (source.at - start) / places.count
    anatomy = Anatomy(f"sparse {code.coder}", code.width, coded, *_positions(places))
    return words, anatomy


def _positions(places: Places) -> tuple[int, float, int]:
    """Bits of a gap, as coded on average, and fillers."""
    gaps = places.symbols.size
    return places.width, 8 * places.size / gaps, gaps - places.count
