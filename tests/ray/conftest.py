"""One private local cluster of 2 CPUs for all Ray tests, and a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import chromium  # noqa: F401  the fixture

SUPPORT = Path(__file__).resolve().parents[1] / "support"


@pytest.fixture(scope="session")
def session_cluster() -> Iterator[object]:
    from orchestrator.execution.cluster import ClusterSettings, connect

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SUPPORT), before]))
    try:
        with connect(ClusterSettings(cpus=2, workers=2, threads=1)) as cluster:
            yield cluster
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


@pytest.fixture
def cluster_of(session_cluster):
    """The cluster with other settings of lanes and workers."""
    return lambda **changes: replace(
        session_cluster, settings=replace(session_cluster.settings, **changes)
    )


@pytest.fixture(scope="session")
def micro_dataset(tmp_path_factory):
    """24 + 4 rooms of 32x48 pixels."""
    from had_core.data import ShardDataset
    from had_core.data.rooms import RoomsConfig, build

    path = tmp_path_factory.mktemp("data") / "rooms"
    build(path, RoomsConfig(seed=0, train=24, test=4, height=32, width=48))
    return ShardDataset.open(path)
