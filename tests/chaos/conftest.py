from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    from had_core.data.rooms import RoomsConfig, build

    path = tmp_path_factory.mktemp("data") / "rooms"
    build(path, RoomsConfig(seed=0, train=40, test=8, height=24, width=32))
    return path
