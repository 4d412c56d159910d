"""kill -9 of Ray's processes at random moments of a sweep, one of every kind: nothing changes."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from sweep_kills import (
    STAGES,
    check_mlflow,
    check_sweep,
    drive,
    kill_one,
    overrides,
    start,
    table_of,
)

from orchestrator.store import Store

SEEDS = 20
KINDS = ("RayTrainWorker", "_QueueActor", "TrialProcess")
ON_RAY = ("cluster=local", "cluster.lanes=2", "cluster.threads=1", "search.max_concurrent=2")


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """The uninterrupted sweep: its table, and how long a stage takes."""
    store = tmp_path_factory.mktemp("whole") / "store"
    driver = start(overrides(dataset, store, *ON_RAY))
    told = [(line.strip(), time.monotonic()) for line in driver.stdout]
    assert driver.wait(60) == 0
    first = next(at for word, at in told if word == "StageLeased")
    return table_of(store), (told[-1][1] - first) / STAGES


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_sweep_survives(seed, whole, dataset, tmp_path):
    table, stage_s = whole
    random_ = random.Random(seed)
    kinds = random_.sample(KINDS, len(KINDS))
    # Counted in stages, so that a busy machine does not turn one into a kill after the end.
    moments = sorted(random_.sample(range(1, STAGES), len(KINDS)))
    words = overrides(dataset, tmp_path / "store", *ON_RAY)
    driver, killed = start(words), []
    try:
        leases = (time.monotonic() for line in driver.stdout if line.strip() == "StageLeased")
        heard: list[float] = []
        for kind, moment in zip(kinds, moments, strict=True):
            heard.extend(itertools.islice(leases, max(0, moment - len(heard))))
            # A busier machine may have taken longer over the stages of ``whole``.
            here_s = (heard[-1] - heard[0]) / (len(heard) - 1) if len(heard) > 1 else stage_s
            time.sleep(random_.uniform(0.0, min(stage_s, here_s)))
            if kill_one(driver, f"ray::{kind}"):
                killed.append(kind)
        driver.communicate(timeout=600)
    finally:
        driver.kill()
    if driver.returncode:  # the sweep was interrupted: the same command again
        assert drive(words)
    else:  # the last kill may come too late for a sweep that was near its end
        assert len(killed) >= len(KINDS) - 1
    check_sweep(Store.open(tmp_path / "store"), table)
    check_mlflow(Store.open(tmp_path / "store"))
