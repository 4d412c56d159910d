"""What the display of a sweep shows beside the lanes' events: the study so far, stages wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.app.sweep_problem import SweepProblem
from orchestrator.display.sweep_progress import BestTrial, StageCounts, SweepStart
from orchestrator.display.sweep_results import TrialResult
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.search.events import TrialEnd
from orchestrator.search.settings import Params, SearchConfig

if TYPE_CHECKING:
    from optuna.study import Study

    from orchestrator.store import Store

_ENDED = {end.value: end for end in (TrialEnd.COMPLETE, TrialEnd.PRUNED, TrialEnd.FAILED)}


def sweep_start(
    problem: SweepProblem, search: SearchConfig, study: Study, trials: Sequence[TrialResult]
) -> SweepStart:
    """Before the first trial of this command."""
    from orchestrator.search.study import best

    winner = next(iter(best(study)), None)
    states = Counter(trial.state for trial in trials)
    return SweepStart(
        name=problem.config.name,
        trials=search.trials,
        orders=len(problem.orders),
        objective=search.objective,
        ended={end: states[state] for state, end in _ENDED.items() if states[state]},
        best=BestTrial(winner.label, winner.params, winner.values) if winner else None,
    )


class StageTally:
    """Counts the stages of the trials that this command begins; a sequence that several trials
    have (the reference's) counts once."""

    def __init__(self, problem: SweepProblem, store: Store) -> None:
        self._problem, self._store = problem, store
        self._sequences: set[tuple[str, ...]] = set()
        self._known: set[str] = set()
        self._wanted = self._reused = 0

    def begin(self, params: Params) -> None:
        """A trial with these settings begins."""
        for sequence in self._problem.sequences(params):
            keys = tuple(stage.key for stage in sequence.stages)
            if keys in self._sequences:
                continue
            self._sequences.add(keys)
            new = [key for key in keys if key not in self._known]
            self._known.update(new)
            to_train = sum(not self._store.is_sealed(ArtifactKind.FIT, key) for key in new)
            self._wanted += len(keys)
            self._reused += len(keys) - to_train

    def counts(self, open_stages: int) -> StageCounts:
        """With the number of different stages that have not ended."""
        return StageCounts(self._wanted, self._reused, open_stages)
