"""A sweep on Ray Train and Ray Tune whose processes are killed ends with the same table."""

from __future__ import annotations

import signal
from collections import Counter

import pytest
from sweep_kills import check_mlflow, check_sweep, drive, kill_one, overrides, start, table_of

from orchestrator.store import Store

ON_RAY = ("cluster=local", "cluster.lanes=2", "cluster.threads=1", "search.max_concurrent=2")


@pytest.fixture(scope="module")
def table(micro_dataset, tmp_path_factory):
    """The same sweep without Ray and without accidents, in the same numerics class."""
    store = tmp_path_factory.mktemp("whole") / "store"
    assert drive(overrides(micro_dataset.path, store, "tracking=off"))
    return table_of(store)


def test_workers_engine_and_trials_are_killed_and_the_table_is_the_same(
    table, micro_dataset, tmp_path
):
    driver = start(overrides(micro_dataset.path, tmp_path / "store", *ON_RAY))
    plan = {"StageLeased": (2, "ray::RayTrainWorker"), "Outcome": (3, "ray::_QueueActor")}
    seen: Counter[str] = Counter()
    killed = []
    try:
        for line in driver.stdout:
            word = line.strip()
            seen[word] += 1
            count, name = plan.get(word, (0, ""))
            if seen[word] == count:
                assert kill_one(driver, name)
                killed.append(name)
            if word == "TrialScored" and seen[word] == 1:
                assert kill_one(driver, "ray::TrialProcess")
                killed.append("ray::TrialProcess")
        assert driver.wait(60) == 0
    finally:
        driver.kill()
    assert len(killed) == 3
    check_sweep(Store.open(tmp_path / "store"), table)
    check_mlflow(Store.open(tmp_path / "store"))


def test_a_killed_driver_and_the_same_command_again(table, micro_dataset, tmp_path):
    words = overrides(micro_dataset.path, tmp_path / "store", *ON_RAY)
    driver = start(words)
    ended = 0
    for line in driver.stdout:
        ended += line.strip() == "Outcome"
        if ended == 4:
            driver.kill()
            break
    assert driver.wait(60) == -signal.SIGKILL
    assert drive(words)
    check_sweep(Store.open(tmp_path / "store"), table)
    check_mlflow(Store.open(tmp_path / "store"))
