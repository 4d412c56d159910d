"""Reading a data set: memory-mapped shards, rows gathered in any order.

Opening reads the manifest only. A shard is mapped when its first row is asked for; its columns
are numpy views of the mapping, so pages are read on demand and shared between processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from had_core.data.manifest import IMAGE, ColumnSpec, DatasetManifest, ShardEntry
from had_core.data.writing import file_sha256
from had_core.errors import BadInput, CorruptArtifact
from had_core.paths import expanded
from had_core.tasks import DenseTask, TaskKind

Rows = NDArray[np.int64]
_PROBE = 4096  # pixels looked at first for a valid one


class ShardDataset:
    """A data set on disk; make one with ``ShardDataset.open``."""

    def __init__(self, path: Path, manifest: DatasetManifest) -> None:
        self.path = path
        self.manifest = manifest
        self._splits: dict[str, Split] = {}

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> ShardDataset:
        """Open the data set in folder ``path``; no image is read unless ``verify``.

        Raises:
            BadInput: the folder, its manifest or one of its shards is missing or malformed.
            CorruptArtifact: ``verify`` and a shard differs from its SHA-256; it is named.
        """
        folder = expanded(path).absolute()
        manifest = DatasetManifest.read(folder)
        for split in manifest.splits.values():
            for entry in split.shards:
                if not (folder / entry.file).is_file():
                    raise BadInput(f"shard '{entry.file}' of data set '{folder}' is missing")
                if verify and file_sha256(folder / entry.file) != entry.sha256:
                    raise damaged(folder, entry)
        return cls(folder, manifest)

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    def split(self, name: str) -> Split:
        """The split "train" or "test"."""
        if name not in self.manifest.splits:
            allowed = ", ".join(sorted(self.manifest.splits))
            raise BadInput(f"split '{name}' is not in '{self.path}': allowed is one of {allowed}")
        if name not in self._splits:
            self._splits[name] = Split(self.path, name, self.manifest)
        return self._splits[name]


class Split:
    """The images and targets of one split, by row number 0..len-1."""

    def __init__(self, folder: Path, name: str, manifest: DatasetManifest) -> None:
        split = manifest.splits[name]
        self.name = name
        self.fingerprint = split.fingerprint
        self.tasks: Mapping[str, DenseTask] = {task.name: task for task in manifest.tasks}
        self.height, self.width = manifest.height, manifest.width
        self._folder, self._entries, self._columns = folder, split.shards, manifest.columns
        self._starts = np.cumsum([0, *(entry.rows for entry in split.shards)])
        self._mapped: dict[int, dict[str, NDArray[Any]]] = {}
        self._labelled: dict[str, NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def images(self, rows: Rows) -> NDArray[np.float32]:
        """float32 ``[B,H,W,3]`` in 0..1, RGB."""
        rows = self._checked(rows)
        out_BHW3 = np.empty((len(rows), self.height, self.width, 3), np.float32)
        for out, row in zip(out_BHW3, rows, strict=True):
            image = self._row(IMAGE, row)
            if image.dtype == np.uint8:
                np.divide(image, np.float32(255), out=out, dtype=np.float32)
            else:
                out[...] = image
        return out_BHW3

    def targets(self, task_name: str, rows: Rows) -> NDArray[Any]:
        """LABELS int64 ``[B,H,W]``, other kinds float32 ``[B,H,W,C]``."""
        task, rows = self._task(task_name), self._checked(rows)
        dtype = np.int64 if task.kind is TaskKind.LABELS else np.float32
        out_B = np.empty((len(rows), *self._column(task_name).shape), dtype)
        for out, row in zip(out_B, rows, strict=True):
            out[...] = self._row(task_name, row)
        return out_B

    def labelled(self, task_name: str, rows: Rows) -> NDArray[np.bool_]:
        """bool ``[B]``: whether an image has any valid pixel of the task. Scanned once."""
        task, rows = self._task(task_name), self._checked(rows)
        if task_name not in self._labelled:
            self._labelled[task_name] = np.fromiter(
                (_any_valid(task, self._row(task_name, row)) for row in range(len(self))),
                np.bool_,
                len(self),
            )
        return self._labelled[task_name][rows]

    def stored(self, column: str, row: int) -> NDArray[Any]:
        """A read-only view of one row of one column as it lies in the shard."""
        return self._row(column, int(self._checked(np.array([row]))[0]))

    def _task(self, name: str) -> DenseTask:
        if name not in self.tasks:
            allowed = ", ".join(self.tasks)
            raise BadInput(f"task '{name}' is not in '{self._folder}': allowed is one of {allowed}")
        return self.tasks[name]

    def _column(self, name: str) -> ColumnSpec:
        return next(c for c in self._columns if c.name == name)

    def _checked(self, rows: Rows) -> Rows:
        rows = np.asarray(rows)
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise TypeError(f"rows are {rows.dtype} of {rows.ndim} dimensions: integers of one")
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"split '{self.name}' has rows 0..{len(self) - 1}")
        return rows.astype(np.int64, copy=False)

    def _row(self, column: str, row: int) -> NDArray[Any]:
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        view: NDArray[Any] = self._shard(shard)[column][row - self._starts[shard]]
        return view

    def _shard(self, index: int) -> dict[str, NDArray[Any]]:
        if index not in self._mapped:
            self._mapped[index] = map_shard(self._folder, self._entries[index], self._columns)
        return self._mapped[index]


def map_shard(
    folder: Path, entry: ShardEntry, columns: tuple[ColumnSpec, ...]
) -> dict[str, NDArray[Any]]:
    """Memory-map one shard as read-only numpy views ``[rows, *shape]``, one a column.

    Raises:
        CorruptArtifact: it is not an Arrow file of these columns and rows; it is named.
    """
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(pa.memory_map(str(folder / entry.file), "r"))
        batch = reader.get_batch(0)
        batch.validate()
        views = {c.name: batch.column(c.name).to_numpy_ndarray() for c in columns}
    except (pa.ArrowException, OSError, KeyError, AttributeError) as error:
        raise damaged(folder, entry) from error
    for column in columns:
        view = views[column.name]
        if view.shape != (entry.rows, *column.shape) or view.dtype != np.dtype(column.dtype):
            raise damaged(folder, entry)
    return views


def damaged(folder: Path, entry: ShardEntry) -> CorruptArtifact:
    return CorruptArtifact(
        f"shard '{entry.file}' of data set '{folder}' is damaged: it is not what was recorded "
        "when it was written; build or import the data set again"
    )


def valid_pixels(task: DenseTask, target: NDArray[Any]) -> NDArray[np.bool_]:
    """Which pixels count: bool, the shape of ``target`` without channels (LABELS has none)."""
    if task.kind is TaskKind.LABELS:
        if task.invalid is None:
            return np.ones(target.shape, np.bool_)
        return np.asarray(target != int(task.invalid))
    if task.kind is TaskKind.UNIT_VECTOR:
        return np.asarray((target != 0).any(axis=-1))
    if task.invalid is None:
        return np.ones(target.shape[:-1], np.bool_)
    return np.asarray(target[..., 0] != target.dtype.type(task.invalid))


def _any_valid(task: DenseTask, target: NDArray[Any]) -> bool:
    if task.kind is not TaskKind.UNIT_VECTOR and task.invalid is None:
        return True
    channels = target.shape[2:]
    pixels = target.reshape(-1, *channels)
    return any(
        bool(valid_pixels(task, pixels[start : start + _PROBE]).any())
        for start in range(0, len(pixels), _PROBE)
    )
