"""Tune's scheduler: every trial goes on until the study's pruner gives it up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from orchestrator.search.process import heard_from
from orchestrator.search.searcher import StudySearch


class StudyScheduler(FIFOScheduler):
    """Hears results before Tune's searcher does, so that the pruner sees the newest value."""

    def __init__(self, search: StudySearch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._search = search

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes copies of its scheduler; nothing reads them."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        pruned = self._search.heard(trial.trial_id, heard_from(result))
        decision: str = TrialScheduler.STOP if pruned else TrialScheduler.CONTINUE
        return decision

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._search.faulted(trial.trial_id, _last_error(trial))
        # Tune would load the exception back from a pickle; the text beside it says the same.
        trial.run_metadata.pickled_error_filename = None

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Tune takes pending trials in turn by itself; FIFOScheduler looks at all, every step."""
        return None


def _last_error(trial: Trial) -> str:
    """The first line of the newest account in the trial's error file."""
    if trial.error_file is None or not Path(trial.error_file).exists():
        return "no reason was given"
    newest = Path(trial.error_file).read_text().rsplit("Failure # ", 1)[-1]
    lines = [line.strip() for line in newest.splitlines()[1:]]
    return next(filter(None, lines), "no reason was given")
