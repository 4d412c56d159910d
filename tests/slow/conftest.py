from __future__ import annotations

import pytest
from browser import chromium  # noqa: F401  the fixture


@pytest.fixture(scope="session")
def micro_dataset(tmp_path_factory):
    """24 + 4 rooms of 32x48 pixels."""
    from had_core.data import ShardDataset
    from had_core.data.rooms import RoomsConfig, build

    path = tmp_path_factory.mktemp("data") / "rooms"
    build(path, RoomsConfig(seed=0, train=24, test=4, height=32, width=48))
    return ShardDataset.open(path)
