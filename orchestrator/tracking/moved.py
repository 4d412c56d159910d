"""A store's own MLflow database after the store was copied or moved.

MLflow keeps where every experiment, run and model has its artifacts, as absolute URIs (of its own
``Default`` experiment as an absolute path). In a copy they still name the folder of the original,
and what is tracked there would be written into it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

_FILE = "file://"
_ROOT = re.compile(rf"((?:{_FILE})?/.*/mlflow/artifacts/)[^/]*")  # of an experiment's folder
_WAIT_S = 20.0  # for another process that writes the database


def follow_move(database: Path) -> None:
    """Let a store's own database name the artifacts beside it; one short query where it does.

    A database that cannot be written is left as it is: it can still be read.
    """
    if not database.is_file():
        return
    home = database.parent / "artifacts"
    try:
        with closing(_connect(database, "ro")) as connection:
            needed = bool(_strangers(connection, home))
    except sqlite3.Error:  # MLflow says what is wrong with the file
        return
    if needed:
        _rewrite(database, home)


def _connect(database: Path, mode: str) -> sqlite3.Connection:
    uri = f"{database.as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None)


def _strangers(connection: sqlite3.Connection, home: Path) -> list[str]:
    """Artifact roots in other stores that experiments are said to lie in, each with its slash."""
    rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
    matches = (_ROOT.fullmatch(location) for (location,) in rows if location)
    return sorted({m[1] for m in matches if m and not _is_home(m[1], home)})


def _is_home(root: str, home: Path) -> bool:
    """Whether ``root`` is ``home``, perhaps by another name: a link to a store is no copy of it."""
    path = Path(unquote(root.removeprefix(_FILE)) if root.startswith(_FILE) else root)
    if path == home:
        return True
    try:
        return path.parent.samefile(home.parent)  # the artifacts may not be there yet
    except OSError:
        return False


def _written_like(root: str, home: Path) -> str:
    """``home`` as a URI or a path, as ``root`` is one."""
    return f"{home.as_uri() if root.startswith(_FILE) else home}/"


def _rewrite(database: Path, home: Path) -> None:
    """Put ``home`` in the place of every other root, all or nothing."""
    try:
        with closing(_connect(database, "rw")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            # Read again: another process may have been faster.
            for root in _strangers(connection, home):
                new = _written_like(root, home)
                for table, column in _texts(connection):
                    _replace_prefix(connection, table, column, root, new)
            connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise


def _texts(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Every table's columns of text."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        columns = connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
        for _, column, kind, *_ in columns:
            if kind.upper().startswith(("TEXT", "VARCHAR")):
                yield table, column


def _replace_prefix(
    connection: sqlite3.Connection, table: str, column: str, old: str, new: str
) -> None:
    table, column = _quoted(table), _quoted(column)
    connection.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
        (new, len(old) + 1, len(old), old),
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
