"""What decides whether a trial is among the best: Optuna's measure, as numbers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_log = logging.getLogger(__name__)
LEAST = 4  # complete trials; below, the measure means nothing


def importances(study: Study, objective: int = 0) -> Mapping[str, float]:
    """Parameter -> its share, the largest first; empty where the study tells too little.

    Args:
        objective: number of the study's value.
    """
    import optuna
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < LEAST:
        return {}
    target = loss_of(study, objective) if len(study.directions) > 1 else None
    quiet_optuna()
    try:
        found = optuna.importance.get_param_importances(study, target=target)
    except Exception as error:  # whatever Optuna says of an unusual study
        _log.warning("importance in sweep '%s' is left out: %s", study.study_name, error)
        return {}
    return {name: float(share) for name, share in found.items()}


def quiet_optuna() -> None:
    """Optuna's warnings of small studies are not shown from here on: the reader is told.

    For the whole process and for good: ``catch_warnings`` swaps the filters of all threads, and
    plots are drawn in one of its own. From Python 3.12 on a warning is of whoever called Optuna.
    """
    warnings.filterwarnings("ignore", module=r"(optuna|orchestrator\.search)\b")


def loss_of(study: Study, objective: int) -> Callable[[FrozenTrial], float]:
    """A value turned so that low is good, which is what Optuna's measure wants of a target."""
    from optuna.study import StudyDirection

    sign = -1.0 if study.directions[objective] is StudyDirection.MAXIMIZE else 1.0
    return lambda trial: sign * float(trial.values[objective])
