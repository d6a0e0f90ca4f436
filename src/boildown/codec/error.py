"""The one exception of the codec, and what it says to do."""

DAMAGED = "it was damaged after it was written; copy it again, or pack the checkpoint again"
FOREIGN = (
    "the checksum is right, so the file was written like this: by a newer boildown, in which case "
    "update yours, or by something else"
)


class CodecError(ValueError):
    """A state dict cannot be packed, or bytes are not an intact file that boildown wrote.

    The message says what is wrong, where (the tensor, the byte), and what to do.
    """
