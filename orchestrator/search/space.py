"""The space in Optuna's words, and a sampler that never asks for the same setting twice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from had_core.canonical import canonical_json
from orchestrator.search.settings import Choice, Dimension, FloatRange, Params, Value

_TRIES = 20  # draws before a finite space is searched for what is left
_FIXED = "fixed_params"  # where Optuna keeps the parameters of an enqueued trial


def distributions(space: Mapping[str, Dimension]) -> dict[str, BaseDistribution]:
    return {path: _distribution(dimension) for path, dimension in space.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if isinstance(dimension, FloatRange):
        return FloatDistribution(dimension.low, dimension.high, dimension.log, dimension.step)
    return IntDistribution(dimension.low, dimension.high, dimension.log, dimension.step or 1)


def points(space: Mapping[str, Dimension]) -> Iterator[dict[str, Value]]:
    """Every setting of a finite space; the last parameter varies fastest."""
    values = [dimension.points or () for dimension in space.values()]
    for point in itertools.product(*values):
        yield dict(zip(space, point, strict=True))


def identity(params: Params) -> str:
    """Equal for equal settings; 3 and 3.0 are one value."""
    return canonical_json(params)


def params_of(trial: FrozenTrial) -> dict[str, Value]:
    """What was suggested already, and what an enqueued trial is going to get."""
    return {**trial.system_attrs.get(_FIXED, {}), **trial.params}


class DistinctSampler(BaseSampler):
    """Another sampler's choices, drawn again where the study has that setting already.

    Args:
        space: what is searched. Where it is finite and draws find nothing new, the first setting
            that is left is taken.
    """

    def __init__(self, inner: BaseSampler, space: Mapping[str, Dimension]) -> None:
        self._inner, self._space = inner, space
        self._distributions = distributions(space)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All of it: the whole setting is chosen at once, so that it can be compared."""
        return {name: d for name, d in self._distributions.items() if not d.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        fixed = trial.system_attrs.get(_FIXED, {})
        if set(search_space) <= set(fixed):
            self._draw(study, trial, {})  # NSGA-II counts generations with it
            return {}
        taken = self._taken(study, trial)
        only = {path: d.values[0] for path, d in self._space.items() if _is_single(d)}
        drawn: dict[str, Any] = {}
        for _ in range(_TRIES):
            drawn = self._draw(study, trial, search_space)
            if identity({**drawn, **only, **fixed}) not in taken:
                return drawn
        if all(math.isfinite(dimension.size) for dimension in self._space.values()):
            for point in points(self._space):
                if identity({**point, **fixed}) not in taken:
                    return {name: point[name] for name in search_space}
        return drawn

    def _draw(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        space = self._inner.infer_relative_search_space(study, trial)
        drawn = self._inner.sample_relative(study, trial, space)
        return {
            name: drawn[name]
            if name in drawn
            else self._inner.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
        }

    def _taken(self, study: Study, trial: FrozenTrial) -> set[str]:
        trials = study.get_trials(deepcopy=False)
        return {identity(params_of(other)) for other in trials if other.number != trial.number}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self._inner.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._inner.after_trial(study, trial, state, values)


def _is_single(dimension: Dimension) -> TypeGuard[Choice]:
    """Only a list can hold one value."""
    return isinstance(dimension, Choice) and len(dimension.values) == 1
