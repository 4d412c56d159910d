"""The part of a report that a sweep adds: its study, and the best setting beside the reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.app.scores import Reference, sequence_results
from orchestrator.config import RunConfig
from orchestrator.display.results import SequenceResult
from orchestrator.display.sweep_results import SweepResult, TrialResult
from orchestrator.plan.specs import SequenceSpec
from orchestrator.report.model import SweepPart
from orchestrator.search.settings import FloatRange, IntRange, Params, SearchConfig

if TYPE_CHECKING:
    from optuna.study import Study

    from orchestrator.app.book.report_data import KnownData
    from orchestrator.app.sweep_problem import SweepProblem
    from orchestrator.store import Store

_MOST_FAILURES = 10


@dataclass(frozen=True)
class Searched:
    """What is known of a sweep.

    Attributes:
        sequences: different ones of all trials; shown: the reference's and the best setting's.
        results: of ``shown``, under the names that tables use.
        part: None where no trial has begun.
        best: the best setting; empty while there is none.
    """

    sequences: tuple[SequenceSpec, ...]
    shown: tuple[SequenceSpec, ...]
    results: tuple[SequenceResult, ...]
    reference: str | None
    part: SweepPart | None
    best: Params
    troubles: tuple[str, ...]


def searched(
    config: RunConfig, store: Store, data: KnownData, reference: Reference | None
) -> Searched:
    """The study as it is now; nobody else's driver is disturbed."""
    from orchestrator.app.sweep import TRIALS, study_url
    from orchestrator.app.sweep_problem import SweepProblem
    from orchestrator.app.sweep_result import result_of, trial_results
    from orchestrator.search import study as studies

    search = config.search
    assert search is not None
    constant = reference.constant if reference else {}
    problem = SweepProblem(config, data.fingerprints, data.tasks, constant)
    url = study_url(config, store)
    study = studies.look(url, config.name)
    trials = trial_results(study) if study is not None else ()
    part = None
    if study is not None and trials:
        search = replace(search, trials=max(search.trials, int(study.user_attrs.get(TRIALS, 0))))
        result = result_of(problem, search, study, store, study_url=url, stages_trained=0)
        part = SweepPart(result, _importance(study, result), _log_scale(search))
    best = _best(trials, part)
    label = config.reference_label or ""
    shown = _named(_wanted(problem, best), best, label)
    tasks = {task.name: task for task in data.tasks}
    return Searched(
        sequences=_different(problem, trials),
        shown=shown,
        results=sequence_results(shown, tasks, store, frozenset(), reference, "val"),
        reference=reference.method if reference else None,
        part=part,
        best=part.result.trial(part.result.best[0]).params if part and part.result.best else {},
        troubles=tuple(_troubles(config.name, search, trials, part)),
    )


def _importance(study: Study, result: SweepResult) -> dict[str, dict[str, float]]:
    from orchestrator.search.importance import importances

    shares = {name: importances(study, k) for k, name in enumerate(result.objectives)}
    return {name: dict(found) for name, found in shares.items() if found}


def _log_scale(search: SearchConfig) -> frozenset[str]:
    return frozenset(
        path
        for path, dimension in search.space.items()
        if isinstance(dimension, (FloatRange, IntRange)) and dimension.log
    )


def _best(trials: Sequence[TrialResult], part: SweepPart | None) -> TrialResult | None:
    """The best trial; without a complete one that which got furthest."""
    if part is not None and part.result.best:
        return part.result.trial(part.result.best[0])
    begun = [trial for trial in trials if trial.state != "waiting"]
    return max(begun, key=lambda trial: len(trial.delta_m_pct), default=None)


def _wanted(problem: SweepProblem, best: TrialResult | None) -> Iterable[SequenceSpec]:
    """The reference alone where no trial has begun."""
    if best is not None:
        return problem.sequences(best.params)
    label = problem.config.reference_label
    return [s for s in problem.sequences({}) if s.method == label]


def _named(
    sequences: Iterable[SequenceSpec], best: TrialResult | None, reference: str
) -> tuple[SequenceSpec, ...]:
    """The setting under its method's and its trial's name."""
    trial = f" {best.label}" if best else ""
    return tuple(
        s if s.method == reference else replace(s, method=f"{s.method}{trial}") for s in sequences
    )


def _different(problem: SweepProblem, trials: Sequence[TrialResult]) -> tuple[SequenceSpec, ...]:
    """Sequences of all trials that began, the reference's once."""
    found: dict[tuple[str, ...], SequenceSpec] = {}
    settings: list[Params] = [trial.params for trial in trials if trial.state != "waiting"]
    for params in settings:
        for sequence in problem.sequences(params):
            found.setdefault(tuple(stage.key for stage in sequence.stages), sequence)
    return tuple(found.values())


def _troubles(
    name: str, search: SearchConfig, trials: Sequence[TrialResult], part: SweepPart | None
) -> Iterator[str]:
    states = [trial.state for trial in trials]
    ended = sum(state in ("complete", "pruned", "failed") for state in states)
    if ended < search.trials:
        yield f"{ended} of {search.trials} settings are judged: had resume {name} goes on."
    if part is None or not part.result.best:
        yield "No setting is judged in every order yet, so there is no best one."
    pruned = states.count("pruned")
    if pruned:
        yield (
            f"{pruned} of the settings were pruned: they were judged on fewer orders and are not "
            "ranked."
        )
    failed = [trial for trial in trials if trial.state == "failed"]
    for trial in failed[:_MOST_FAILURES]:
        yield f"Trial {trial.label} failed: {trial.message or 'no reason was recorded'}"
    if len(failed) > _MOST_FAILURES:
        yield f"{len(failed) - _MOST_FAILURES} more trials failed: see had runs {name}."
