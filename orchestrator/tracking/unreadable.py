"""A store's own MLflow database that sqlite cannot read any more."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from pathlib import Path

_log = logging.getLogger("orchestrator.tracking")
_UNREADABLE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_BESIDE = ("", "-wal", "-shm")  # what sqlite keeps with a database


def set_unreadable_aside(database: Path) -> None:
    """Move a database out of the way that is none; journals fill another one.

    A database that cannot be written is left as it is.
    """
    if not database.is_file() or not _is_unreadable(database):
        return
    aside = database.with_name(f"{database.name}.damaged-{time.time_ns():x}")
    try:
        for suffix in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{database}{suffix}", f"{aside}{suffix}")
    except PermissionError:
        return
    _log.warning(
        "%s is damaged and was set aside as %s: had sync --all fills another one from the journals",
        *(database, aside.name),
    )


def _is_unreadable(database: Path) -> bool:
    """Told by the header and the schema; looking at every page would take seconds."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
        ) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        return error.sqlite_errorcode & 0xFF in _UNREADABLE
    return False
