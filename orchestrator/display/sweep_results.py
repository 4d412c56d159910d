"""What a finished sweep has to show: frozen values with a JSON form (keys in docs/json.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from had_core.canonical import to_plain
from orchestrator.display.summary import Spread
from orchestrator.search.settings import Params

_TITLES = {
    "mean_delta_m_pct": "mean Δm",
    "worst_delta_m_pct": "worst Δm",
    "cvar_delta_m_pct": "CVaR of Δm",
    "delta_m_pct": "mean Δm",
}


@dataclass(frozen=True)
class TrialResult:
    """One setting that was judged.

    Attributes:
        number, label: of the study's trial; sequences and stages in MLflow carry the label.
        state: complete, pruned, failed or waiting (it was interrupted and comes again).
        params: dotted path of a setting -> its value.
        values: of every objective; empty unless it is complete.
        delta_m_pct: Delta_m of each order in the sequence of ``SweepResult.orders``, the mean over
            seeds, as far as the trial got.
        forgetting: the same of forgetting.
        message: why it failed.
    """

    number: int
    label: str
    state: str
    params: Params
    values: tuple[float, ...] = ()
    delta_m_pct: tuple[float, ...] = ()
    forgetting: tuple[float, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class OrderResult:
    """The best trial in one order, over the seeds, and what the reference forgot there."""

    order: tuple[str, ...]
    delta_m_pct: Spread | None
    forgetting: Spread | None
    reference_forgetting: Spread | None = None


@dataclass(frozen=True)
class SweepResult:
    """A finished (or stopped) sweep, scored on the validation part.

    Attributes:
        method: label of the method that is searched; reference: what Delta_m refers to.
        objectives: name -> ``maximize`` or ``minimize``, as ``values`` of the trials.
        orders: in the sequence in which every trial was judged on them.
        trials: every one that counts, by number.
        trials_wanted: settings that the sweep was asked to judge.
        best: labels of the best trial, or of those that no other beats in both objectives.
        best_orders: the first of ``best`` in each of ``orders``; empty where none is complete.
        stages_wanted: that the sequences of all trials ask for, a shared one every time.
        stages_unique: different ones among them.
        stages_trained: by this command; stages_reused: others that the store holds.
        seconds_per_stage: mean time that training one took, whoever did; None while unknown.
        study: URL of the Optuna storage, without a password.
        results: the table of every trial x order x stage x metric.
        again: overrides of ``had run`` with the best trial's settings; empty without one.
        seconds: wall time of the command.
    """

    name: str
    recipe: str
    method: str
    reference: str
    objectives: Mapping[str, str]
    orders: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]
    trials: tuple[TrialResult, ...]
    trials_wanted: int
    best: tuple[str, ...]
    stages_wanted: int
    stages_unique: int
    stages_trained: int
    store: str
    study: str
    best_orders: tuple[OrderResult, ...] = ()
    stages_reused: int = 0
    seconds_per_stage: float | None = None
    results: str | None = None
    tracking_uri: str | None = None
    again: tuple[str, ...] = ()
    seconds: float = 0.0

    def trial(self, label: str) -> TrialResult:
        return next(trial for trial in self.trials if trial.label == label)

    @property
    def title(self) -> str:
        """What people read for the first value of a trial."""
        name = next(iter(self.objectives))
        return _TITLES.get(name, name)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many trials are in which state."""
        return Counter(trial.state for trial in self.trials)

    @property
    def delta_m_pct(self) -> Spread | None:
        """Of the first of ``best`` over its orders, each the mean over seeds."""
        return Spread.of(self.trial(self.best[0]).delta_m_pct) if self.best else None

    @property
    def stages_shared(self) -> int:
        """What sharing saved: stages that another sequence or trial has too."""
        return self.stages_wanted - self.stages_unique

    def to_json(self) -> dict[str, Any]:
        return {
            **to_plain(self),
            "delta_m_pct": to_plain(self.delta_m_pct),
            "stages_shared": self.stages_shared,
        }
