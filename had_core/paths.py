"""Paths as people write them, and files as they find them. Standard library only."""

from __future__ import annotations

from pathlib import Path

from had_core.errors import BadInput


def expanded(path: str | Path) -> Path:
    """``path`` with the home folder in the place of ``~``.

    Raises:
        BadInput: ``~name`` where there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise BadInput(f"'{path}' begins with {user}, a home folder not known here") from None


def refuse_special(path: Path) -> None:
    """Raise BadInput for what is there and is no regular file: opening a pipe waits for ever."""
    if path.exists() and not path.is_file():
        raise BadInput(f"'{path}' is a folder, pipe or device: allowed is a regular file")
