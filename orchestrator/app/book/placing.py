"""A folder that a command makes for the user: all of it or nothing, and never over other files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from had_core.data.writing import staged
from had_core.errors import BadInput
from had_core.paths import expanded


def new_folder(out: str) -> Path:
    """The absolute path; raises BadInput where something other than an empty folder is there."""
    if not out:
        raise BadInput("OUT is empty: a new or an empty folder")
    path = Path(os.path.abspath(expanded(out)))
    if path.is_symlink() or path.exists():
        if not path.is_dir() or path.is_symlink():
            raise BadInput(f"'{path}' is not a folder: choose a new one")
        try:
            filled = any(path.iterdir())
        except OSError as error:
            raise BadInput(f"'{path}' cannot be read: {error.strerror}") from None
        if filled:
            raise BadInput(f"'{path}' exists and holds files: choose a new or an empty folder")
    return path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A hidden folder beside ``path`` to write into; it becomes ``path`` at the end.

    After an exception, Control-C included, nothing is left; what killed processes left is removed.

    Raises BadInput where the place cannot be written.
    """
    with staged(path) as folder:
        yield folder
        os.rename(folder, path)  # replaces an empty folder, refuses a filled one
