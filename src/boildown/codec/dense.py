"""Few distinct values, zero among them or not: a codebook, and a code for every element."""

from itertools import chain

import numpy as np

from boildown.codec import kernels
from boildown.codec.blocks import joined
from boildown.codec.bytewise import Reader
from boildown.codec.codebook import cheapest_code, read_code
from boildown.codec.coder import Anatomy, Plan, Survey
from boildown.codec.dtypes import word_type
from boildown.codec.kernels import Words


def plan(survey: Survey, limit: int) -> Plan | None:
    """Codebook and codes of all elements."""
    blocks, book = survey.blocks, survey.book
    if book is None:
        return None
    found, counts = book.words, book.counts
    zeros = blocks.size - survey.nonzero
    if zeros:
        found = np.append(found, found.dtype.type(0))
        counts = np.append(counts, zeros)
    if found.size > kernels.DISTINCT_MOST:
        return None
    code = cheapest_code(found, counts, survey.dtype, survey.form, limit, paper=survey.paper)
    if code is None:
        return None
    return Plan(code.size, lambda: chain([code.head], code.stream(blocks)))


def read(source: Reader, dtype: str, size: int, extra: int) -> tuple[Words, Anatomy]:
    """The inverse of `plan`."""
    code = read_code(source, dtype, word_type(dtype))
    start = source.at
    words = joined(code.values(size), size, code.words.dtype)
    name = f"dense {code.coder}" if code.width else "constant"
    return words, Anatomy(name, code.width, 8 * (source.at - start) / max(size, 1))
