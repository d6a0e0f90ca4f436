"""A state dict as a small file, and back, bit for bit.

Zeros make a tensor sparse, few distinct values make it shared; whoever made them so, the codec
reads only the weights. Files are untrusted: decoding one runs no code from it.

>>> import torch
>>> from boildown.codec import decode, encode
>>> state = {"weight": torch.eye(3), "steps": torch.tensor(7)}
>>> back, config = decode(encode(state, {"width": 3}))
>>> back["weight"].equal(state["weight"]), config
(True, {'width': 3})
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boildown.codec.container import (
        decode,
        dense_bytes,
        encode,
        estimate,
        pack,
        read_config,
        unpack,
    )
    from boildown.codec.error import CodecError
    from boildown.codec.report import FileReport, TensorReport, inspect, inspect_file

__all__ = [
    "CodecError",
    "FileReport",
    "TensorReport",
    "decode",
    "dense_bytes",
    "encode",
    "estimate",
    "inspect",
    "inspect_file",
    "pack",
    "read_config",
    "unpack",
]

_ELSEWHERE = {"CodecError": "error"} | dict.fromkeys(
    ("FileReport", "TensorReport", "inspect", "inspect_file"), "report"
)


def __getattr__(name: str) -> Any:
    """Import on first use, so that importing this package does not import torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"boildown.codec.{_ELSEWHERE.get(name, 'container')}")
    return getattr(module, name)
