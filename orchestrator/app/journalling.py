"""What the driver itself writes into a run's journal; workers write the rest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.app.run_events import (
    id_of,
    run_started,
    sequence_finished,
    sequence_started,
    stage_reused,
)
from orchestrator.display.results import SequenceResult
from orchestrator.execution.messages import Event as ExecutionEvent
from orchestrator.execution.messages import Outcome, Status
from orchestrator.plan.tree import PrefixTree
from orchestrator.tracking.events import End, RunFiles, RunFinished, RunKind

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.config import RunConfig
    from orchestrator.store import Store
    from orchestrator.tracking.journal import Journal


def _commands(name: str) -> dict[str, str]:
    """What one may type next, for a comparison's page in MLflow."""
    return {
        "continue": f"had resume {name}",
        "compare over other seeds": f"had resume {name} seed=[0,1,2] --fork",
        "verify one stage": "had rerun {stage}",
        "write it up": f"had report {name} -o {name}.html",
    }


class RunJournal:
    """The driver's side of one run's journal."""

    def __init__(self, journal: Journal, tree: PrefixTree, store: Store) -> None:
        self._journal, self._tree, self._store = journal, tree, store
        self._run = journal.run

    def begin(self, config: RunConfig, dataset: ShardDataset) -> None:
        """The run and every sequence it wants."""
        kind = RunKind.COMPARE if config.compared else RunKind.RUN
        commands = _commands(config.name) if config.compared else None
        self._journal.append(run_started(config, dataset, kind, commands=commands))
        self._journal.append(*(sequence_started(config, each) for each in self._tree.sequences))

    def reused(self, keys: frozenset[str]) -> None:
        """Stages that were sealed before this run asked for them, for every sequence."""
        for key in keys:
            self._share(key, self._tree[key].sequences)

    def hear(self, event: ExecutionEvent) -> None:
        """A stage that was trained for one sequence is reused by the others that want it; by all
        of them where another run's driver trained it."""
        if isinstance(event, Outcome) and event.status is Status.SEALED:
            wanted = self._tree[event.key].sequences
            mine = [n for n in wanted if id_of(self._tree.sequences[n]) == event.sequence]
            self._share(event.key, [n for n in wanted if n not in mine])

    def files(self, files: Mapping[str, str]) -> None:
        """What was written into the store for the run's page in MLflow."""
        self._journal.append(RunFiles(time=time.time(), run=self._run, files=files))

    def end(self, results: Sequence[SequenceResult], end: End, message: str = "") -> None:
        """Every sequence with its summary, then the run."""
        for result, sequence in zip(results, self._tree.sequences, strict=True):
            self._journal.append(sequence_finished(self._run, sequence, result, end, message))
        self._journal.append(RunFinished(time=time.time(), run=self._run, end=end, message=message))
        self._journal.close()

    def _share(self, key: str, sequences: Sequence[int]) -> None:
        for number in sequences:
            sequence = self._tree.sequences[number]
            stage = next(stage for stage in sequence.stages if stage.key == key)
            self._journal.append(stage_reused(self._run, sequence, stage, self._store))
