from __future__ import annotations

import copy
import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def composed_once():
    """Commands of this room repeat a few lists of settings; Hydra takes long over each of them."""
    from orchestrator.config import composing

    compose, known = composing.compose_raw, {}

    def compose_raw(overrides, *, search=None):
        asked = (*overrides, search, os.environ.get("HAD_STORE"))
        if asked not in known:
            known[asked] = compose(overrides, search=search)
        return copy.deepcopy(known[asked])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composing, "compose_raw", compose_raw)
        yield
