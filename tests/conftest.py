"""Settings of every test: quiet, single-threaded, repeatable; the tier of each test."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Before torch, Ray or MLflow are imported by any test.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.pop("HAD_STORE", None)

import pytest
from hypothesis import settings

pytest_plugins = ["quick_tests"]

settings.register_profile("had", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("had")

_SMALL = ("unit", "integration")
_TIERS = ("integration", "ray", "slow", "chaos", "gpu")


def pytest_ignore_collect(collection_path, config):
    """``-m unit`` imports no test of Ray."""
    here = collection_path.parent == Path(__file__).parent
    if config.option.markexpr in _SMALL and here:
        return collection_path.name in _TIERS or None
    return None


@pytest.hookimpl(tryfirst=True)  # before -m deselects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in ``tests/<tier>/``; a test of no other tier is a unit test."""
    for item in items:
        folder = item.path.relative_to(item.config.rootpath).parts[1]
        if folder in _TIERS:
            item.add_marker(folder)
        if not any(item.get_closest_marker(tier) for tier in _TIERS):
            item.add_marker("unit")


@pytest.fixture
def ctrl_c():
    """Press Ctrl-C; works where the shell started the tests in the background as well."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)
