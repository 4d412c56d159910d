from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def micro_dataset(tmp_path_factory):
    """40 + 8 rooms of 24x32 pixels."""
    from had_core.data import ShardDataset
    from had_core.data.rooms import RoomsConfig, build

    path = tmp_path_factory.mktemp("data") / "rooms"
    build(path, RoomsConfig(seed=0, train=40, test=8, height=24, width=32))
    return ShardDataset.open(path)
