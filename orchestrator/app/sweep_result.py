"""From a sweep's study to what it has to show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.app.sweep_journal import objectives
from orchestrator.app.sweep_problem import SweepProblem
from orchestrator.config import RunConfig
from orchestrator.display.sweep_results import SweepResult, TrialResult
from orchestrator.search.settings import Params, SearchConfig

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from orchestrator.store import Store


def trial_results(study: Study) -> tuple[TrialResult, ...]:
    """Every trial that counts, by number; interrupted attempts come again under another one."""
    from orchestrator.search.study import counting

    return tuple(_trial(trial) for trial in counting(study, waiting=True))


def _trial(trial: FrozenTrial) -> TrialResult:
    from orchestrator.search.events import label_of
    from orchestrator.search.space import params_of
    from orchestrator.search.study import MESSAGE, SCORES

    scores = trial.user_attrs.get(SCORES, [])
    return TrialResult(
        number=trial.number,
        label=label_of(trial.number),
        state=_STATES[trial.state.name],
        params=params_of(trial),
        values=tuple(trial.values) if trial.state.name == "COMPLETE" else (),
        delta_m_pct=tuple(score[0] for score in scores),
        forgetting=tuple(score[1] for score in scores),
        message=trial.user_attrs.get(MESSAGE, ""),
    )


_STATES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "WAITING": "waiting",
    "RUNNING": "running",
}


def result_of(
    problem: SweepProblem,
    search: SearchConfig,
    study: Study,
    store: Store,
    *,
    study_url: str,
    **of_this_command: Any,
) -> SweepResult:
    """What the sweep found so far."""
    from orchestrator.search.study import best

    config = problem.config
    trials = trial_results(study)
    winners = best(study)
    wanted, unique = _sharing(problem, trials)
    return SweepResult(
        name=config.name,
        recipe=config.recipe,
        objectives={name: way.value for name, way in objectives(search.objective).items()},
        orders=problem.orders,
        trials=trials,
        trials_wanted=search.trials,
        best=tuple(winner.label for winner in winners),
        stages_wanted=wanted,
        stages_unique=unique,
        store=store.uri,
        study=re.sub(r"(://[^:/@]*:)[^/]*@", r"\1***@", study_url),
        again=overrides_of(config, winners[0].params) if winners else (),
        **of_this_command,
    )


def _sharing(problem: SweepProblem, trials: tuple[TrialResult, ...]) -> tuple[int, int]:
    """Stages that all different sequences ask for, and how many of them differ."""
    sequences = {
        tuple(stage.key for stage in sequence.stages)
        for trial in trials
        if trial.state != "waiting"
        for sequence in problem.sequences(trial.params)
    }
    return sum(map(len, sequences)), len(set().union(*sequences))


def overrides_of(config: RunConfig, params: Params) -> tuple[str, ...]:
    """The settings of a trial as one types them: ``method.lambda=3.2``."""
    from orchestrator.config import with_params

    before, after = config.to_json(), with_params(config, params).to_json()
    changed = {_settable(before, path): None for path in params}
    return tuple(f"{path}={_text(_at(after, path))}" for path in changed)


def _settable(raw: Mapping[str, Any], path: str) -> str:
    """The path, or the part of it that names one value now (a weight a task replaces one)."""
    names = path.split(".")
    for count in range(1, len(names)):
        if not isinstance(_at(raw, ".".join(names[:count])), dict):
            return ".".join(names[:count])
    return path


def _at(raw: Mapping[str, Any], path: str) -> Any:
    value: Any = raw
    for name in path.split("."):
        value = value[name]
    return value


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_text(inner)}" for name, inner in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)
