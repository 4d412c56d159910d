"""The sentence that refuses a run's name."""

from __future__ import annotations

import difflib

from orchestrator.store import Store
from orchestrator.tracking.journal import journal_names

_NEAR = 5


def unknown_run(name: str, store: Store) -> str:
    """With names that are near; or says that the run's record is lost."""
    known = {*journal_names(store.uri), *store.runs.names(), *store.runs.dropped()}
    if name in known:
        return (
            f"run '{name}' has no record in store {store.uri} that can be read: the command that "
            "began it writes one again"
        )
    near = difflib.get_close_matches(name, sorted(known), _NEAR, 0.4)
    hint = f"is it one of {', '.join(near)}?" if near else "see `had runs`"
    return f"run '{name}' is not in store {store.uri}: {hint}"
