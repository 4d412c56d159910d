"""Opening the store of commands that look or continue: they make none."""

from __future__ import annotations

from had_core.errors import BadInput
from orchestrator.store import Store


def open_existing(root: str) -> Store:
    """The store in ``root``; raises BadInput where there is none, and makes none."""
    if not Store.exists(root):
        raise BadInput(
            f"--store {root} holds no store: name the folder that had run wrote into, or set "
            "HAD_STORE"
        )
    return Store.open(root)
