"""The port over any ``pyarrow.fs`` file system."""

from __future__ import annotations

import threading
from typing import Any

from orchestrator.store.fs import checked, temporary_beside


class ArrowFs:
    """Reads, sizes and lists through pyarrow; the base of every file system of the store.

    ``create_if_absent`` is atomic among the threads of one process only, which is enough for file
    systems in memory. Where several processes write, a subclass brings the file system's own
    atomic creation, as ``LocalFs`` does; ``Store.open`` refuses locations that have none.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self._fs, self._root = filesystem, root.rstrip("/")
        self._lock = threading.Lock()

    @property
    def root(self) -> str:
        return self._root

    def read(self, path: str) -> bytes:
        with self._fs.open_input_file(self._at(path)) as file:
            data: bytes = file.read()
            return data

    def write(self, path: str, data: bytes, *, durable: bool = True) -> None:
        target = self._at(path)
        temporary = temporary_beside(target)
        self._make_folder_of(target)
        with self._fs.open_output_stream(temporary) as file:
            file.write(data)
        self._fs.move(temporary, target)

    def create_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> bool:
        with self._lock:
            if self._type(self._at(path)) != "NotFound":
                return False
            self.write(path, data, durable=durable)
            return True

    def size(self, path: str) -> int | None:
        info = self._fs.get_file_info(self._at(path))
        size: int | None = info.size if info.type.name == "File" else None
        return size

    def names(self, folder: str) -> list[str]:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._at(folder), allow_not_found=True)
        try:
            found = self._fs.get_file_info(selector)
        except NotADirectoryError:
            return []
        return sorted(info.base_name for info in found)

    def delete(self, path: str) -> None:
        target = self._at(path)
        kind = self._type(target)
        if kind == "Directory":
            self._fs.delete_dir(target)
        elif kind != "NotFound":
            self._fs.delete_file(target)

    def move(self, source: str, target: str) -> bool:
        """File by file, because object stores cannot rename folders."""
        kind = self._type(self._at(source))
        if kind == "NotFound":
            return False
        if kind == "Directory":
            for name in self.names(source):
                self.move(f"{source}/{name}", f"{target}/{name}")
            self._fs.delete_dir(self._at(source))
            return True
        self._make_folder_of(self._at(target))
        self._fs.move(self._at(source), self._at(target))
        return True

    def _at(self, path: str) -> str:
        return f"{self._root}/{checked(path)}"

    def _type(self, full: str) -> str:
        name: str = self._fs.get_file_info(full).type.name
        return name

    def _make_folder_of(self, full: str) -> None:
        self._fs.create_dir(full.rpartition("/")[0], recursive=True)
