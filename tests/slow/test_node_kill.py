"""A node of the cluster dies in the middle of a stage: the run goes on and loses no epoch."""

from __future__ import annotations

import random

import pytest
from node_kill import ORDER, drive
from stages import attempts, execute, rows, tree_of, weights

from had_core.data import ShardDataset
from had_core.methods import NaiveConfig
from orchestrator.store import Store

EPOCHS, STEPS = 80, 5  # the news of an epoch takes a few others to arrive


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    from had_core.data.rooms import RoomsConfig, build

    path = tmp_path_factory.mktemp("data") / "rooms"
    build(path, RoomsConfig(seed=0, train=34, test=4, height=24, width=32))
    return ShardDataset.open(path)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """The tree, and its store after an uninterrupted run."""
    import torch

    torch.set_num_threads(1)
    tree = tree_of(dataset, methods=[NaiveConfig()], order=ORDER, epochs=EPOCHS, batch_size=2)
    store = Store.open(tmp_path_factory.mktemp("whole"))
    execute(tree, dataset, store)
    return tree, store


@pytest.mark.parametrize(("position", "epoch"), [(1, 3), (2, 9)])
def test_a_killed_node_costs_no_finished_epoch(position, epoch, whole, dataset, tmp_path):
    check(position, epoch, whole, dataset, tmp_path)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(20))
def test_a_node_killed_at_any_moment_costs_no_finished_epoch(seed, whole, dataset, tmp_path):
    moment = random.Random(seed)
    check(moment.randint(1, 2), moment.randint(1, EPOCHS // 2), whole, dataset, tmp_path)


def check(position, epoch, whole, dataset, tmp_path):
    tree, expected = whole
    told = drive(dataset.path, tmp_path / "store", EPOCHS, position, epoch)
    store = Store.open(tmp_path / "store")
    assert told["failed"] == []
    assert len(told["killed"]) == 1 and told["faults"] == told["killed"]
    assert weights(tree, store) == weights(tree, expected)
    assert rows(tree, store) == rows(tree, expected)
    for key, executions in attempts(tree, store).items():
        assert len(executions) == (2 if key in told["killed"] else 1)
        assert sum(execution["steps"] for execution in executions) == EPOCHS * STEPS
        assert store.partial(key).read() is None
