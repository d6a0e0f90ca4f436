"""Checks of the input shapes that models are built for."""

from collections.abc import Sequence


def image_shape(input_shape: Sequence[int], model: str, smallest: int) -> tuple[int, int, int]:
    """`input_shape` as channels, height and width.

    Args:
        input_shape: (C, H, W).
        model: its name, for the error.
        smallest: the least height and width the model can take, in pixels.

    Raises:
        ValueError: if the shape is not that of an image of at least that size.
    """
    shape = tuple(int(n) for n in input_shape)
    if len(shape) != 3 or shape[0] < 1 or min(shape[1:]) < smallest:
        raise ValueError(
            f"{model} needs images (channels, height, width) of at least {smallest}x{smallest} "
            f"pixels, got input_shape {shape}"
        )
    return shape
