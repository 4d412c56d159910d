"""From events to records: what MLflow should show, given everything the journal holds.

A pure function of the *set* of events: the order in which segments arrive, and how often a driver
or an attempt was started again, make no difference.

* A stage is *full* in this run if any attempt was started here, else a light one that links it.
* An epoch that two attempts reached counts once, as the first attempt recorded it.
* A row that repeats equal numbers keeps its first time, so that it stays one point.
* Whatever is open when its trial, or the run's last driver, ended is KILLED.

A sweep has tens of thousands of records, so every call costs what has changed, and sequences that
are over and shown are forgotten: only the names of their segments are kept, to read them again
should the journal ever come back to them.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.tracking.collected import Reread, Sequence, Trial, events, sequence_of
from orchestrator.tracking.events import (
    RunFiles,
    RunFinished,
    RunStarted,
    SequenceStarted,
    TrialFinished,
    TrialScored,
    TrialStarted,
)
from orchestrator.tracking.journal import Entry
from orchestrator.tracking.records import RunRecord
from orchestrator.tracking.run_view import RunFacts, root_record
from orchestrator.tracking.sequence_view import (
    SequenceSummary,
    SequenceView,
    sequence_record,
    summary_of,
)
from orchestrator.tracking.stage_view import StageView, given_up, stage_record
from orchestrator.tracking.standing import Standings
from orchestrator.tracking.trial_view import TrialView, trial_record


class Fold:
    """Collects the events of one journal and says which records they make.

    Args:
        journal: id of the journal; the first part of every uid.
        reread: reads segments again; without it nothing is forgotten.
    """

    def __init__(self, journal: str, run: str, reread: Reread | None = None) -> None:
        self._journal = journal
        self._run = run
        self._reread = reread
        self._entries: list[Entry] = []  # of the run itself
        self._trials: dict[str, Trial] = {}
        self._sequences: dict[str, Sequence] = {}
        self._standings = Standings()
        self._summaries: dict[str, SequenceSummary] = {}
        self._root_changed = False
        self._changed_trials: set[str] = set()
        self._changed: dict[str, set[str]] = {}  # sequence -> keys of stages
        self._given_trials: dict[str, str] = {}  # uid -> label
        self._given: dict[str, tuple[str, str]] = {}  # uid -> sequence and key of the stage
        self._facts = RunFacts.of(journal, run, [])
        self._latest = 0.0

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            event = entry.event
            if isinstance(event, (RunStarted, RunFinished, RunFiles)):
                self._add_to_run(entry)
            elif isinstance(event, (TrialStarted, TrialScored, TrialFinished)):
                self._trial(event.trial).add(entry)
                self._changed_trials.add(event.trial)
                if not isinstance(event, TrialScored):
                    self._trial_changed(event.trial)
            elif (name := sequence_of(event)) is not None:
                self._add_to_sequence(name, entry)
            self._latest = max(self._latest, event.time)

    def touch(self) -> None:
        """Let the next ``changed`` give every record that may change or may not be shown."""
        self._root_changed = True
        self._changed_trials.update(label for label, trial in self._trials.items() if trial.open)
        for name, sequence in self._sequences.items():
            if sequence.open:
                self._changed.setdefault(name, set()).update(sequence.open - {""})

    def settle(self, uid: str) -> None:
        """The record last given with this uid is shown in full."""
        if uid in self._given_trials:
            self._trials[self._given_trials[uid]].open = False
        elif uid in self._given:
            name, key = self._given[uid]
            self._sequences[name].open.discard(key)
            self._forget(self._sequences[name])

    @property
    def recipe(self) -> str | None:
        """The experiment's name, None until a driver has begun."""
        starts = [e for e in events(self._entries) if isinstance(e, RunStarted)]
        return starts[-1].recipe if starts else None

    def changed(self) -> list[RunRecord]:
        """Records that may differ from those of the last call; parents before children.

        Runs get their names when they are made, so a trial or sequence whose start has not been
        heard of waits for it, unless the run is over.
        """
        facts = self._facts = RunFacts.of(self._journal, self._run, events(self._entries))
        self._given.clear()
        self._given_trials.clear()
        changed, self._changed = self._changed, {}
        views = [self._look(name, keys) for name, keys in changed.items()]
        views = [view for view in views if self._ready(facts, view.name)]
        sequences = [self._sequence_record(facts, view) for view in views]
        stages = [
            (stage, view)
            for view in views
            for key in changed[view.name]
            if (stage := self._sequences[view.name].views.get(key)) is not None
        ]
        trials = self._trial_records(facts)
        return [
            *self._root_records(facts),
            *trials,
            *sorted(sequences, key=lambda record: (record.start_ms, record.uid)),
            *(
                self._stage_record(facts, view, stage)
                for stage, view in sorted(stages, key=lambda pair: pair[0].rank)
            ),
        ]

    def _add_to_run(self, entry: Entry) -> None:
        event = entry.event
        late = isinstance(event, RunStarted) and event.time <= self._latest
        first = not any(isinstance(known.event, RunStarted) for known in self._entries)
        self._entries.append(entry)
        self._root_changed = True
        if isinstance(event, RunFiles):
            return
        self.touch()
        if isinstance(event, RunStarted) and (late or first):  # history looks different now
            self._changed_trials.update(self._trials)
            for name in self._sequences:
                self._sequence_changed(name)

    def _add_to_sequence(self, name: str, entry: Entry) -> None:
        sequence = self._sequences.setdefault(name, Sequence(name))
        self._remember(sequence)
        key = sequence.add(entry)
        sequence.open.update({"", key})
        self._changed.setdefault(name, set()).update({key} - {""})
        if isinstance(entry.event, SequenceStarted):
            self._sequence_changed(name)
            if sequence.trial:
                self._trial(sequence.trial).want(name, entry.event.time)

    def _trial(self, label: str) -> Trial:
        if label not in self._trials:
            self._trials[label] = Trial(label)
            self._changed_trials.add(label)
        return self._trials[label]

    def _trial_changed(self, label: str) -> None:
        """Its tags are repeated on everything below it."""
        self._root_changed = True
        for name in self._trials[label].sequences:
            self._sequence_changed(name)

    def _sequence_changed(self, name: str) -> None:
        sequence = self._sequences[name]
        self._remember(sequence)
        sequence.open.update({"", *sequence.stages})
        self._changed.setdefault(name, set()).update(sequence.stages)

    def _look(self, name: str, keys: set[str]) -> SequenceView:
        """The view of a sequence, with those of the stages that changed renewed."""
        sequence = self._sequences[name]
        for key in keys:
            sequence.look(key)
        trial = self._view(sequence.trial) if sequence.trial else None
        view = SequenceView.of(name, events(sequence.entries), sequence.rows(), trial)
        summary = summary_of(view)
        if self._summaries.get(name) != summary:
            self._summaries[name] = summary
            self._root_changed |= trial is None or trial.over is not None
        return view

    def _view(self, trial: str) -> TrialView:
        return self._trials[trial].view(self._facts.breaks)

    def _ready(self, facts: RunFacts, name: str) -> bool:
        sequence = self._sequences[name]
        trial = not sequence.trial or self._trials[sequence.trial].named
        return facts.closed is not None or (sequence.named and trial)

    def _root_records(self, facts: RunFacts) -> list[RunRecord]:
        changed, self._root_changed = self._root_changed, False
        if not changed or facts.root is None:
            return []
        standing = self._standings.look(facts.objectives)
        return [root_record(facts, standing, self._summaries_of)]

    def _summaries_of(self, trial: str | None) -> list[SequenceSummary]:
        names = self._summaries if trial is None else self._trials[trial].sequences
        found = (self._summaries.get(name) for name in names)
        return sorted(filter(None, found), key=lambda summary: (summary.began, summary.name))

    def _trial_records(self, facts: RunFacts) -> list[RunRecord]:
        labels, self._changed_trials = self._changed_trials, set()
        records = []
        for view in sorted(map(self._view, labels), key=lambda view: view.rank):
            self._standings.put(view)
            if not self._trials[view.label].named and facts.closed is None:
                continue
            records.append(trial_record(facts, view))
            if view.end is not None:
                self._given_trials[records[-1].uid] = view.label
        return records

    def _sequence_record(self, facts: RunFacts, view: SequenceView) -> RunRecord:
        record = sequence_record(facts, view)
        if view.final:
            self._given[record.uid] = (view.name, "")
        return record

    def _stage_record(self, facts: RunFacts, sequence: SequenceView, view: StageView) -> RunRecord:
        record = stage_record(facts, sequence, view)
        if view.end is not None or given_up(sequence, view) is not None:
            self._given[record.uid] = (sequence.name, view.ref.key)
        return record

    def _forget(self, sequence: Sequence) -> None:
        """What is over and shown need not be kept; its trial may still change its tags."""
        over = not sequence.trial or self._view(sequence.trial).end is not None
        if self._reread is not None and not sequence.open and over:
            sequence.forget()

    def _remember(self, sequence: Sequence) -> None:
        if self._reread is not None and sequence.segments is not None:
            sequence.remember(self._reread)
