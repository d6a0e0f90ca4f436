"""Figures of packers as tables and as a picture."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class Figure(Protocol):
    """What one packer made of one set; see `codec_peers.Figure`."""

    name: str
    peer: str
    raw: int
    bytes: int | None
    encode: float | None
    decode: float | None
    why: str


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def markdown(figures: list[Figure], head: str) -> str:
    """Two tables: bytes of each set, and speed over all sets that a packer took."""
    peers = list(dict.fromkeys(figure.peer for figure in figures))
    text = f"{head}\n\n" + _row(["set", "tensors", *peers]) + "|---" * (len(peers) + 2) + "|\n"
    reasons: dict[str, None] = {}
    for name in dict.fromkeys(figure.name for figure in figures):
        of = {figure.peer: figure for figure in figures if figure.name == name}
        sizes = [f.bytes for f in of.values() if f.bytes is not None and f.peer != "entropy"]
        cells = []
        for peer in peers:
            figure = of.get(peer)
            size = None if figure is None else figure.bytes
            least = size == min(sizes) and peer != "entropy"
            cells.append("-" if size is None else f"**{size:,}**" if least else f"{size:,}")
            if figure is not None and figure.why:
                reasons[f"{peer}: {figure.why}"] = None
        text += _row([name, f"{next(iter(of.values())).raw:,}", *cells])
    return text + "\n" + _speeds(figures) + "".join(f"\n- {why}" for why in reasons) + "\n"


def _speeds(figures: list[Figure]) -> str:
    text = _row(["packer", "sets", "encode, MB/s", "decode, MB/s", "of raw"]) + "|---" * 5 + "|\n"
    for peer in dict.fromkeys(figure.peer for figure in figures):
        for kind in ("maps", "words"):
            own = [f for f in figures if f.peer == peer and f.encode and kind_of(f.name) == kind]
            if not own:
                continue
            raw = sum(figure.raw for figure in own)
            encode = raw / sum(figure.encode or 0 for figure in own) / 1e6
            decode = raw / sum(figure.decode or 0 for figure in own) / 1e6
            size = sum(figure.bytes or 0 for figure in own) / raw
            cells = [peer, f"{len(own)} of {kind}", f"{encode:.1f}", f"{decode:.1f}", f"{size:.4f}"]
            text += _row(cells)
    return text


def kind_of(name: str) -> str:
    """Whether a set of this name is of maps, or of words that are all different."""
    return "words" if name.rpartition("-")[2] in {"fp32", "bf16", "fp16", "fp8"} else "maps"


def draw(figures: list[Figure], path: Path) -> None:
    """Sizes relative to the tensors, a panel for maps and one for other words."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = [k for k in ("maps", "words") if any(kind_of(f.name) == k for f in figures)]
    count = max(len({f.name for f in figures if kind_of(f.name) == k}) for k in kinds)
    shape = (8 * len(kinds), 1.5 + 0.34 * count)
    picture, axes = pyplot.subplots(1, len(kinds), figsize=shape, squeeze=False)
    peers = list(dict.fromkeys(figure.peer for figure in figures))
    for axis, kind in zip(axes[0], kinds, strict=True):
        names = list(dict.fromkeys(f.name for f in figures if kind_of(f.name) == kind))
        for i, peer in enumerate(peers):
            own = [f for f in figures if f.peer == peer and f.name in names and f.bytes is not None]
            mine = peer.startswith("boildown")
            axis.plot(
                [(f.bytes or 0) / f.raw for f in own],
                [names.index(f.name) for f in own],
                linestyle="none",
                marker="|" if peer == "entropy" else "o" if mine else "sxv^<>dP*"[i % 9],
                markersize=12 if peer == "entropy" else 7,
                label=peer,
                color="black" if peer == "entropy" else f"C{i % 10}",
                zorder=20 - i if mine else 2,
            )
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        if kind == "maps":
            axis.set_xscale("log")
            ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
            axis.minorticks_off()
        axis.set_xlabel("bytes / bytes of the tensors")
        axis.grid(alpha=0.3)
    axes[0][-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    picture.tight_layout()
    picture.savefig(path, dpi=110)
    pyplot.close(picture)
