"""A pytest plugin for speed alone: without it every test does the same, and takes longer."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sys

import pytest

_SMALL = ("unit", "integration")
_MODULES = pytest.StashKey[int]()

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


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Nor through what a file's tests have imported."""
    if nextitem is not None and nextitem.path != item.path:
        known = item.config.stash.get(_MODULES, 0)
        if len(sys.modules) > known + 100:
            item.config.stash[_MODULES] = len(sys.modules)
            gc.collect()
            gc.freeze()


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
