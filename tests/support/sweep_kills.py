"""A small sweep in processes that are killed, and what must hold once it has ended."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from processes import descendants, wait_until

from orchestrator.store import Store
from orchestrator.tracking.events import (
    RunFinished,
    StageFinished,
    StageStarted,
    TrialFinished,
    TrialState,
)
from orchestrator.tracking.journal import JournalReader

NAME = "killed"
WEIGHTS = (0.5, 4.0)
STAGES = 2 + 2 + 2 * len(WEIGHTS)

DRIVER = """
import io, os, signal, sys, threading
from rich.console import Console
from orchestrator.app.sweep import sweep
from orchestrator.config import compose
from orchestrator.display.sweep_live import SilentSweepDisplay

after_s = float(sys.argv[1])

class Deadly(SilentSweepDisplay):
    def begin_sweep(self, start):
        print("begun", flush=True)
        if after_s >= 0:
            timer = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()

    def event(self, event):
        print(type(event).__name__, flush=True)

    trial = event

sweep(compose(sys.argv[2:]), Deadly(Console(file=io.StringIO())))
"""


def overrides(dataset: Path, store: Path, *more: str) -> list[str]:
    """A sweep over both orders of two tasks, eight stages, in one process."""
    weights = ",".join(map(str, WEIGHTS))
    return [
        f"dataset.path={dataset}",
        f"store.root={store}",
        f"name={NAME}",
        "tasks=[semantic,depth]",
        "orders=all",
        "search=grid",
        f"search.space.method.lambda=[{weights}]",
        "cluster=inline",
        "cluster.threads=1",
        "net.decoder_channels=8",
        "net.aspp_rates=[1,2,3]",
        "train.epochs=3",
        "train.batch_size=4",
        *more,
    ]


def start(words: Sequence[str], kill_after_s: float = -1.0) -> subprocess.Popen[str]:
    """A driver in a process of its own; it prints the name of every event it hears."""
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(kill_after_s), *words],
        cwd=Path(words[1].partition("=")[2]).parent,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def drive(words: Sequence[str], kill_after_s: float = -1.0) -> bool:
    """One driver; whether it came to its end."""
    driver = start(words, kill_after_s)
    driver.communicate()
    assert driver.returncode in (0, -signal.SIGKILL), "the driver failed by itself"
    return driver.returncode == 0


def kill_one(driver: subprocess.Popen[str], name: str) -> bool:
    """kill -9 of one process of that name below the driver, once there is one; False where the
    driver came to its end first."""
    found: list[int] = []

    def look() -> bool:
        found.extend(p for p, c in descendants(driver.pid).items() if c.startswith(name))
        return bool(found) or driver.poll() is not None

    assert wait_until(look, 60, every=0.2), f"no {name} to kill"
    if found:
        os.kill(found[0], signal.SIGKILL)
    return bool(found)


def table_of(store: Path) -> dict[float, tuple[float, ...]]:
    """Values by weight, as the study holds them."""
    import optuna

    study = optuna.load_study(study_name=NAME, storage=f"sqlite:///{store}/sweeps/{NAME}/study.db")
    trials = [trial for trial in study.get_trials() if trial.state.name == "COMPLETE"]
    return {trial.params["method.lambda"]: tuple(trial.values) for trial in trials}


def drive_through_kills(words: Sequence[str], seed: int, kills: int, within_s: float) -> int:
    """Kill drivers at random moments, then let one come to its end; how many were killed."""
    random_s = random.Random(seed)
    killed = sum(not drive(words, random_s.uniform(0.0, within_s)) for _ in range(kills))
    assert drive(words)
    return killed


def check_sweep(store: Store, expected: dict[float, tuple[float, ...]]) -> None:
    """What must hold after any number of kills: same table, nothing twice, nothing RUNNING."""
    check_study(store, expected)
    events = JournalReader.open(store.uri, NAME).events()
    sealed_at: dict[str, float] = {}
    for event in events:
        if isinstance(event, StageFinished):
            sealed_at.setdefault(event.stage.key, event.time)
    assert len(sealed_at) == STAGES
    late = [
        event.stage.key
        for event in events
        if isinstance(event, StageStarted) and event.time > sealed_at[event.stage.key]
    ]
    assert not late, "a sealed stage was trained again"
    complete = Counter(
        event.trial
        for event in events
        if isinstance(event, TrialFinished) and event.state is TrialState.COMPLETE
    )
    assert len(complete) == len(WEIGHTS) and set(complete.values()) == {1}
    assert isinstance(events[-1], RunFinished)


def check_study(store: Store, expected: dict[float, tuple[float, ...]]) -> None:
    import optuna

    url = f"sqlite:///{store.uri}/sweeps/{NAME}/study.db"
    study = optuna.load_study(study_name=NAME, storage=url)
    states = Counter(trial.state.name for trial in study.get_trials())
    assert set(states) <= {"COMPLETE", "FAIL"}, states
    assert states["COMPLETE"] == len(WEIGHTS)
    assert table_of(Path(store.uri)) == expected


def check_mlflow(store: Store) -> None:
    """No run is there twice, none is RUNNING, the tree is nested."""
    from mlflow.tracking.client import MlflowClient

    client = MlflowClient(f"sqlite:///{store.uri}/mlflow/mlflow.db")
    runs: list[Any] = []
    for experiment in client.search_experiments():
        runs += client.search_runs([experiment.experiment_id], max_results=1000)
    uids = Counter(run.data.tags["had.uid"] for run in runs)
    assert runs and max(uids.values()) == 1
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}
    kinds = Counter(run.data.tags["had.kind"] for run in runs)
    assert kinds["sweep"] == 1 and kinds["trial"] >= len(WEIGHTS)
    by_id = {run.info.run_id: run for run in runs}
    above = {"trial": "sweep", "sequence": "trial", "stage": "sequence"}
    for run in runs:
        kind = run.data.tags["had.kind"]
        if kind in above:
            parent = by_id[run.data.tags["mlflow.parentRunId"]]
            assert parent.data.tags["had.kind"] == above[kind]
