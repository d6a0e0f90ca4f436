"""The values themselves, all of them, in the narrowest form that gives back every bit."""

from boildown.codec import values
from boildown.codec.blocks import joined
from boildown.codec.bytewise import Reader
from boildown.codec.coder import Anatomy, Plan, Survey
from boildown.codec.dtypes import word_type
from boildown.codec.kernels import Words


def plan(survey: Survey, limit: int) -> Plan:
    """The values; the form in the first byte. Stores every tensor, empty ones too."""
    blocks, dtype, form = survey.blocks, survey.dtype, survey.form
    size = values.stored_size(blocks.size, blocks.word.itemsize, form)
    return Plan(size, lambda: (values.store(block, dtype, form) for block in blocks), form)


def read(source: Reader, dtype: str, size: int, form: int) -> tuple[Words, Anatomy]:
    """The inverse of `plan`."""
    word = word_type(dtype)
    stored = source.take(values.size_of(form, size, dtype, word.itemsize))
    if form == values.OWN:
        words = values.load(stored, dtype, form, word)
        own = words.flags.writeable and words.flags.aligned
        return (words if own else words.copy()), Anatomy("raw")
    return joined(values.load_blocks(stored, dtype, form, word), size, word), Anatomy("raw")
