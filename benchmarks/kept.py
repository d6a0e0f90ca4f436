"""Figures that are measured once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Kept:
    """Figures by their key, in a file, so that nothing is measured twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """The figure of a key, measured if there is none."""
        if key not in self.figures:
            self.figures[key] = measure()
            self.path.write_text(json.dumps(self.figures, indent=1))
        return self.figures[key]
