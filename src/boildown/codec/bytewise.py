"""Reading untrusted bytes from front to back, and the variable-length integer both sides use."""

from boildown.codec.error import CodecError

VARINT_MOST = 9  # bytes: 63 bits, what a signed 64-bit integer holds


def varint(value: int) -> bytes:
    """A non-negative integer in 7-bit groups, lowest first, the top bit set in all but the last.

    Args:
        value: 0 to 2^63 - 1.

    >>> varint(300).hex()
    'ac02'
    """
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


class Reader:
    """A cursor over bytes that refuses to run past their end.

    Args:
        data: what to read.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.data) - self.at

    def take(self, count: int) -> memoryview:
        """The next `count` bytes.

        Raises:
            CodecError: if there are fewer.
        """
        if count > self.left:
            raise CodecError(f"byte {self.at}: {count} bytes should follow, and {self.left} do")
        self.at += count
        return memoryview(self.data)[self.at - count : self.at]

    def byte(self) -> int:
        """The next byte, 0 to 255."""
        return self.take(1)[0]

    def varint(self) -> int:
        """The next integer written by `varint`, 0 to 2^63 - 1.

        Raises:
            CodecError: if it is longer than 9 bytes.
        """
        value = 0
        for group in range(VARINT_MOST):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * group
            if byte < 0x80:
                return value
        raise CodecError(f"an integer of more than {VARINT_MOST} bytes ends at byte {self.at}")
