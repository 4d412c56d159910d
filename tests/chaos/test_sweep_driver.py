"""kill -9 of a sweep's driver at random moments, again and again, then one that ends."""

from __future__ import annotations

import time

import pytest
from sweep_kills import (
    check_mlflow,
    check_sweep,
    drive,
    drive_through_kills,
    overrides,
    table_of,
)

from orchestrator.store import Store

SEEDS = 20


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory):
    """The uninterrupted sweep: its table, and how long it takes once it has begun."""
    store = tmp_path_factory.mktemp("whole") / "store"
    started = time.monotonic()
    assert drive(overrides(dataset, store))
    seconds = time.monotonic() - started
    table = table_of(store)
    check_sweep(Store.open(store), table)
    check_mlflow(Store.open(store))
    return table, seconds


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_sweep_whose_driver_is_killed_ends_as_if_it_had_not(seed, whole, dataset, tmp_path):
    table, seconds = whole
    words = overrides(dataset, tmp_path / "store")
    drive_through_kills(words, seed, kills=3, within_s=seconds)
    store = Store.open(tmp_path / "store")
    check_sweep(store, table)
    check_mlflow(store)
