"""Whether files can be made in a folder, asked before anything is."""

from __future__ import annotations

import os
from pathlib import Path


def trouble_making(folder: Path) -> str | None:
    """What keeps a file from being made in ``folder``, which may have to be made first; None for
    nothing. Writes nothing, so that a full disk is not found out."""
    above = next(each for each in (folder, *folder.parents) if each.exists())
    if not above.is_dir():
        return f"{above} is no folder"
    return None if os.access(above, os.W_OK | os.X_OK) else f"{above} cannot be written"
