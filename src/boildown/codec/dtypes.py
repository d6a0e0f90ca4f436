"""Tensors as flat arrays of bit patterns, and back; the codec meets torch's dtypes only here.

Torch is imported where a tensor is met, so that a file is looked into without it.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from boildown.codec.error import CodecError
from boildown.codec.kernels import Words

if TYPE_CHECKING:
    from torch import Tensor

# Files hold a dtype as its place in this list: append to it, never reorder it.
NAMES = (
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "bool",
    "complex64",
    "complex128",
    "uint16",
    "uint32",
    "uint64",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float4_e2m1fn_x2",
    "complex32",
)
_ITEMSIZES = (4, 8, 2, 2, 1, 1, 2, 4, 8, 1, 8, 16, 2, 4, 8, 1, 1, 1, 1, 1, 1, 4)  # of `NAMES`
_WORD_MOST = 8  # bytes of a word; an element of complex128 is two words


def name_of(tensor: "Tensor") -> str:
    """The dtype's name.

    Raises:
        CodecError: if the codec does not know it, or the tensor is not an ordinary dense one.
    """
    name = str(tensor.dtype).removeprefix("torch.")
    remedy = _remedy(tensor, name)
    if remedy:
        kind = f"{name}, {tensor.layout}, on {tensor.device}"
        raise CodecError(
            f"only dense tensors of {', '.join(NAMES)} can be packed, this is {kind}: {remedy}"
        )
    return name


def _remedy(tensor: "Tensor", name: str) -> str:
    """What to pack instead of a tensor; "" if it can be packed itself."""
    import torch
    from torch.nn.parameter import is_lazy

    if is_lazy(tensor):
        return "it has no shape yet; call the network once"
    if tensor.is_nested:
        return "pack its to_padded_tensor(), or each of its unbind()"
    if tensor.layout is not torch.strided:
        return "pack its to_dense()"
    if tensor.is_meta:
        return "it holds no values; load the checkpoint into it first"
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return f"of a {type(tensor).__name__} pack the plain tensor, such as its full_tensor()"
    if tensor.is_quantized:
        return "pack its int_repr(), scale and zero point, or its dequantize()"
    if name not in NAMES:
        return "pack its bytes, view(torch.uint8)"
    if tensor.numel() and not tensor.untyped_storage().nbytes():
        return "its memory was given back; gather its values first"
    return ""


def itemsize(dtype: str) -> int:
    """Bytes of an element."""
    return _ITEMSIZES[NAMES.index(dtype)]


def word_type(dtype: str) -> np.dtype[np.unsignedinteger]:
    """The numpy type of the words of a dtype."""
    return np.dtype(f"u{min(itemsize(dtype), _WORD_MOST)}")


def word_count(dtype: str, numel: int) -> int:
    """Words of so many elements."""
    return numel * itemsize(dtype) // word_type(dtype).itemsize


def to_words(tensor: "Tensor") -> Words:
    """The bit patterns of a tensor, in the order of its elements.

    A bool is 0 or 1, whatever byte above 0 stands for True in memory.

    Args:
        tensor: any shape, device and strides; not empty.

    Returns:
        (words,), a view where the tensor is contiguous and on the CPU.
    """
    import torch

    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    words: Words = plain.view(torch.uint8).numpy().view(word_type(name_of(tensor)))
    if tensor.dtype == torch.bool and words.max() > 1:
        words = (words != 0).view(np.uint8)
    return words


def to_tensor(words: Words, dtype: str, shape: Sequence[int]) -> "Tensor":
    """The inverse of `to_words`, without a copy.

    Args:
        words: (words,), writable.
        dtype: one of `NAMES`.
        shape: of the tensor; may be empty or hold zeros.
    """
    import torch

    if math.prod(shape) == 0:
        return torch.empty(tuple(shape), dtype=getattr(torch, dtype))
    flat = torch.from_numpy(words.view(np.uint8)).view(getattr(torch, dtype))
    return flat.reshape(tuple(shape))
