"""Private scratch folders with short paths, swept once their owner is dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_PREFIX = "had-ray-"
# Ray puts unix sockets below this folder; the kernel allows 107 bytes for a socket's whole path.
_LONGEST_SCRATCH = 40


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new private folder with a short path, locked while its owner lives."""
    root = short_root()
    _sweep(root)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))  # mode 0700
    lock = lock_of(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            lock.close()


def short_root() -> Path:
    root = Path(tempfile.gettempdir()).resolve()
    return root if len(str(root)) + len(_PREFIX) <= _LONGEST_SCRATCH - 8 else Path("/tmp")


def lock_of(folder: Path) -> IO[str] | None:
    """The folder's lock; None where a living process holds it."""
    handle = (folder / "owner").open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        return None
    return handle


def _sweep(root: Path) -> None:
    """Remove the folders of drivers that were killed."""
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid != os.getuid() or not (folder / "owner").exists():
                continue
            lock = lock_of(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                lock.close()
