"""The colours of charts, by name, in a light and a dark theme.

Names are "@ink", "@muted", "@grid", "@paper", "@haze" (translucent), "@phase:N", "@shade:U" and
"@band:U" (translucent), U from 0 for the smallest to 1 for the largest.
"""

from collections.abc import Iterator, Mapping
from typing import Any

THEMES = ("light", "dark")

# Sequential and safe for the colour-blind (viridis, without the end that the paper swallows).
RAMP = {
    "light": ("#440154", "#414487", "#2a788e", "#1f9e77", "#74b72b"),
    "dark": ("#8f6bd1", "#5f86d6", "#35b0ab", "#6fd56b", "#f5e626"),
}
PHASES = {
    "light": ("#22303c", "#b5541c", "#5b8aa6", "#8a9a3b", "#9c6ea8", "#b9a14a"),
    "dark": ("#c3ced6", "#e2814a", "#5b9bc0", "#b3c45a", "#c497d0", "#dcc878"),
}
INKS = {
    "light": {
        "ink": "#22303c",
        "muted": "#5d6b76",
        "grid": "#d9dee2",
        "paper": "#ffffff",
        "haze": "rgba(93,107,118,0.16)",
    },
    "dark": {
        "ink": "#e4e9ed",
        "muted": "#9fb0bc",
        "grid": "#33414d",
        "paper": "#161d23",
        "haze": "rgba(159,176,188,0.18)",
    },
}


def colour(name: str, theme: str) -> str:
    """The colour that a name has in a theme.

    >>> colour("@shade:0.5", "light"), colour("@ink", "dark"), colour("@band:1.0", "light")
    ('#2a788e', '#e4e9ed', 'rgba(116,183,43,0.2)')
    """
    kind, _, value = name.removeprefix("@").partition(":")
    if not name.startswith("@"):
        return name
    if kind in ("shade", "band"):
        ramp = RAMP[theme]
        place = float(value) * (len(ramp) - 1)
        i = min(int(place), len(ramp) - 2)
        mixed = [
            round(int(a, 16) + (place - i) * (int(b, 16) - int(a, 16)))
            for a, b in zip(_parts(ramp[i]), _parts(ramp[i + 1]), strict=True)
        ]
        if kind == "band":
            return f"rgba({','.join(map(str, mixed))},0.2)"
        return "#" + "".join(f"{part:02x}" for part in mixed)
    if kind == "phase":
        return PHASES[theme][int(value) % len(PHASES[theme])]
    return INKS[theme][kind]


def _parts(code: str) -> tuple[str, str, str]:
    return code[1:3], code[3:5], code[5:7]


def names(node: Any) -> Iterator[str]:
    """The names of colours in a figure: values that begin with @ under keys that end in color."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if isinstance(value, str):
                if key.endswith("color") and value.startswith("@"):
                    yield value
            else:
                yield from names(value)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from names(item)
