"""The port between the store and a file system: seven operations, relative paths, bytes.

Everything the store promises rests on two of them: ``write`` is whole or absent, and
``create_if_absent`` lets exactly one writer win. A local folder has both (``LocalFs``); an object
store needs a conditional put for the second.
"""

from __future__ import annotations

import re
import secrets
from typing import Protocol

_NAME = re.compile(r"[A-Za-z0-9._-]+")

# Files of interrupted writes; readers never look at them.
TEMPORARY = ".tmp-"


class StoreFs(Protocol):
    """A file system below one root. Paths are relative, ``/`` between names; see ``checked``.

    Every operation raises ``ValueError`` for a path that is not, and operations that change
    something raise ``BadInput`` naming the root where it cannot be written.
    """

    @property
    def root(self) -> str:
        """Where it is, for messages."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file. Raises FileNotFoundError."""
        ...

    def write(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Whole or not at all; makes folders; replaces what was there.

        Durable on return unless told otherwise: killed processes then still lose nothing, a power
        cut may leave any bytes, so that only what is checked when it is read may be written so.
        """
        ...

    def create_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> bool:
        """Like ``write``, but False and no change where it exists: of many writers one wins."""
        ...

    def size(self, path: str) -> int | None:
        """Bytes of a file; None for a folder or nothing."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of files and folders directly inside, sorted; empty without such a folder."""
        ...

    def delete(self, path: str) -> None:
        """A file, or a folder with everything in it; nothing there is fine."""
        ...

    def move(self, source: str, target: str) -> bool:
        """A file or folder to a new place (made as needed); False where the source is gone."""
        ...


def checked(path: str) -> str:
    """The path itself if every name in it is safe, so that nothing leaves the root.

    Raises:
        ValueError: an empty, absolute or climbing path, or a name outside ``[A-Za-z0-9._-]+``.
    """
    for name in path.split("/"):
        if not is_safe_name(name):
            raise ValueError(f"path '{path}' is not allowed in a store: names of A-Z a-z 0-9 . _ -")
    return path


def is_safe_name(name: str) -> bool:
    """Whether this can be one name of a path."""
    return _NAME.fullmatch(name) is not None and name not in (".", "..")


def nonce() -> str:
    """16 hexadecimal digits that no other process draws."""
    return secrets.token_hex(8)


def is_temporary(name: str) -> bool:
    """Whether this is a file of an interrupted write."""
    return name.startswith(TEMPORARY)


def temporary_beside(path: str) -> str:
    """A fresh name in the same folder, for a file that is not whole yet."""
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{TEMPORARY}{nonce()}"
