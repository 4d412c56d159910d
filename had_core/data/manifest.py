"""The manifest of a data set: tasks, splits, shards and their SHA-256. Standard library only.

``manifest.json`` is canonical JSON, so equal data sets have equal manifests byte for byte. It
says what a shard holds; the layout of one shard is ``columns``::

    image    [H,W,3]  uint8 (value / 255) or float32 in 0..1
    <task>   LABELS [H,W] int16 · SCALAR [H,W,1] float32 · UNIT_VECTOR [H,W,3] float32
             BINARY [H,W,1] uint8
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from had_core.canonical import Json, canonical_json, digest, to_plain
from had_core.decode import decode, shortened
from had_core.errors import BadInput, CorruptArtifact
from had_core.paths import refuse_special
from had_core.tasks import DenseTask, TaskKind

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
IMAGE = "image"
IMAGE_DTYPES = ("uint8", "float32")
SPLITS = ("train", "test")
_SHARD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_STORED = {
    TaskKind.LABELS: "int16",
    TaskKind.SCALAR: "float32",
    TaskKind.UNIT_VECTOR: "float32",
    TaskKind.BINARY: "uint8",
}


@dataclass(frozen=True)
class ColumnSpec:
    """One fixed-shape tensor column of a shard: numpy dtype name and shape of one row."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ShardEntry:
    """One Arrow file: its name inside the data set's folder, its rows, its SHA-256."""

    file: str
    rows: int
    sha256: str

    def __post_init__(self) -> None:
        if not _SHARD_NAME.fullmatch(self.file):
            raise BadInput(f"shard file '{self.file}' is not allowed: a plain file name is")
        if not (isinstance(self.rows, int) and self.rows >= 1):
            raise BadInput(f"shard '{self.file}' has rows={self.rows}, allowed is 1 or more")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise BadInput(f"shard '{self.file}' has sha256={self.sha256}, allowed is 64 digits")


@dataclass(frozen=True)
class SplitManifest:
    """One split: its shards in row order, and what identifies its contents.

    ``fingerprint`` is a digest of schema, tasks and shard digests; paths and times are not in it.
    """

    count: int
    shards: tuple[ShardEntry, ...]
    fingerprint: str


@dataclass(frozen=True)
class DatasetManifest:
    """What a data set holds.

    Attributes:
        name: of the data set.
        height, width: of every image and target, in pixels.
        tasks: the tasks that every image is labelled for.
        splits: "train" and "test".
        source: where it came from (generator and settings); recorded, not part of fingerprints.
        image_dtype: how images are stored, "uint8" or "float32".
        version: of this format.
    """

    name: str
    height: int
    width: int
    tasks: tuple[DenseTask, ...]
    splits: Mapping[str, SplitManifest]
    source: Mapping[str, Json] = field(default_factory=dict)
    image_dtype: str = "uint8"
    version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) != len(names) or IMAGE in names:
            raise BadInput(
                f"tasks={names} is not allowed: one or more different names other than '{IMAGE}'"
            )
        if self.image_dtype not in IMAGE_DTYPES:
            raise BadInput(
                f"image_dtype={self.image_dtype} is not allowed: one of {', '.join(IMAGE_DTYPES)}"
            )
        for task in self.tasks:
            _check_storable(task)

    @cached_property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """Layout of every shard: the image, then one column a task."""
        return columns_of(self.tasks, self.height, self.width, self.image_dtype)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of every split's fingerprint."""
        return digest({name: split.fingerprint for name, split in self.splits.items()})

    def fingerprint_of(self, shards: tuple[ShardEntry, ...]) -> str:
        """What a split with these shards is identified by."""
        return digest(
            {
                "version": self.version,
                "columns": self.columns,
                "tasks": self.tasks,
                "shards": [{"rows": s.rows, "sha256": s.sha256} for s in shards],
            }
        )

    def with_split(self, name: str, shards: tuple[ShardEntry, ...]) -> DatasetManifest:
        """A copy that holds one more split."""
        split = SplitManifest(sum(s.rows for s in shards), shards, self.fingerprint_of(shards))
        return DatasetManifest(
            **{**self._fields(), "splits": {**self.splits, name: split}},
        )

    def to_json(self) -> str:
        """Canonical JSON with a final newline; equal manifests are equal byte for byte."""
        return canonical_json(self) + "\n"

    @classmethod
    def read(cls, folder: Path) -> DatasetManifest:
        """Read and check ``folder/manifest.json``.

        Raises:
            BadInput: it is missing, is not JSON, or a value in it is not allowed.
            CorruptArtifact: a fingerprint in it does not follow from its own contents.
        """
        path = folder / MANIFEST_FILE
        try:
            raw = _read_json(path)
            if isinstance(raw, dict) and raw.get("version") != FORMAT_VERSION:
                version = shortened(json.dumps(raw.get("version")))
                raise BadInput(f"'{path}' has version={version}, allowed is {FORMAT_VERSION}")
            manifest = _decoded(raw, path)
        except RecursionError:
            raise BadInput(f"'{path}' is not a valid manifest: it is nested too deeply") from None
        manifest._check_fingerprints(path)
        return manifest

    def _check_fingerprints(self, path: Path) -> None:
        for name, split in self.splits.items():
            rows = sum(s.rows for s in split.shards)
            if split.fingerprint != self.fingerprint_of(split.shards) or rows != split.count:
                raise CorruptArtifact(
                    f"'{path}' is damaged: split '{name}' does not match its own fingerprint"
                )

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def columns_of(
    tasks: tuple[DenseTask, ...], height: int, width: int, image_dtype: str
) -> tuple[ColumnSpec, ...]:
    """The columns of a shard, in order."""
    targets = (
        ColumnSpec(
            task.name,
            _STORED[task.kind],
            (height, width) if task.kind is TaskKind.LABELS else (height, width, task.channels),
        )
        for task in tasks
    )
    return (ColumnSpec(IMAGE, image_dtype, (height, width, 3)), *targets)


def _check_storable(task: DenseTask) -> None:
    """The stored dtype must hold every class and the invalid value."""
    low, high = {
        TaskKind.LABELS: (-32768, 32767),
        TaskKind.BINARY: (2, 255),
    }.get(task.kind, (None, None))
    if task.invalid is None or low is None or high is None:
        return
    if not float(task.invalid).is_integer() or not low <= task.invalid <= high:
        raise BadInput(
            f"task '{task.name}' has invalid={task.invalid}, allowed is a whole number in "
            f"{low}..{high}"
        )


def _read_json(path: Path) -> Any:
    refuse_special(path)
    try:
        return json.loads(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        raise BadInput(
            f"'{path.parent}' is not a data set: it has no {MANIFEST_FILE} "
            "(had data build or had data import makes one)"
        ) from None
    except OSError as error:
        raise BadInput(f"'{path}' cannot be read as a manifest: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"'{path}' cannot be read as a manifest: {error}") from None
    except ValueError:  # of int()
        raise BadInput(f"'{path}' is not a valid manifest: a number has too many digits") from None


def _decoded(raw: Any, path: Path) -> DatasetManifest:
    """What plain values say; ``path`` is named where they do not have the form of a manifest."""
    try:
        manifest = decode(DatasetManifest, raw)
        for name in ("height", "width"):
            size = getattr(manifest, name)
            if size < 1:
                raise BadInput(f"{name}={size} is not allowed: 1 or more")
        missing = [name for name in SPLITS if name not in manifest.splits]
        if missing:
            raise BadInput(f"split '{missing[0]}' is missing")
        if to_plain(manifest) != raw:
            raise BadInput("it holds keys or values that this version does not know")
    except (BadInput, ValueError) as error:  # NaN in its source has no plain form
        raise BadInput(f"'{path}' is not a valid manifest: {error}") from None
    return manifest
