"""kill -9 of one of Ray's processes at a random moment of a sweep: nothing changes."""

from __future__ import annotations

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
@pytest.mark.parametrize("name", ["RayTrainWorker", "_QueueActor", "TrialProcess"])
def test_a_sweep_survives(name, seed, whole, dataset, tmp_path):
    table, stage_s = whole
    moment = random.Random(f"{name} {seed}")
    words = overrides(dataset, tmp_path / "store", *ON_RAY)
    driver = start(words)
    try:
        # Counted in stages, so that a busy machine does not turn it into a kill after the end.
        leased = moment.randint(1, STAGES - 1)
        for line in driver.stdout:
            leased -= line.strip() == "StageLeased"
            if not leased:
                break
        time.sleep(moment.uniform(0.0, stage_s))
        kill_one(driver, f"ray::{name}")
        driver.communicate(timeout=600)
    finally:
        driver.kill()
    if driver.returncode:  # the sweep was interrupted: the same command again
        assert drive(words)
    check_sweep(Store.open(tmp_path / "store"), table)
    check_mlflow(Store.open(tmp_path / "store"))
