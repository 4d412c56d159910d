"""``had runs --drop`` and ``--keep``: whether stages are kept for the sake of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.app.book.needs import digests, kept_names
from orchestrator.app.naming import unknown_run
from orchestrator.app.opening import open_existing
from orchestrator.display.run_lists import DropResult
from orchestrator.tracking.driver_record import driver_of

if TYPE_CHECKING:
    from orchestrator.store import Store


def drop(root: str, names: Sequence[str], keep: Sequence[str] = ()) -> DropResult:
    """Drop runs, and keep others again; their journals and what MLflow shows stay as they are.

    Raises:
        BadInput: a run that is unknown or alive, or a store that cannot be written; nothing
            was changed.
    """
    store = open_existing(root)
    store.require_writable()
    for name in (*names, *keep):
        if name not in kept_names(store) | store.runs.dropped():
            raise BadInput(unknown_run(name, store))
    for name in names:
        reason = _alive(store, name)
        if reason:
            raise BadInput(f"run '{name}' cannot be dropped while {reason}: stop it first")
    for name in names:
        if name not in store.runs.dropped():
            store.runs.drop(name)
    for name in keep:
        store.runs.keep(name)
    return DropResult(store.uri, tuple(names), tuple(keep))


def _alive(store: Store, name: str) -> str:
    """Why the run counts as alive, empty where it does not."""
    record = driver_of(store.uri, name)
    if record is not None and record.alive(time.time()):
        return f"process {record.pid} on {record.host} drives it"
    busy = digests(store, name) & store.claims.alive()  # an untracked driver leaves no record
    return f"its stage {min(busy)[:12]} is being trained" if busy else ""
