from __future__ import annotations

import copy
import os

import pytest


@pytest.fixture(scope="session")
def compositions():
    return {}


@pytest.fixture(autouse=True, scope="module")  # no longer: other rooms compose trees of their own
def composed_once(compositions):
    """Commands of this room repeat a few lists of settings; Hydra takes long over each of them."""
    from orchestrator.config import composing

    compose = composing.compose_raw

    def compose_raw(overrides, *, search=None):
        asked = (*overrides, search, os.environ.get("HAD_STORE"))
        if asked not in compositions:
            compositions[asked] = compose(overrides, search=search)
        return copy.deepcopy(compositions[asked])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composing, "compose_raw", compose_raw)
        yield
