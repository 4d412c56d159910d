"""Checking a data set on disk: checksums, layout, every value; and what is in it.

``check`` reads everything once, shard by shard. ``strict=False`` returns the problems instead of
raising, so that all of them can be shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from had_core.data.manifest import IMAGE, DatasetManifest, ShardEntry
from had_core.data.shards import damaged, map_shard, valid_pixels
from had_core.data.writing import file_sha256
from had_core.errors import BadInput, CorruptArtifact
from had_core.paths import expanded
from had_core.tasks import DenseTask, TaskKind

Array = NDArray[Any]
LENGTH_TOLERANCE = 1e-3
_SHOWN = 3


@dataclass(frozen=True)
class TaskReport:
    """What one split holds of one task.

    Attributes:
        valid_share: valid pixels over all pixels.
        labelled_images: images with any valid pixel.
        minimum, maximum: over the valid pixels; None where there are none.
        class_shares: LABELS: share of the valid pixels by class.
    """

    name: str
    kind: TaskKind
    valid_share: float
    labelled_images: int
    minimum: float | None
    maximum: float | None
    class_shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class SplitReport:
    """Counts and ranges of one split; image values in 0..1, None where no shard could be read."""

    name: str
    count: int
    image_minimum: float | None
    image_maximum: float | None
    tasks: tuple[TaskReport, ...]


@dataclass(frozen=True)
class CheckReport:
    """The whole data set; ``problems`` is empty when it is sound."""

    path: str
    name: str
    fingerprint: str
    height: int
    width: int
    splits: tuple[SplitReport, ...]
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


def check(path: str | Path, *, strict: bool = True) -> CheckReport:
    """Read and check the data set in folder ``path``.

    Raises:
        BadInput: it has no readable manifest; or ``strict`` and a value in it is not allowed.
        CorruptArtifact: the manifest is damaged; or ``strict`` and a shard is missing or differs
            from its SHA-256.
    """
    folder = expanded(path).absolute()
    manifest = DatasetManifest.read(folder)
    corrupt: list[str] = []
    wrong: list[str] = []
    splits = tuple(
        _check_split(folder, manifest, name, corrupt, wrong) for name in sorted(manifest.splits)
    )
    problems = (*corrupt, *wrong)
    if strict and problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise (CorruptArtifact if corrupt else BadInput)("; ".join(problems[:_SHOWN]) + more)
    return CheckReport(
        path=str(folder),
        name=manifest.name,
        fingerprint=manifest.fingerprint,
        height=manifest.height,
        width=manifest.width,
        splits=splits,
        problems=problems,
    )


@dataclass
class _Tally:
    """Running counts of one column."""

    classes: int = 0
    pixels: int = 0
    valid: int = 0
    labelled: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf
    counts: Array = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.classes, np.int64)

    def add(self, values: Array, valid: Array) -> None:
        """Add rows ``values`` ``[R,H,W(,C)]`` of which the pixels ``valid`` ``[R,H,W]`` count."""
        self.pixels += valid.size
        self.valid += int(valid.sum())
        self.labelled += int(valid.any(axis=(1, 2)).sum())
        chosen = values if valid.all() else values[valid]
        if chosen.size:
            self.minimum = min(self.minimum, float(chosen.min()))
            self.maximum = max(self.maximum, float(chosen.max()))
        if self.classes:
            inside = chosen[(chosen >= 0) & (chosen < self.classes)]
            self.counts += np.bincount(inside.ravel(), minlength=self.classes)

    def range(self, scale: float = 1.0) -> tuple[float | None, float | None]:
        if self.minimum > self.maximum:
            return None, None
        return self.minimum / scale, self.maximum / scale


def _check_split(
    folder: Path, manifest: DatasetManifest, name: str, corrupt: list[str], wrong: list[str]
) -> SplitReport:
    tallies = {
        task.name: _Tally(task.channels if task.kind is TaskKind.LABELS else 0)
        for task in manifest.tasks
    }
    image = _Tally()
    for entry in manifest.splits[name].shards:
        try:
            views = _sound_shard(folder, entry, manifest)
        except CorruptArtifact as error:
            corrupt.append(str(error))
            continue
        pictures = views[IMAGE]
        image.add(pictures, np.ones(pictures.shape[:3], np.bool_))
        wrong += [f"shard '{entry.file}': {text}" for text in _image_problems(pictures)]
        for task in manifest.tasks:
            target = views[task.name]
            valid = valid_pixels(task, target)
            tallies[task.name].add(target, valid)
            wrong += [
                f"shard '{entry.file}': task '{task.name}' {text}"
                for text in _target_problems(task, target, valid)
            ]
    low, high = image.range(255.0 if manifest.image_dtype == "uint8" else 1.0)
    tasks = tuple(_task_report(task, tallies[task.name]) for task in manifest.tasks)
    return SplitReport(name, manifest.splits[name].count, low, high, tasks)


def _sound_shard(folder: Path, entry: ShardEntry, manifest: DatasetManifest) -> dict[str, Array]:
    path = folder / entry.file
    if not path.is_file():
        raise CorruptArtifact(f"shard '{entry.file}' of data set '{folder}' is missing")
    if file_sha256(path) != entry.sha256:
        raise damaged(folder, entry)
    return map_shard(folder, entry, manifest.columns)


def _image_problems(pictures: Array) -> Iterator[str]:
    if pictures.dtype.kind == "f" and not ((pictures >= 0) & (pictures <= 1)).all():
        yield "an image holds values outside 0 to 1"


def _target_problems(task: DenseTask, target: Array, valid: Array) -> Iterator[str]:
    """What is wrong with the values of one task in one shard."""
    if target.dtype.kind == "f" and not np.isfinite(target).all():
        yield "holds NaN or infinite values"
        return
    chosen = target[valid]
    if task.kind is TaskKind.LABELS and ((chosen < 0) | (chosen >= task.channels)).any():
        yield f"holds labels outside 0 to {task.channels - 1}"
    elif task.kind is TaskKind.BINARY and (chosen > 1).any():
        yield "holds values other than 0 and 1"
    elif task.kind is TaskKind.UNIT_VECTOR:
        length = np.sqrt((chosen.astype(np.float64) ** 2).sum(axis=-1))
        if (np.abs(length - 1) > LENGTH_TOLERANCE).any():
            yield "holds vectors whose length is not 1"
    elif task.relative_error and (chosen <= 0).any():
        yield "holds valid values of 0 or less"


def _task_report(task: DenseTask, tally: _Tally) -> TaskReport:
    low, high = tally.range()
    shares = tuple(float(c) / max(1, tally.valid) for c in tally.counts)
    return TaskReport(
        name=task.name,
        kind=task.kind,
        valid_share=tally.valid / max(1, tally.pixels),
        labelled_images=tally.labelled,
        minimum=low,
        maximum=high,
        class_shares=shares,
    )
