"""Locks between processes of one machine; the system frees them when their process ends."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from io import TextIOWrapper
from pathlib import Path

from orchestrator.tracking.journal import journal_folder


class FileLock:
    """An exclusive lock on a file of its own.

    As a context manager it tries once and says in ``held`` whether it succeeded.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIOWrapper | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def acquire(self, *, wait: bool = False) -> bool:
        """Take the lock; False if another process has it and ``wait`` is not set."""
        if self._file is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


class WriterLock(FileLock):
    """Makes a process the only one on this machine that writes a run to MLflow.

    The file lies beside the journal where that is local, else in the temporary folder.
    """

    def __init__(self, store_root: str | Path, run: str) -> None:
        folder = journal_folder(store_root, run).local
        if folder is None:
            digest = hashlib.sha256(f"{store_root}/{run}".encode()).hexdigest()[:16]
            path = Path(tempfile.gettempdir()) / f"had-{os.getuid()}-{digest}.lock"
        else:
            path = folder / ".writer.lock"
        super().__init__(path)
