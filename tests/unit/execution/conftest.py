from __future__ import annotations

import pytest
from stages import execute, tree_of

from orchestrator.store import Store


@pytest.fixture(autouse=True)
def one_thread_and_no_waiting_for_the_disk(monkeypatch):
    import torch

    monkeypatch.setattr("os.fsync", lambda handle: None)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch):
    """A driver that hears nothing looks at its lanes more often than every half a second."""
    monkeypatch.setattr("orchestrator.execution.watch._POLL_S", 0.02)


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store")


@pytest.fixture(scope="session")
def pair(micro_dataset):
    """Two tasks with naive and HAD: the tree a - (naive b | had b), and a store that holds it."""
    return tree_of(micro_dataset, order=("semantic", "depth"))


@pytest.fixture(scope="session")
def finished(pair, micro_dataset, tmp_path_factory):
    """The store after an uninterrupted run over ``pair``; look, do not touch."""
    store = Store.open(tmp_path_factory.mktemp("finished"))
    execute(pair, micro_dataset, store)
    return store
