"""The commands pack and unpack: what they do, and what they say of it."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from boildown import codec
from boildown.checkpoint import (
    ENDINGS,
    Checkpoint,
    find_file,
    load_checkpoint,
    save_safetensors,
    save_torch,
    some,
)
from boildown.files.progress import later_progress
from boildown.foreign_masks import find_masked, fold_masks
from boildown.printable import printable, say
from boildown.tensor_file import TensorFile


def pack_checkpoint(
    checkpoint: Path,
    key: str | None,
    out: Path | None,
    fold: bool,
    drop_zero_signs: bool,
    coder: str = "auto",
) -> None:
    """Pack a checkpoint, and tell what was gained, what was left out and what would gain more.

    Args:
        checkpoint: of any kind that `load_checkpoint` reads.
        key: of the state dict in it.
        out: the file to write; by default beside the checkpoint, if there is none yet.
        fold: whether masks become part of the weights.
        drop_zero_signs: whether -0.0 becomes 0.0.
        coder: as for `boildown.codec.pack`.

    Raises:
        ValueError: with the remedy.
        OSError: if a file cannot be read or written.
    """
    file = find_file(checkpoint)
    out = output_path(out or _beside(file, ENDINGS, ".boil"), file, named=out is not None)
    found = load_checkpoint(file, key)
    masked = [one.name for one in find_masked(found.state)]
    loaded = fold_masks(found.state) if fold else found.state
    before, dense = _tensor_bytes(loaded), codec.dense_bytes(loaded)
    state = loaded if fold else _late(found)
    config = _config_of(found.metadata)
    pack = partial(codec.pack, config=config, coder=coder, zero_signs=not drop_zero_signs)
    with later_progress("packing") as tell:
        after = pack(state, out, progress=tell)
    _say_what_is_missing(found, key)
    if fold:
        say(f"folded the masks of {len(masked)} tensors{_such_as(masked)}")
    ratio = _smaller(before, after)
    if _smaller(dense, after) != ratio:
        ratio += f" ({_smaller(dense, after)} than as dense fp32)"
    print(f"{printable(str(out))}: {before:,} -> {after:,} bytes, {ratio}")
    negative = 0 if drop_zero_signs else _negative_zeros(state)
    without = after
    if negative and before <= _ESTIMATED_MOST:
        without = codec.estimate(state, config, coder=coder, zero_signs=False)
    if masked and not fold:
        say(
            f"{len(masked)} tensors{_such_as(masked)} are pruned, but only by masks beside them: "
            "torch.nn.utils.prune leaves weight_orig and weight_mask until prune.remove: "
            "--fold-masks makes them zeros in the weight itself, and the file small"
        )
    elif negative and before > _ESTIMATED_MOST:
        say(f"{negative:,} zeros are -0.0: --drop-zero-signs makes them 0.0 and the file smaller")
    elif without < after:
        say(
            f"{negative:,} zeros are -0.0, as weight * mask leaves them: --drop-zero-signs makes "
            f"them 0.0 and the file {without:,} bytes"
        )
    elif before < _GAIN * after:
        say(_LITTLE)


def _late(found: Checkpoint) -> Mapping[str, Tensor]:
    """The tensors, loaded one by one where the files allow it."""
    if not found.files:
        return found.state
    return TensorFile(found.files, list(found.state), _tensor_bytes(found.state))


def _say_what_is_missing(checkpoint: Checkpoint, key: str | None) -> None:
    """On stderr, what of the checkpoint is not in the file."""
    if checkpoint.left_out:
        say(f"left out, as they are no named tensors: {some(checkpoint.left_out)}")
    if checkpoint.not_loaded:
        say(
            "not looked into, as only running code could load them, which pack does not: "
            f"{some(checkpoint.not_loaded)}"
        )
    if checkpoint.other_keys and key is None:
        say(f"packed {checkpoint.key}; --key chooses {some(checkpoint.other_keys)} instead")


def _such_as(names: Sequence[str]) -> str:
    return f" ({names[0]}{', ...' if len(names) > 1 else ''})" if names else ""


def _config_of(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """What a file stores beside the tensors for the metadata of safetensors, None for nothing."""
    kept = dict(sorted(metadata.items()))  # as they come in no order of their own
    if kept.get("format") == "pt":  # which every file of safetensors says, and unpack too
        del kept["format"]
    size = sum(len(key.encode()) + len(text.encode()) + 10 for key, text in kept.items())
    if size > _METADATA_MOST:
        say(f"left out: __metadata__, as its {size:,} bytes are over {_METADATA_MOST:,}")
        return None
    return {METADATA: kept} if kept else None


METADATA = "__metadata__"  # in the config
_METADATA_MOST = 1_000_000


_ESTIMATED_MOST = 1 << 24  # bytes of tensors that are packed twice for the sake of a hint
_GAIN = 1.1
_LITTLE = (
    "little is gained where few weights are zero and most of their values differ: prune or share "
    "them before packing, as the callbacks Prune and ShareWeights do"
)


def _tensor_bytes(state: Mapping[str, Tensor]) -> int:
    """Bytes of all elements in their own dtypes, tied tensors once."""
    stored = {(t.data_ptr(), t.shape, t.stride(), t.dtype): t.nbytes for t in state.values()}
    return sum(stored.values())


def _negative_zeros(state: Mapping[str, Tensor]) -> int:
    """How many zeros are -0.0, counted in pieces."""
    floats = (t for t in state.values() if t.is_floating_point() and t.itemsize > 1)
    return sum(
        int(((part == 0) & part.signbit()).sum())
        for tensor in floats
        for part in tensor.detach().reshape(-1).split(_PIECE)
    )


_PIECE = 1 << 20  # elements


def _smaller(before: int, after: int) -> str:
    return f"{before / after:.1f}x smaller" if before > after else "no smaller"


def unpack_file(file: Path, out: Path | None) -> None:
    """Unpack to safetensors, or to a file of torch.save.

    Args:
        file: the .boil file.
        out: the file to write, whose ending tells its kind; by default a new .safetensors.

    Raises:
        ValueError: with the remedy.
        OSError: if a file cannot be read or written.
    """
    beside = _beside(file, (".boil",), ".safetensors")
    out = output_path(out or beside, file, named=out is not None)
    if not out.is_dir() and not out.name.endswith((".safetensors", *_TORCH)):
        raise ValueError(
            f"-o {out}: the name must end in .safetensors, or in {', '.join(_TORCH)} for a file of "
            "torch.save"
        )
    with later_progress("unpacking") as tell:
        state = codec.unpack(file, progress=tell)
    metadata = (codec.read_config(file) or {}).get(METADATA)
    if not isinstance(metadata, dict) or not all(type(v) is str for v in metadata.values()):
        metadata = {}
    if out.name.endswith(_TORCH):
        save_torch(state, out)
        if metadata:
            say(f"left out: the metadata {', '.join(metadata)}, which only .safetensors can hold")
    else:
        _check_ties(state, file)
        try:
            save_safetensors(state, out, metadata)
        except ValueError as error:
            raise ValueError(f"{error}; -o with a name in .pt writes what torch.save can") from None
    print(f"{printable(str(out))}: {len(state)} tensors, {out.stat().st_size:,} bytes")


_TORCH = (".pt", ".pth", ".bin", ".ckpt")


def _check_ties(state: Mapping[str, Tensor], file: Path) -> None:
    """Refuse to write one tensor under very many names, which a few bytes may ask for."""
    once, all_of = _tensor_bytes(state), sum(tensor.nbytes for tensor in state.values())
    if all_of > _TIED_MOST * once + _TIED_ANYWAY:
        raise ValueError(
            f"{file}: its {len(state):,} names share {once:,} bytes of tensors, which safetensors "
            f"would repeat to {all_of:,}: -o with a name in .pt keeps them tied"
        )


_TIED_MOST, _TIED_ANYWAY = 8, 1 << 26  # times the bytes of the tensors, and bytes besides


def output_path(out: Path, source: Path, *, named: bool) -> Path:
    """The file to write, which is not the one to read, and replaces only what -o names.

    Args:
        out: to write.
        source: to read.
        named: whether it was by -o.

    Raises:
        ValueError: if it is the same file, or there is one that nobody named.
    """
    if os.path.realpath(out) == os.path.realpath(source):
        raise ValueError(f"{out} is the file to read; give another name with -o")
    if not named and os.path.lexists(out):
        raise ValueError(f"{out} exists; name another file with -o, or this one to replace it")
    return out


def _beside(file: Path, endings: Sequence[str], ending: str) -> Path:
    """A file beside another, whose ending is replaced if it is a known one."""
    known = next((known for known in endings if file.name.endswith(known)), "")
    return file.parent / (file.name.removesuffix(known) + ending)
