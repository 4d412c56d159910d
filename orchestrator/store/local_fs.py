"""The port over a local folder: durable writes, and creation that exactly one process wins."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from had_core.errors import BadInput
from orchestrator.store.arrow_fs import ArrowFs
from orchestrator.store.fs import checked, temporary_beside

# What the user has to mend; anything else is a fault and keeps its own traceback.
_UNWRITABLE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
_RETRIES = 20

Place = Callable[[str, str], None]


class LocalFs(ArrowFs):
    """Reads through pyarrow, writes through the operating system.

    A file is written under a temporary name, synced (``durable``), and then renamed (``write``) or
    hard-linked (``create_if_absent``: a link fails where the name exists, a rename would replace).

    Contents are on the disk before their name appears, and a name that decides something (a seal,
    a pointer, a run) is synced too; on a journalling file system that takes every earlier name with
    it. Should a power cut elsewhere lose the name of a data file, its seal shows the damage.
    """

    def __init__(self, root: str) -> None:
        from pyarrow.fs import LocalFileSystem

        super().__init__(LocalFileSystem(), os.path.abspath(root))

    def read(self, path: str) -> bytes:
        with self._reading(path):
            return super().read(path)

    def size(self, path: str) -> int | None:
        with self._reading(path):
            return super().size(path)

    def write(self, path: str, data: bytes, *, durable: bool = True) -> None:
        target = self._at(path)
        with self._writing():
            self._placed(target, data, os.replace, durable)

    def create_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> bool:
        target = self._at(path)
        if os.path.lexists(target):
            return False
        with self._writing():
            try:
                self._placed(target, data, _link, durable)
            except _TakenError:
                return False
            if durable:
                _sync_folder(os.path.dirname(target))
        return True

    def names(self, folder: str) -> list[str]:
        # pyarrow's listing fails when an entry goes away while it looks at each.
        try:
            return sorted(os.listdir(self._at(folder)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def delete(self, path: str) -> None:
        target = self._at(path)
        with self._writing(), suppress(FileNotFoundError, NotADirectoryError):
            try:
                os.unlink(target)
            except IsADirectoryError:
                shutil.rmtree(target, onerror=_ignore_gone)

    def move(self, source: str, target: str) -> bool:
        begin, end = self._at(source), self._at(target)
        with self._writing():
            _make_folders(os.path.dirname(end))
            try:
                os.rename(begin, end)
            except FileNotFoundError:
                return False
            _sync_folder(os.path.dirname(end))
        return True

    def _at(self, path: str) -> str:
        return os.path.join(self.root, checked(path))

    def _placed(self, target: str, data: bytes, place: Place, durable: bool) -> None:
        """Write beside the target, then ``place``.

        Another process may sweep the folder away between two steps: then from the start.
        """
        for attempt in range(_RETRIES):
            temporary = temporary_beside(target)
            try:
                _make_folders(os.path.dirname(target))
                _write(temporary, data, durable)
                place(temporary, target)
                return
            except FileNotFoundError:
                if attempt == _RETRIES - 1:
                    raise
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        """pyarrow's errors tell the file in words alone; whoever catches them wants its name."""
        try:
            yield
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, os.strerror(error.errno), self._at(path)) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            where = error.filename or self.root
            raise BadInput(
                f"store={self.root} cannot be written ({error.strerror} at {where}): "
                "a folder with space that this user may write to"
            ) from error


class _TakenError(Exception):
    """Another writer was first (and the file may be gone again by now)."""


def _link(temporary: str, target: str) -> None:
    """Give the file its name if it is free; the temporary name goes either way."""
    try:
        os.link(temporary, target)
    except FileExistsError as error:
        raise _TakenError from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _make_folders(folder: str) -> None:
    """Raises FileNotFoundError where another process sweeps the folder away meanwhile."""
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:
        if os.path.isfile(error.filename):
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder) from error


def _write(path: str, data: bytes, durable: bool) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: str) -> None:
    with suppress(FileNotFoundError):  # swept away: its own removal needs no durability
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _ignore_gone(function: object, path: str, info: object) -> None:
    """Another process deletes the same folder; what it adds meanwhile is swept next time."""
    error = info[1] if isinstance(info, tuple) else None
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENOTEMPTY):
        return
    raise error if isinstance(error, BaseException) else OSError(f"cannot delete {path}")
