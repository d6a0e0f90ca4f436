"""Where downloaded and decoded data is kept."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """`boildown` in the user's cache directory; not created here.

    Source: https://specifications.freedesktop.org/basedir-spec/latest/
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "boildown"
