"""Peak of a process's anonymous memory (heap and stacks; mapped files do not count). Linux only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

SAMPLE_SECONDS = 0.002


def supported() -> bool:
    return sys.platform.startswith("linux")


def anonymous_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no RssAnon")


def peak_mib(work: Callable[[], object]) -> float:
    """Highest anonymous memory while ``work`` runs, in MiB."""
    peak, done = anonymous_mib(), threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(SAMPLE_SECONDS):
            peak = max(peak, anonymous_mib())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        work()
    finally:
        done.set()
        sampler.join()
    return peak
