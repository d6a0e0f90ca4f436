"""The one exception of the codec."""


class CodecError(ValueError):
    """A state dict cannot be packed, or bytes are not an intact file that boildown wrote.

    The message says what is wrong, where (the tensor, the byte), and what to do.
    """
