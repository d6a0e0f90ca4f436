"""Few distinct values, zero among them or not: a codebook, and a code for every element."""

import numpy as np

from boildown.codec import kernels
from boildown.codec.bytewise import Reader
from boildown.codec.codebook import cheapest_code, read_code
from boildown.codec.coder import Anatomy, Piece, Plan, Survey
from boildown.codec.dtypes import word_type
from boildown.codec.kernels import Words


def plan(survey: Survey, limit: int) -> Plan | None:
    """Codebook and codes of all elements."""
    words, book = survey.words, survey.book
    if book is None:
        return None
    found, counts = book.words, book.counts
    zeros = words.size - book.codes.size
    if zeros:
        found = np.append(found, words.dtype.type(0))
        counts = np.append(counts, zeros)
    if found.size > kernels.DISTINCT_MOST:
        return None
    code = cheapest_code(found, counts, survey.dtype, survey.form, limit)
    if code is None:
        return None

    def write() -> list[Piece]:
        codes = book.codes
        if zeros:
            codes = np.full(words.size, found.size - 1, np.uint16)
            codes[words != 0] = book.codes
        return [code.head, code.stream(codes)]

    return Plan(code.size, write)


def read(source: Reader, dtype: str, size: int, extra: int) -> tuple[Words, Anatomy]:
    """The inverse of `plan`."""
    code = read_code(source, size, dtype, word_type(dtype))
    name = f"dense {code.coder}" if code.width else "constant"
    return code.words[code.codes], Anatomy(name, code.width, 8 * code.size / max(size, 1))
