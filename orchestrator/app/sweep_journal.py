"""What the driver writes into a sweep's journal: the sweep, its trials and their sequences.

Workers write about the stages they train, under the sequence that asked first. A stage that a
sequence shares is written here, once the sequence is complete or given up.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from orchestrator.app.run_events import (
    run_started,
    sequence_finished,
    sequence_started,
    stage_reused,
)
from orchestrator.app.sweep_problem import SweepProblem
from orchestrator.display.sweep_results import TrialResult
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import SequenceSpec, StageSpec
from orchestrator.search.events import TrialEnd, TrialEnded, TrialEvent, TrialScored, TrialStarted
from orchestrator.search.settings import Objective, Params
from orchestrator.tracking import events
from orchestrator.tracking.events import Direction, End, RunKind, TrialState, sequence_id
from orchestrator.tracking.journal import Journal, JournalReader

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.store import Store

_STATES = {
    TrialEnd.COMPLETE: (TrialState.COMPLETE, End.FINISHED),
    TrialEnd.PRUNED: (TrialState.PRUNED, End.KILLED),
    TrialEnd.FAILED: (TrialState.FAILED, End.FAILED),
    TrialEnd.INTERRUPTED: (TrialState.FAILED, End.KILLED),
}


ENDED = {end.value: end for end in (TrialEnd.COMPLETE, TrialEnd.PRUNED, TrialEnd.FAILED)}


def _commands(name: str) -> Mapping[str, str]:
    """What one may type next, for the sweep's page in MLflow."""
    return {
        "continue": f"had resume {name}",
        "judge ten more settings": f"had resume {name} --trials +10",
        "score the best on the test set": "had run {settings} {best}",
        "compare the best with other methods": "had compare {data} methods=[naive,lwf] {method}",
        "verify one stage": "had rerun {stage}",
        "write it up": f"had report {name} -o {name}.html",
    }


def objectives(objective: Objective) -> Mapping[str, Direction]:
    """Names of what a trial's values are, and which are better."""
    if objective is Objective.FINAL_AND_FORGETTING:
        return {"delta_m_pct": Direction.MAXIMIZE, "forgetting": Direction.MINIMIZE}
    return {f"{objective.value}_delta_m_pct": Direction.MAXIMIZE}


class SweepJournal:
    """The driver's side of one sweep's journal; methods but ``files`` are called from one thread at
    a time."""

    def __init__(self, journal: Journal, problem: SweepProblem, store: Store) -> None:
        self.journal = journal
        self._problem, self._store = problem, store
        self._open: dict[str, tuple[Params, int]] = {}  # trial -> settings, orders told

    def begin(self, dataset: ShardDataset, trials: Iterable[TrialResult]) -> None:
        """The sweep, and the end of trials that a killed driver could tell only the study."""
        config = self._problem.config
        assert config.search is not None
        told = {
            event.trial
            for event in JournalReader.open(self._store.uri, config.name).events(
                events.TrialFinished
            )
            if isinstance(event, events.TrialFinished)
        }
        self.journal.append(
            run_started(
                config,
                dataset,
                kind=RunKind.SWEEP,
                objectives=objectives(config.search.objective),
                commands=_commands(config.name),
            )
        )
        for trial in trials:
            if trial.label not in told and trial.state in ENDED:
                self._open[trial.label] = (trial.params, 0)
                end, values = ENDED[trial.state], trial.values
                self._ended(TrialEnded(trial.label, trial.number, end, values, trial.message))

    def hear(self, event: TrialEvent) -> None:
        match event:
            case TrialStarted():
                self._begun(event)
            case TrialScored():
                self._scored(event)
            case TrialEnded():
                self._ended(event)

    def files(self, files: Mapping[str, str]) -> None:
        """Tables and plots that lie in the store."""
        run = self.journal.run
        self.journal.append(events.RunFiles(time=time.time(), run=run, files=files))

    def end(self, end: End, message: str = "") -> None:
        run = self.journal.run
        self.journal.append(events.RunFinished(time=time.time(), run=run, end=end, message=message))
        self.journal.close()

    def _begun(self, event: TrialStarted) -> None:
        self._open[event.label] = (event.params, 0)
        started = events.TrialStarted(
            time=time.time(),
            run=self.journal.run,
            trial=event.label,
            number=event.number,
            params=dict(event.params),
        )
        config = self._problem.trial_config(event.params)
        sequences = self._problem.sequences(event.params)
        self.journal.append(
            started, *(sequence_started(config, each, event.label) for each in sequences)
        )

    def _scored(self, event: TrialScored) -> None:
        if event.label not in self._open:
            return
        params, told = self._open[event.label]
        for number in range(told, event.orders_done):
            self._finish(event.label, params, number, End.FINISHED)
        self._open[event.label] = (params, event.orders_done)
        values = {"objective": event.value}
        if event.scores:
            last = event.scores[-1]
            values |= {"delta_m_pct": last.delta_m_pct, "forgetting": last.forgetting}
        self.journal.append(
            events.TrialScored(
                time=time.time(),
                run=self.journal.run,
                trial=event.label,
                step=event.orders_done,
                values=values,
            )
        )

    def _ended(self, event: TrialEnded) -> None:
        state, end = _STATES[event.state]
        params, told = self._open.pop(event.label, ({}, len(self._problem.orders)))
        for number in range(told, len(self._problem.orders)):
            self._finish(event.label, params, number, end, event.message)
        config = self._problem.config
        assert config.search is not None
        names = objectives(config.search.objective)
        self.journal.append(
            events.TrialFinished(
                time=time.time(),
                run=self.journal.run,
                trial=event.label,
                end=end,
                state=state,
                values=dict(zip(names, event.values or (), strict=False)),
                message=event.message,
            )
        )

    def _finish(self, label: str, params: Params, order: int, end: End, message: str = "") -> None:
        """The sequences of one order: what they share, and how they ended."""
        wanted = self._problem.orders[order]
        sequences = self._problem.sequences(params, wanted)
        results = self._problem.results(params, wanted)
        for sequence, result in zip(sequences, results, strict=True):
            shared = [stage for stage in sequence.stages if self._is_shared(stage, sequence, label)]
            self.journal.append(
                *(stage_reused(self.journal.run, sequence, s, self._store, label) for s in shared),
                sequence_finished(self.journal.run, sequence, result, end, message, label),
            )

    def _is_shared(self, stage: StageSpec, sequence: SequenceSpec, label: str) -> bool:
        """Whether it is sealed, and was trained for another sequence or by another run."""
        manifest = self._store.manifest(ArtifactKind.FIT, stage.key)
        if manifest is None:
            return False
        mine = sequence_id(sequence.method, sequence.order, sequence.seed, label)
        return (manifest.get("run"), manifest.get("sequence")) != (self.journal.run, mine)
