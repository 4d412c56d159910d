"""Writing a data set: shards into a hidden sibling folder, published as a whole or not at all.

::

    with staged(dst) as folder:                  # <parent>/.<name>.<nonce>.tmp
        entry = write_shard(folder, "train-00000.arrow", columns, arrays)
        publish(folder, dst, manifest)           # manifest last, then one rename

``rename`` of a folder is atomic and refuses a target that is not empty: of two processes that
build the same data set at once the first wins, and the other one takes the winner's.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from had_core.data.manifest import MANIFEST_FILE, ColumnSpec, DatasetManifest, ShardEntry
from had_core.errors import BadInput, CorruptArtifact

SHARD_BYTES = 32 << 20


def rows_per_shard(columns: Sequence[ColumnSpec]) -> int:
    """Rows that fit one shard; at least one. One shard bounds the memory of a writer."""
    row_bytes = sum(np.dtype(c.dtype).itemsize * int(np.prod(c.shape)) for c in columns)
    return max(1, SHARD_BYTES // row_bytes)


def shard_name(split: str, index: int) -> str:
    return f"{split}-{index:05d}.arrow"


def empty_columns(columns: Sequence[ColumnSpec], rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays ``[rows, *shape]`` to fill and hand to ``write_shard``."""
    return {c.name: np.empty((rows, *c.shape), c.dtype) for c in columns}


def write_shard(
    folder: Path, name: str, columns: Sequence[ColumnSpec], arrays: Mapping[str, Any]
) -> ShardEntry:
    """Write one Arrow IPC file of one record batch, to disk, and return its entry.

    Raises:
        ValueError: an array's dtype or shape is not its column's.
    """
    import pyarrow as pa

    rows = len(arrays[columns[0].name])
    for column in columns:
        array = arrays[column.name]
        if array.dtype != np.dtype(column.dtype) or array.shape != (rows, *column.shape):
            raise ValueError(f"column '{column.name}' is {array.dtype} {array.shape}: not {column}")
    tensors = [
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(arrays[c.name]))
        for c in columns
    ]
    batch = pa.record_batch(tensors, names=[c.name for c in columns])
    path = folder / name
    with open(path, "wb") as file:
        with pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())
    return ShardEntry(name, rows, file_sha256(path))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def staged(dst: Path) -> Iterator[Path]:
    """A fresh hidden folder beside ``dst``; it and any parent made for it go away on an error.

    Folders that killed processes left for the same ``dst`` are removed: a live one is locked.

    Raises:
        BadInput: ``dst`` cannot be written, or is the current folder: whoever stands in it would
            be left in the one that ``dst`` replaces.
    """
    if dst.exists() and dst.samefile(os.curdir):
        raise BadInput(f"'{dst}' is the current folder: choose a new folder")
    made: list[Path] = []
    folder = dst.parent / f".{dst.name}.{secrets.token_hex(6)}.tmp"
    try:
        _make_parents(dst.parent, made)
        lock = _make_locked(folder)
    except OSError as error:
        _remove_empty(made)
        raise BadInput(f"'{dst}' cannot be written: {error.strerror}") from None
    try:
        _remove_abandoned(dst)
        yield folder
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(folder)):
            raise
        raise BadInput(f"'{dst}' cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        _remove_empty(made)


def publish(folder: Path, dst: Path, manifest: DatasetManifest) -> None:
    """Make the staged ``folder`` appear as ``dst``, complete.

    Raises:
        BadInput: ``dst`` holds something else. Holding the same data is success.
    """
    with open(folder / MANIFEST_FILE, "w", encoding="ascii") as file:
        file.write(manifest.to_json())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.rename(folder, dst)
    except OSError:
        if not dst.exists():
            raise
        refuse_other(dst, manifest.fingerprint)


def refuse_other(dst: Path, fingerprint: str) -> None:
    """Raise BadInput unless ``dst`` is a data set with this fingerprint."""
    same = False
    with contextlib.suppress(BadInput, CorruptArtifact):
        same = DatasetManifest.read(dst).fingerprint == fingerprint
    if not same:
        raise occupied(dst)


def occupied(dst: Path) -> BadInput:
    return BadInput(f"'{dst}' already exists and holds something else: choose a new folder")


def _make_locked(folder: Path) -> int:
    """Make ``folder`` with a lock on it; it gets its name when it is locked, never before."""
    unnamed = folder.with_suffix(".new")
    unnamed.mkdir()
    lock = os.open(unnamed, os.O_RDONLY)
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.rename(unnamed, folder)
    return lock


def _remove_abandoned(dst: Path) -> None:
    for folder in dst.parent.glob(f".{glob.escape(dst.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # locked by its living owner, or just gone
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _make_parents(parent: Path, made: list[Path]) -> None:
    missing = [p for p in (parent, *parent.parents) if not p.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        made.append(path)


def _remove_empty(made: list[Path]) -> None:
    for path in reversed(made):
        with contextlib.suppress(OSError):  # not empty: it holds the published data set
            path.rmdir()
