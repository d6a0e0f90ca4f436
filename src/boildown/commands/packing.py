"""The commands pack and unpack: what they do, and what they say of it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from boildown import codec
from boildown.checkpoints.base_state import check_shared, load_base
from boildown.checkpoints.checkpoint import (
    ENDINGS,
    Checkpoint,
    files_of,
    find_file,
    index_of,
    load_checkpoint,
    save_safetensors,
    save_torch,
    some,
)
from boildown.checkpoints.foreign_masks import find_masked, fold_masks
from boildown.checkpoints.model_directory import WEIGHTS, copied_around, packed_file
from boildown.checkpoints.tensor_file import late, tensor_bytes
from boildown.files.atomic import remove_parts
from boildown.files.progress import later_progress
from boildown.printable import printable, say


def pack_checkpoint(
    checkpoint: Path,
    key: str | None,
    out: Path | None,
    fold: bool,
    drop_zero_signs: bool,
    coder: str = "auto",
    base: Path | None = None,
) -> None:
    """Pack a checkpoint, and tell what was gained, what was left out and what would gain more.

    Args:
        checkpoint: of any kind that `load_checkpoint` reads.
        key: of the state dict in it.
        out: the file to write; by default beside the checkpoint, if there is none yet. Where the
            checkpoint is a directory and the name does not end in .boil, a directory with what
            lies beside the weights too.
        fold: whether masks become part of the weights.
        drop_zero_signs: whether -0.0 becomes 0.0.
        coder: as for `boildown.codec.pack`.
        base: what to tell the differences to: anything that `load_base` reads.

    Raises:
        ValueError: with the remedy.
        OSError: if a file cannot be read or written.
    """
    file = find_file(checkpoint)
    around = checkpoint if checkpoint.is_dir() and out and out.suffix != ".boil" else None
    target = out / WEIGHTS if around and out else out or _beside(file, ENDINGS, ".boil")
    target = output_path(target, file, named=out is not None)
    given = load_base(base, target)
    found = load_checkpoint(file, key)
    masked = [one.name for one in find_masked(found.state)]
    loaded = fold_masks(found.state) if fold else found.state
    check_shared(loaded, given, (file, base))
    before, dense = tensor_bytes(loaded), codec.dense_bytes(loaded)
    state = loaded if fold else late(found)
    config = _config_of(found.metadata)
    options: dict[str, Any] = {"coder": coder, "base": given}
    signs = not drop_zero_signs
    with _room(target, around, file.name) as place, later_progress("packing") as tell:
        after = codec.pack(state, place, config=config, zero_signs=signs, progress=tell, **options)
    _say_what_is_missing(found, key)
    if fold:
        say(f"folded the masks of {len(masked)} tensors{_such_as(masked)}")
    gained = f"{before:,} -> {after:,} bytes, {_ratio(before, dense, after)}"
    print(f"{printable(str(target))}: {gained}")
    negative = _negative_zeros(state) if signs else 0
    without = after
    if negative and before <= _ESTIMATED_MOST:
        without = codec.estimate(state, config, zero_signs=False, **options)
    if masked and not fold:
        _say_masked(masked)
    else:
        _say_what_gains(before, after, negative, without, based=given is not None)


def _say_masked(names: Sequence[str]) -> None:
    say(
        f"{len(names)} tensors{_such_as(names)} are pruned, but only by masks beside them: "
        "torch.nn.utils.prune leaves weight_orig and weight_mask until prune.remove: "
        "--fold-masks makes them zeros in the weight itself, and the file small"
    )


def _say_what_gains(before: int, after: int, negative: int, without: int, *, based: bool) -> None:
    """On stderr, what would make the file smaller, if it is known.

    Args:
        before: bytes of the tensors.
        after: bytes of the file.
        negative: how many zeros are -0.0.
        without: bytes of the file without the signs of zeros, as far as they were found out.
        based: whether it holds the differences to a base.
    """
    if negative and before > _ESTIMATED_MOST:
        say(f"{negative:,} zeros are -0.0: --drop-zero-signs makes them 0.0 and the file smaller")
    elif without < after:
        say(
            f"{negative:,} zeros are -0.0, as weight * mask leaves them: --drop-zero-signs makes "
            f"them 0.0 and the file {without:,} bytes"
        )
    elif before < _GAIN * after:
        say(_LITTLE_TO_BASE if based else _LITTLE)


@contextmanager
def _room(target: Path, source: Path | None, weights: str) -> Iterator[Path]:
    """Where to write the weights meanwhile: in a new directory with what lies beside others.

    Args:
        target: the file to write.
        source: the directory of the others; None for the file alone.
        weights: the name of the file that the weights are read from.
    """
    remove_parts(target.parent if source is None else target.parent.parent)  # of what was killed
    if source is None:
        yield target
        return
    with copied_around(source, target.parent) as (directory, names):
        yield directory / target.name
    shards = (indexed := source / weights).suffix == ".json" and set(index_of(indexed).values())
    other = [name for name in names if name != weights and name not in (shards or ())]
    if other:
        say(f"left out: {some(other)}, as the weights are those of {weights}")


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
_GAIN = 1.3  # what the coder gains where nothing was compressed is below
_LITTLE = (
    "little is gained where few weights are zero and most of their values differ: prune or share "
    "them before packing, as the callbacks Prune and ShareWeights do"
)
_LITTLE_TO_BASE = (
    "little is gained where most weights have other values than the base's: train fewer layers, or "
    "in a narrower dtype such as bfloat16"
)


def _negative_zeros(state: Mapping[str, Tensor]) -> int:
    """How many zeros are -0.0, counted in pieces."""
    floats = (t for t in state.values() if t.is_floating_point() and t.itemsize > 1)
    return sum(
        int(((part == 0) & part.signbit()).sum())
        for tensor in floats
        for part in tensor.detach().reshape(-1).split(_PIECE)
    )


_PIECE = 1 << 20  # elements


def _ratio(before: int, dense: int, after: int) -> str:
    own, to_fp32 = _smaller(before, after), _smaller(dense, after)
    return own if own == to_fp32 else f"{own} ({to_fp32} than as dense fp32)"


def _smaller(before: int, after: int) -> str:
    return f"{before / after:.1f}x smaller" if before > after else "no smaller"


def unpack_file(
    file: Path, out: Path | None, base: Path | None, keys: Sequence[str] | None
) -> None:
    """Unpack to safetensors, or to a file of torch.save.

    Args:
        file: the .boil file, or a directory with one.
        out: the file to write, whose ending tells its kind; by default a new .safetensors. Where
            `file` is a directory, another name is a directory with what lies beside it too.
        base: what the file tells the differences to: anything that `load_base` reads.
        keys: of the tensors; None for all.

    Raises:
        ValueError: with the remedy.
        OSError: if a file cannot be read or written.
    """
    packed, known = packed_file(file), (".safetensors", *_TORCH)
    around = file if file.is_dir() and out and not out.name.endswith(known) else None
    beside = _beside(packed, (".boil",), ".safetensors")
    target = out / "model.safetensors" if around and out else out or beside
    target = output_path(target, packed, named=out is not None)
    if not target.is_dir() and not target.name.endswith(known):
        raise ValueError(
            f"-o {out}: the name must end in .safetensors, or in {', '.join(_TORCH)} for a file of "
            "torch.save"
        )
    if keys is not None and around is not None:
        raise ValueError(f"-o {out}: --keys takes some tensors out: give the name of a file")
    given = load_base(base, target)
    with later_progress("unpacking") as tell:
        state = codec.unpack(packed, keys, base=given, progress=tell)
    with _room(target, around, WEIGHTS) as place:
        _write(state, place, _metadata_in(codec.read_config(packed)), packed)
        size = place.stat().st_size
    print(f"{printable(str(target))}: {len(state)} tensors, {size:,} bytes")


def _write(state: Mapping[str, Tensor], out: Path, metadata: Mapping[str, str], file: Path) -> None:
    """Write what a file held to one whose ending tells its kind."""
    if out.name.endswith(_TORCH):
        save_torch(state, out)
        if metadata:
            say(f"left out: the metadata {', '.join(metadata)}, which only .safetensors can hold")
        return
    _check_ties(state, file)
    try:
        save_safetensors(state, out, metadata)
    except ValueError as error:
        raise ValueError(f"{error}; -o with a name in .pt writes what torch.save can") from None


def _metadata_in(config: Mapping[str, Any] | None) -> dict[str, str]:
    """The metadata of safetensors that a file's config holds, which may be anything."""
    metadata = (config or {}).get(METADATA)
    if not isinstance(metadata, dict) or not all(type(v) is str for v in metadata.values()):
        return {}
    return metadata


_TORCH = (".pt", ".pth", ".bin", ".ckpt")


def _check_ties(state: Mapping[str, Tensor], file: Path) -> None:
    """Refuse to write one tensor under very many names, which a few bytes may ask for."""
    once, all_of = tensor_bytes(state), sum(tensor.nbytes for tensor in state.values())
    if all_of > _TIED_MOST * once + _TIED_ANYWAY:
        raise ValueError(
            f"{file}: its {len(state):,} names share {once:,} bytes of tensors, which safetensors "
            f"would repeat to {all_of:,}: -o with a name in .pt keeps them tied"
        )


_TIED_MOST, _TIED_ANYWAY = 8, 1 << 26  # times the bytes of the tensors, and bytes besides


def output_path(out: Path, source: Path, *, named: bool) -> Path:
    """The file to write, which is none of those to read, and replaces only what -o names.

    Args:
        out: to write.
        source: to read.
        named: whether it was by -o.

    Raises:
        ValueError: if it is read, or there is one that nobody named.
    """
    if os.path.realpath(out) in map(os.path.realpath, files_of(source)):
        raise ValueError(f"{out} is the file to read; give another name with -o")
    if not named and os.path.lexists(out):
        raise ValueError(f"{out} exists; name another file with -o, or this one to replace it")
    return out


def _beside(file: Path, endings: Sequence[str], ending: str) -> Path:
    """A file beside another, whose ending is replaced if it is a known one."""
    known = next((known for known in endings if file.name.endswith(known)), "")
    return file.parent / (file.name.removesuffix(known) + ending)
