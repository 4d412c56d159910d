"""Events of one journal, sorted by what they are about; the memory of the fold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from orchestrator.tracking.events import (
    EpochEnded,
    Event,
    SequenceFinished,
    SequenceStarted,
    StageFailed,
    StageFinished,
    StageReused,
    StageStarted,
    TrialStarted,
)
from orchestrator.tracking.journal import Entry
from orchestrator.tracking.stage_view import StageView
from orchestrator.tracking.trial_view import TrialView

Reread = Callable[[Iterable[str]], list[Entry]]
"""Names of segments -> their entries."""
SequenceEvent = SequenceStarted | SequenceFinished
StageEvent = StageStarted | EpochEnded | StageFinished | StageReused | StageFailed


@dataclass
class Trial:
    """One trial's events.

    Attributes:
        sequences: names of its sequences; ``began`` the start of the first.
        open: whether its record may still change, or is not shown yet.
    """

    label: str
    entries: list[Entry] = field(default_factory=list)
    sequences: set[str] = field(default_factory=set)
    began: float = math.inf
    open: bool = True
    _view: TrialView | None = None
    _breaks: tuple[float, ...] = ()

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.open = True
        self._view = None

    def want(self, sequence: str, time: float) -> None:
        """A sequence of it started."""
        self.sequences.add(sequence)
        self.began = min(self.began, time)
        self._view = None

    def view(self, breaks: tuple[float, ...]) -> TrialView:
        """What is known of it; ``breaks`` are the times at which drivers ended."""
        if self._view is None or self._breaks != breaks:
            ordered = events(self.entries)
            self._view = TrialView.of(self.label, ordered, self.began, breaks)
            self._breaks = breaks
        return self._view

    @property
    def named(self) -> bool:
        return any(isinstance(entry.event, TrialStarted) for entry in self.entries)


@dataclass
class Sequence:
    """One sequence's events and those of its stages.

    Attributes:
        stages: by key.
        views: of the stages that are known by more than an epoch.
        trial: label, empty if it has none or its start has not been heard of.
        open: keys of stages that may still change or are not shown yet; ``""`` stands for the
            sequence itself.
        segments: where all of this is, once it was forgotten.
    """

    name: str
    entries: list[Entry] = field(default_factory=list)
    stages: dict[str, list[Entry]] = field(default_factory=dict)
    views: dict[str, StageView] = field(default_factory=dict)
    trial: str = ""
    open: set[str] = field(default_factory=set)
    segments: tuple[str, ...] | None = None

    @property
    def named(self) -> bool:
        return any(isinstance(entry.event, SequenceStarted) for entry in self.entries)

    def add(self, entry: Entry) -> str:
        """Keep an entry; the key of its stage, empty if it is about the sequence."""
        event = entry.event
        if isinstance(event, SequenceEvent):
            self.entries.append(entry)
            if isinstance(event, SequenceStarted):
                self.trial = event.trial
            return ""
        assert isinstance(event, StageEvent)
        key = event.key if isinstance(event, EpochEnded) else event.stage.key
        self.stages.setdefault(key, []).append(entry)
        return key

    def look(self, key: str) -> None:
        """Renew the view of a stage."""
        view = StageView.of(events(self.stages[key]))
        if view is not None:  # epochs alone do not say which stage they belong to
            self.views[key] = view

    def rows(self) -> list[StageView]:
        """Views of the stages, in the order of R's rows."""
        return sorted(self.views.values(), key=lambda view: (view.ref.position, view.ref.key))

    def forget(self) -> None:
        """Keep only where the entries are."""
        every = [*self.entries, *(entry for stage in self.stages.values() for entry in stage)]
        self.segments = tuple({entry.segment for entry in every})
        self.entries, self.stages, self.views = [], {}, {}

    def remember(self, reread: Reread) -> None:
        """Undo ``forget``."""
        segments, self.segments = self.segments, None
        for entry in reread(segments or ()):
            if sequence_of(entry.event) == self.name:
                self.add(entry)
        for key in self.stages:
            self.look(key)


def sequence_of(event: Event) -> str | None:
    """Name of the sequence that an event is about."""
    if isinstance(event, (SequenceStarted, SequenceFinished, EpochEnded)):
        return event.sequence
    if isinstance(event, (StageStarted, StageFinished, StageReused, StageFailed)):
        return event.stage.sequence
    return None


def events(entries: Iterable[Entry]) -> list[Event]:
    """The events, in order."""
    return [entry.event for entry in sorted(entries, key=lambda entry: entry.place)]
