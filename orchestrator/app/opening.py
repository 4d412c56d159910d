"""Opening stores: commands that look or continue make none, others not before it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.app.datasets import Note, open_dataset
from orchestrator.store import Store

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.config import RunConfig


def open_existing(root: str) -> Store:
    """The store in ``root``; raises BadInput where there is none, and makes none."""
    if not Store.exists(root):
        raise BadInput(
            f"--store {root} holds no store: name the folder that had run wrote into, or set "
            "HAD_STORE"
        )
    return Store.open(root)


def open_for(config: RunConfig, note: Note) -> tuple[Store, ShardDataset]:
    """The store and the data set of a run; what is missing is made, the store last.

    Raises:
        BadInput: one of them cannot be used; no store was made.
    """
    known = Store.open(config.store.root) if Store.exists(config.store.root) else None
    dataset = open_dataset(config.dataset, note)
    return known or Store.open(config.store.root), dataset
