"""The one exception of the codec."""


class CodecError(ValueError):
    """Something cannot be packed, or bytes are not an intact file of ours.

    The message says what and where: the tensor, the byte.
    """
