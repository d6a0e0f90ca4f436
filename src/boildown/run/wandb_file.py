"""An offline run's file: is it whole? Its format is LevelDB's log, in blocks of 32 KiB.

Source: https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEAD, BLOCK = 7, 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file, each a `Record` of wandb's protocol; ends where it is cut."""
    data = path.read_bytes()
    at, part = HEAD, b""
    while at + HEAD <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEAD:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + HEAD])
        piece = data[at + HEAD : at + HEAD + length]
        at += HEAD + length
        if len(piece) < length or kind not in (FULL, FIRST, MIDDLE, LAST):
            return
        part = piece if kind in (FULL, FIRST) else part + piece
        if kind in (FULL, LAST):
            yield part


def complete(path: Path) -> bool:
    """Whether a run's file holds the run's end."""
    from wandb.proto import wandb_internal_pb2

    protocol: Any = wandb_internal_pb2
    for record in records(path):
        parsed = protocol.Record()
        parsed.ParseFromString(record)
        if parsed.WhichOneof("record_type") == "exit":
            return True
    return False
