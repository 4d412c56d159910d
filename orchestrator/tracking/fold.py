"""From events to records: what MLflow should show, given everything the journal holds.

A pure function of the *set* of events: the order in which segments arrive, and how often a driver
or an attempt was started again, make no difference.

* A stage is *full* in this run if any attempt was started here, else a light one that links it.
* An epoch that two attempts reached counts once, as the first attempt recorded it.
* A row that repeats equal numbers keeps its first time, so that it stays one point.
* Whatever is open when the run's last driver ended is KILLED.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from orchestrator.tracking.events import (
    EpochEnded,
    Event,
    RunFinished,
    RunStarted,
    SequenceFinished,
    SequenceStarted,
    StageFailed,
    StageFinished,
    StageReused,
    StageStarted,
)
from orchestrator.tracking.journal import Entry
from orchestrator.tracking.records import RunRecord
from orchestrator.tracking.sequence_view import RunFacts, SequenceView, sequence_record
from orchestrator.tracking.stage_view import StageView, stage_record

_StageEvent = StageStarted | EpochEnded | StageFinished | StageReused | StageFailed


class Fold:
    """Collects the events of one journal and says which records they make.

    Args:
        journal: id of the journal; the first part of every uid.
    """

    def __init__(self, journal: str, run: str) -> None:
        self._journal = journal
        self._run = run
        self._run_entries: list[Entry] = []
        self._sequences: dict[str, list[Entry]] = defaultdict(list)
        self._stages: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        self._changed: set[tuple[str, str]] = set()
        self._views: dict[tuple[str, str], StageView] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            event = entry.event
            if isinstance(event, (RunStarted, RunFinished)):
                self._run_entries.append(entry)
                self.touch()
            elif isinstance(event, (SequenceStarted, SequenceFinished)):
                self._sequences[event.sequence].append(entry)
                self._changed.update(k for k in self._stages if k[0] == event.sequence)
                self._changed.add((event.sequence, ""))
            elif isinstance(event, _StageEvent):
                place = _place(event)
                self._stages[place].append(entry)
                self._sequences.setdefault(place[0], [])
                self._changed.update((place, (place[0], "")))

    def touch(self) -> None:
        """Let the next ``changed`` give every record."""
        self._changed.update(self._stages)
        self._changed.update((name, "") for name in self._sequences)

    @property
    def recipe(self) -> str | None:
        """The experiment's name, None until a driver has begun."""
        starts = [e for e in self._events(self._run_entries) if isinstance(e, RunStarted)]
        return starts[-1].recipe if starts else None

    def changed(self) -> list[RunRecord]:
        """Records that may differ from those of the last call; parents before children."""
        facts = RunFacts.of(self._journal, self._run, self._events(self._run_entries))
        changed, self._changed = self._changed, set()
        for place in changed:
            if place[1]:
                view = StageView.of(self._events(self._stages[place]))
                if view is not None:  # epochs alone do not say which stage they belong to
                    self._views[place] = view
        sequences = {
            name: SequenceView.of(name, self._events(self._sequences[name]), self._rows(name))
            for name in {place[0] for place in changed}
        }
        records = [sequence_record(facts, view) for view in sequences.values()]
        stages = [
            (self._views[place], sequences[place[0]]) for place in changed if place in self._views
        ]
        stages.sort(key=lambda pair: pair[0].rank)
        records.sort(key=lambda record: (record.start_ms, record.uid))
        return records + [stage_record(facts, sequence, stage) for stage, sequence in stages]

    def _rows(self, sequence: str) -> list[StageView]:
        """Views of a sequence's stages, in the order of R's rows."""
        views = [view for (name, _), view in self._views.items() if name == sequence]
        return sorted(views, key=lambda view: (view.ref.position, view.ref.key))

    @staticmethod
    def _events(entries: list[Entry]) -> list[Event]:
        return [entry.event for entry in sorted(entries, key=lambda entry: entry.place)]


def _place(event: _StageEvent) -> tuple[str, str]:
    if isinstance(event, EpochEnded):
        return event.sequence, event.key
    return event.stage.sequence, event.stage.key
