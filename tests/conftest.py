"""Settings of every test: quiet, single-threaded, repeatable; the tier of each test."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import sys
from pathlib import Path

# Before torch, Ray or MLflow are imported by any test.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.pop("HAD_STORE", None)

import pytest
from hypothesis import settings

settings.register_profile("had", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("had")

# What needs libraries that take seconds to import goes to one process of the tests.
_TOGETHER = {
    "mlflow": (
        "tests/unit/tracking/",
        "tests/unit/app/book/test_reg",
        "tests/unit/app/book/test_sync",
        "tests/unit/app/book/test_run_ids",
        "tests/unit/app/test_json",
        "tests/unit/cli/test_doctor",
    ),
    "tune and plots": (
        "tests/unit/app/test_sweep",
        "tests/unit/search/",
        "tests/unit/report/",
        "tests/unit/app/book/test_report",
    ),
}
_SMALL = ("unit", "integration")
_MODULES = pytest.StashKey[int]()
_TIERS = ("integration", "ray", "slow", "chaos", "gpu")


def pytest_configure(config):
    # When it ends, Python looks through everything for garbage, several times: for seconds.
    config.add_cleanup(gc.freeze)
    if config.option.markexpr in _SMALL and "PYTEST_DEBUG_TEMPROOT" not in os.environ:
        _write_to_memory()


def _write_to_memory() -> None:
    """These tests write 12,000 files and need none of them on a disk."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage("/dev/shm").free > 4 * 2**30 and os.access("/dev/shm", os.W_OK):
            os.environ["PYTEST_DEBUG_TEMPROOT"] = "/dev/shm"


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What was imported and collected stays: nobody looks through it for garbage again and again,
    and a forked child does not copy it for having looked."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path, config):
    """``-m unit`` imports no test of Ray."""
    here = collection_path.parent == Path(__file__).parent
    if config.option.markexpr in _SMALL and here:
        return collection_path.name in _TIERS or None
    return None


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Nor through what a file's tests have imported."""
    if nextitem is not None and nextitem.path != item.path:
        known = item.config.stash.get(_MODULES, 0)
        if len(sys.modules) > known + 100:
            item.config.stash[_MODULES] = len(sys.modules)
            gc.collect()
            gc.freeze()


@pytest.hookimpl(tryfirst=True)  # before -m deselects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in ``tests/<tier>/``; a test of no other tier is a unit test."""
    for item in items:
        folder = item.path.relative_to(item.config.rootpath).parts[1]
        if folder in _TIERS:
            item.add_marker(folder)
        if not any(item.get_closest_marker(tier) for tier in _TIERS):
            item.add_marker("unit")


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """``--dist loadfile``, but what imports the same large library goes to one process."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            groups = (name for name, files in _TOGETHER.items() if file.startswith(files))
            return next(groups, file)

    return ByFile(config, log)


@pytest.fixture
def ctrl_c():
    """Press Ctrl-C; works where the shell started the tests in the background as well."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)
