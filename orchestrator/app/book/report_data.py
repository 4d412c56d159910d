"""What a report needs to know of a run's data, also where the data set itself is elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from had_core.errors import HadError
from had_core.tasks import DenseTask, TaskKind
from orchestrator.config import RunConfig
from orchestrator.tracking.events import DatasetRef, Event, RunStarted, StageFinished, StageReused


@dataclass(frozen=True)
class KnownData:
    """Attributes: tasks: those of the run; fingerprints: of every split; counts: its images."""

    name: str
    tasks: tuple[DenseTask, ...]
    fingerprints: Mapping[str, str]
    counts: Mapping[str, int]
    height: int
    width: int


def known_data(config: RunConfig, events: Iterable[Event]) -> KnownData | None:
    """From the data set's manifest where it lies as it was, else from the run's journal.

    None where there is neither: nothing has been trained.
    """
    events = list(events)
    starts = [e.dataset for e in events if isinstance(e, RunStarted) and e.dataset]
    ref = starts[-1] if starts else None
    for folder in dict.fromkeys([*([ref.source] if ref else []), config.dataset.path]):
        found = _from_manifest(config, folder)
        if found and (ref is None or dict(found.fingerprints) == dict(ref.fingerprints)):
            return found
    return _from_journal(config, ref, events) if ref else None


def _from_manifest(config: RunConfig, folder: str) -> KnownData | None:
    from had_core.data.manifest import DatasetManifest

    try:
        manifest = DatasetManifest.read(Path(folder))
    except (HadError, OSError):  # it lies elsewhere now, and the journal knows enough
        return None
    return KnownData(
        config.dataset.name,
        tuple(task for task in manifest.tasks if task.name in config.tasks),
        {name: split.fingerprint for name, split in manifest.splits.items()},
        {name: split.count for name, split in manifest.splits.items()},
        manifest.height,
        manifest.width,
    )


def _from_journal(config: RunConfig, ref: DatasetRef, events: Iterable[Event]) -> KnownData:
    """Directions and names of metrics follow from a task's kind; units stay unknown."""
    relative = {
        task
        for event in events
        if isinstance(event, (StageFinished, StageReused))
        for row in event.rows.values()
        for task, metrics in row.items()
        if "rel_err" in metrics
    }
    tasks = []
    for name, value in ref.tasks.items():
        kind = TaskKind(value)
        channels = {TaskKind.LABELS: 2, TaskKind.UNIT_VECTOR: 3}.get(kind, 1)
        if name in config.tasks:
            tasks.append(DenseTask(name, kind, channels, relative_error=name in relative))
    return KnownData(ref.name, tuple(tasks), ref.fingerprints, ref.counts, ref.height, ref.width)
