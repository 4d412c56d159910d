"""From a sweep's study to what it has to show."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.app.sweep_journal import objectives
from orchestrator.app.sweep_problem import SweepProblem
from orchestrator.config import RunConfig
from orchestrator.display.summary import Spread
from orchestrator.display.sweep_results import OrderResult, SweepResult, TrialResult
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.search.settings import Params, SearchConfig

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from orchestrator.store import Store


_MOST_MANIFESTS = 200


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
    stages_trained: int,
    **of_this_command: Any,
) -> SweepResult:
    """What the sweep found so far."""
    from orchestrator.search.study import best

    config = problem.config
    trials = trial_results(study)
    winners = best(study)
    wanted, unique = _sharing(problem, trials)
    sealed = [key for key in sorted(unique) if store.is_sealed(ArtifactKind.FIT, key)]
    labels = [label for label, method in config.methods if method == config.method]
    return SweepResult(
        name=config.name,
        recipe=config.recipe,
        method=labels[-1],
        reference=config.reference_label or "",
        objectives={name: way.value for name, way in objectives(search.objective).items()},
        orders=problem.orders,
        seeds=config.seeds,
        trials=trials,
        trials_wanted=search.trials,
        best=tuple(winner.label for winner in winners),
        best_orders=_orders(problem, winners[0].params) if winners else (),
        stages_wanted=wanted,
        stages_unique=len(unique),
        stages_trained=stages_trained,
        stages_reused=max(0, len(sealed) - stages_trained),
        seconds_per_stage=_mean_seconds(store, sealed),
        store=store.uri,
        study=re.sub(r"(://[^:/@]*:)[^/]*@", r"\1***@", study_url),
        again=overrides_of(config, winners[0].params) if winners else (),
        **of_this_command,
    )


def _orders(problem: SweepProblem, params: Params) -> tuple[OrderResult, ...]:
    """One setting in every order, over the seeds."""
    reference = problem.config.reference_label
    every = problem.results(params)
    results = [r for r in every if r.method != reference]
    references = [r for r in every if r.method == reference]
    return tuple(
        OrderResult(
            order,
            Spread.of(r.delta_m_pct for r in results if r.order == order),
            Spread.of(r.forgetting for r in results if r.order == order),
            Spread.of(r.forgetting for r in references if r.order == order),
        )
        for order in problem.orders
    )


def _mean_seconds(store: Store, keys: Sequence[str]) -> float | None:
    """What training one of these stages took, from the manifests of a few hundred of them."""
    chosen = keys[:: 1 + len(keys) // _MOST_MANIFESTS]
    manifests = (store.manifest(ArtifactKind.FIT, key) for key in chosen)
    spread = Spread.of(float(manifest["seconds"]) for manifest in manifests if manifest)
    return spread.mean if spread else None


def _sharing(problem: SweepProblem, trials: tuple[TrialResult, ...]) -> tuple[int, frozenset[str]]:
    """How many stages all different sequences ask for, and the different ones among them."""
    sequences = {
        tuple(stage.key for stage in sequence.stages)
        for trial in trials
        if trial.state != "waiting"
        for sequence in problem.sequences(trial.params)
    }
    return sum(map(len, sequences)), frozenset().union(*sequences)


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
