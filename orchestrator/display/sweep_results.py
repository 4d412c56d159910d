"""What a finished ``had sweep`` has to show (keys in docs/json.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from had_core.canonical import to_plain


@dataclass(frozen=True)
class TrialResult:
    """One setting that was judged.

    Attributes:
        number, label: of the study's trial; sequences and stages in MLflow carry the label.
        state: complete, pruned, failed or waiting (it was interrupted and comes again).
        params: dotted path of a setting -> its value.
        values: of every objective; empty unless it is complete.
        delta_m_pct: Delta_m of each order in the sequence of ``SweepResult.orders``, as far as the
            trial got.
        forgetting: the same of forgetting.
        message: why it failed.
    """

    number: int
    label: str
    state: str
    params: Mapping[str, str | bool | int | float]
    values: tuple[float, ...] = ()
    delta_m_pct: tuple[float, ...] = ()
    forgetting: tuple[float, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class SweepResult:
    """A finished (or stopped) sweep, scored on the validation part.

    Attributes:
        objectives: name -> ``maximize`` or ``minimize``, as ``values`` of the trials.
        orders: in the sequence in which every trial was judged on them.
        trials: every one that counts, by number.
        trials_wanted: settings that the sweep was asked to judge.
        best: labels of the best trial, or of those that no other beats in both objectives.
        stages_wanted: that the sequences of all trials ask for, a shared one every time.
        stages_unique: different ones among them.
        stages_trained: by this command.
        study: URL of the Optuna storage, without a password.
        results: the table of every trial x order x stage x metric.
        again: overrides of ``had run`` with the best trial's settings; empty without one.
        seconds: wall time of the command.
    """

    name: str
    recipe: str
    objectives: Mapping[str, str]
    orders: tuple[tuple[str, ...], ...]
    trials: tuple[TrialResult, ...]
    trials_wanted: int
    best: tuple[str, ...]
    stages_wanted: int
    stages_unique: int
    stages_trained: int
    store: str
    study: str
    results: str | None = None
    tracking_uri: str | None = None
    again: tuple[str, ...] = ()
    seconds: float = 0.0

    def trial(self, label: str) -> TrialResult:
        return next(trial for trial in self.trials if trial.label == label)

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain
