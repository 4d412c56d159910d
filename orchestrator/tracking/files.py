"""A folder that can be listed, read and written atomically, on this machine or any pyarrow store.

The journal needs no more than this, so that a worker can append without importing pyarrow when the
store is local.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any, Protocol

_LOCAL_SCHEMES = ("file://",)


class Folder(Protocol):
    """A flat folder of small files. Names hold no separator; names that begin with ``.`` are
    hidden from ``names``."""

    def names(self) -> list[str]:
        """Sorted names of complete files; empty when the folder does not exist."""
        ...

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError if there is no such file."""
        ...

    def write(self, name: str, data: bytes, *, durable: bool = False) -> None:
        """All of ``data`` or nothing becomes visible; ``durable`` survives a power cut."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write unless the file exists; whether it was written."""
        ...

    @property
    def local(self) -> Path | None:
        """The folder on this machine, None if it is elsewhere."""
        ...


def open_folder(root: str | Path, *parts: str) -> Folder:
    """The folder ``root/parts...`` of a path or URI; nothing is created yet."""
    text = str(root)
    for scheme in _LOCAL_SCHEMES:
        text = text.removeprefix(scheme)
    if "://" not in text:
        return LocalFolder(Path(text).absolute().joinpath(*parts))
    from pyarrow import fs

    filesystem, base = fs.FileSystem.from_uri(text)
    return ArrowFolder(filesystem, "/".join([base.rstrip("/"), *parts]))


def subfolders(root: str | Path, *parts: str) -> list[str]:
    """Sorted names of the folders inside ``root/parts...``."""
    folder = open_folder(root, *parts)
    if isinstance(folder, LocalFolder):
        path = folder.path
        return sorted(p.name for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
    assert isinstance(folder, ArrowFolder)
    return folder.subfolders()


class LocalFolder:
    """A folder of a local or mounted file system; files appear by rename or link."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def local(self) -> Path | None:
        return self.path

    def names(self) -> list[str]:
        try:
            with os.scandir(self.path) as entries:
                return sorted(e.name for e in entries if not e.name.startswith("."))
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes, *, durable: bool = False) -> None:
        temp = self._temp(name, data, durable)
        os.replace(temp, self.path / name)
        if durable:
            self._sync()

    def create(self, name: str, data: bytes) -> bool:
        temp = self._temp(name, data, durable=True)
        try:
            os.link(temp, self.path / name)
        except FileExistsError:
            return False
        finally:
            os.unlink(temp)
        self._sync()
        return True

    def _temp(self, name: str, data: bytes, durable: bool) -> Path:
        temp = self.path / f".{name}.{uuid.uuid4().hex[:8]}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            handle = os.open(temp, flags, 0o644)
        except FileNotFoundError:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(temp, flags, 0o644)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        except OSError as error:  # a full disk tells no file's name
            temp.unlink()
            raise OSError(error.errno, os.strerror(error.errno or 0), str(self.path)) from error
        return temp

    def _sync(self) -> None:
        handle = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class ArrowFolder:
    """A folder of an object store; one upload is atomic there by itself."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self._fs = filesystem
        self._path = path

    @property
    def local(self) -> Path | None:
        return None

    def names(self) -> list[str]:
        return [name for name, is_file in self._entries() if is_file and not name.startswith(".")]

    def subfolders(self) -> list[str]:
        return [name for name, is_file in self._entries() if not is_file]

    def read(self, name: str) -> bytes:
        with self._fs.open_input_stream(f"{self._path}/{name}") as stream:
            return bytes(stream.read())

    def write(self, name: str, data: bytes, *, durable: bool = False) -> None:
        self._fs.create_dir(self._path, recursive=True)
        with self._fs.open_output_stream(f"{self._path}/{name}") as stream:
            stream.write(data)

    def create(self, name: str, data: bytes) -> bool:
        """Not exclusive between two writers in the same instant; the last one stays."""
        if name in self.names():
            return False
        self.write(name, data)
        return True

    def _entries(self) -> list[tuple[str, bool]]:
        from pyarrow import fs

        selector = fs.FileSelector(self._path, allow_not_found=True)
        infos = self._fs.get_file_info(selector)
        return sorted((info.base_name, info.type == fs.FileType.File) for info in infos)
