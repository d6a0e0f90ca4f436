"""How many bits a weight's code gets. Imports neither torch nor Lightning."""


def bits_for_ratio(ratio: float) -> int:
    """Bits per surviving weight that suit a compression ratio.

    Few bits and many weights, or many bits and few weights: what serves best shifts with the size.
    Up to a ratio of 4 there are bits enough that pruning is hardly needed.

    Args:
        ratio: dense fp32 bytes / file bytes, above 1.

    Returns:
        Bits, 3 to 12.

    Raises:
        ValueError: for a ratio that is not above 1.

    >>> [bits_for_ratio(r) for r in (2, 4, 10, 20, 40, 100)]
    [12, 8, 7, 6, 5, 4]
    """
    if not ratio > 1.0:
        raise ValueError(f"compression.ratio must be above 1, got {ratio}")
    for limit, bits in ((3, 12), (8, 8), (16, 7), (30, 6), (60, 5), (150, 4)):
        if ratio < limit:
            return bits
    return 3
