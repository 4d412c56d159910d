from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.config import RunConfig, compose


@pytest.fixture(scope="session")
def plain_config() -> Callable[..., RunConfig]:
    """A run of two tasks with fields replaced; composed once, because that is slow."""
    base = compose(["tasks=[semantic,depth]"])
    return lambda **changes: replace(base, **changes)
