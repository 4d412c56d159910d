"""Drivers that share a store: every stage is trained once while all of them live."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest
from killing_fs import join_child, start_child
from stages import RUN, count_steps, execute, outcomes, rows, steps_in, tree_of, weights

from had_core.methods import NaiveConfig
from orchestrator.execution.driver import survey
from orchestrator.execution.messages import Status
from orchestrator.store import Store
from orchestrator.tracking.events import StageFinished
from orchestrator.tracking.journal import JournalReader

pytestmark = pytest.mark.integration


def start_driver(tree, dataset, root, run):
    """A process that executes the tree under its own run; its steps go to ``<run>.steps``."""

    def drive():
        count_steps(root / f"{run}.steps")
        ended = outcomes(execute(tree, dataset, Store.open(root), run))
        assert {outcome.status for outcome in ended.values()} == {Status.SEALED}

    return start_child(drive)


def finished_by(root, run):
    events = JournalReader.open(str(root), run).events()
    return [event.stage.key for event in events if isinstance(event, StageFinished)]


def test_living_drivers_train_every_stage_once(pair, finished, micro_dataset, tmp_path):
    runs = ["one", "two", "three"]
    drivers = [start_driver(pair, micro_dataset, tmp_path, run) for run in runs]
    assert [join_child(pid) for pid in drivers] == [0, 0, 0]
    store = Store.open(tmp_path)
    assert weights(pair, store) == weights(pair, finished)
    assert rows(pair, store) == rows(pair, finished)
    steps = Counter(step for run in runs for step in steps_in(tmp_path / f"{run}.steps"))
    assert steps and set(steps.values()) == {1}, "a step was taken twice"
    told = [key for run in runs for key in finished_by(tmp_path, run)]
    assert sorted(told) == sorted(node.key for node in pair)
    assert store.fs.names("claims") == []


@pytest.fixture
def long(micro_dataset):
    """One stage of many epochs."""
    return tree_of(micro_dataset, methods=[NaiveConfig()], order=("semantic",), epochs=12)


def test_a_dead_drivers_stage_goes_on_from_its_last_epoch(long, micro_dataset, tmp_path):
    store = Store.open(tmp_path)
    partial = store.partial(long.roots[0].key)
    pid = start_driver(long, micro_dataset, tmp_path, "dead")
    deadline = time.monotonic() + 60
    while partial.read() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    assert join_child(pid) == -signal.SIGKILL
    assert len(store.fs.names("claims")) == 1
    assert survey(long, store, RUN).open, "the driver was too fast for this test"
    assert join_child(start_driver(long, micro_dataset, tmp_path, "next")) == 0
    first = min(epoch for _, _, epoch, _ in steps_in(tmp_path / "next.steps"))
    assert first > 1
    assert store.fs.names("claims") == []


def test_without_claims_the_result_is_the_same(pair, finished, micro_dataset, tmp_path):
    """Nothing relies on a claim: as if every claim were stale at once."""

    def drive():
        from orchestrator.store import claims

        claims.STALE_S = 0.0
        execute(pair, micro_dataset, Store.open(tmp_path), f"run-{os.getpid()}")

    drivers = [start_child(drive) for _ in range(2)]
    assert [join_child(pid) for pid in drivers] == [0, 0]
    assert weights(pair, Store.open(tmp_path)) == weights(pair, finished)


def test_an_unwanted_stage_of_another_driver_is_not_waited_for(pair, micro_dataset, tmp_path):
    from stages import worker_on

    from orchestrator.execution.messages import Lease

    store = Store.open(tmp_path)
    root = survey(pair, store, RUN).works[0]
    with store.claims.take(root.key):
        outcome = worker_on(micro_dataset, store).run(
            Lease(root.key, "lane", 9), root, lambda progress: False
        )
    assert outcome.status is Status.CANCELLED
