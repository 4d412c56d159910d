"""What the machine of a worker does meanwhile: sampled by a thread, averaged over every epoch.

Names and units are those of MLflow's own system metrics, without their prefix. Read from /proc,
so it costs no dependency and microseconds; where there is none, nothing is told. The sampler looks
and keeps a few sums: no result depends on it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

Reading = Mapping[str, float]
_MB = 1e6  # as MLflow counts


class MachineSampler:
    """Means over time since the last look, from samples that are ``every`` seconds apart.

    Args:
        every: 0 switches it off.
        readers: each gives some of the numbers.
    """

    def __init__(
        self,
        every: float,
        readers: tuple[Callable[[], Reading], ...] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._every, self._clock, self._last = every, clock, clock()
        self._readers = (Processors(), memory, graphics) if readers is None else readers
        self._lock = threading.Lock()
        self._sums: dict[str, tuple[float, float]] = {}  # value x seconds, seconds

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sample inside the block."""
        if self._every <= 0:
            yield
            return
        self.take()  # processor time counts from here
        stop = threading.Event()
        thread = threading.Thread(target=self._loop, args=(stop,), name="had-machine", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def take(self) -> dict[str, float]:
        """The means since the last call, of one sample at least; empty where it is off."""
        if self._every <= 0:
            return {}
        self._sample()
        with self._lock:
            sums, self._sums = self._sums, {}
        return {name: total / seconds for name, (total, seconds) in sums.items()}

    def _loop(self, stop: threading.Event) -> None:
        while not stop.wait(self._every):
            self._sample()

    def _sample(self) -> None:
        with self._lock:
            now = self._clock()
            passed, self._last = max(now - self._last, 1e-6), now
            for read in self._readers:
                for name, value in read().items():
                    total, seconds = self._sums.get(name, (0.0, 0.0))
                    self._sums[name] = (total + value * passed, seconds + passed)


class Processors:
    """Share of all processors' time that was used since the last call, as in /proc/stat."""

    def __init__(self, file: Path = Path("/proc/stat")) -> None:
        self._file = file
        self._last = (0, 0)  # idle and all ticks

    def __call__(self) -> Reading:
        try:
            ticks = [int(word) for word in self._file.read_text().split("\n", 1)[0].split()[1:9]]
        except (OSError, ValueError):
            return {}
        (idle, every), self._last = self._last, (ticks[3] + ticks[4], sum(ticks))
        passed = self._last[1] - every
        if passed <= 0:  # two looks within one tick
            return {}
        return {"cpu_utilization_percentage": 100 * (1 - (self._last[0] - idle) / passed)}


def memory(proc: Path = Path("/proc")) -> Reading:
    """Memory in use on the machine, and by this process."""
    try:
        lines = (line.split() for line in (proc / "meminfo").read_text().splitlines())
        kib = {words[0]: int(words[1]) for words in lines if len(words) > 1}
        pages = int((proc / "self/statm").read_text().split()[1])
        total, free = 1024 * kib["MemTotal:"], 1024 * kib["MemAvailable:"]
    except (OSError, ValueError, KeyError):
        return {}
    return {
        "system_memory_usage_megabytes": (total - free) / _MB,
        "system_memory_usage_percentage": 100 * (1 - free / total),
        "process_memory_usage_megabytes": pages * os.sysconf("SC_PAGE_SIZE") / _MB,
    }


def graphics() -> Reading:
    """The GPU that this worker computes on, where it does; its load needs ``nvidia-ml-py``."""
    import torch

    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return {}
    device = torch.cuda.current_device()
    free, total = torch.cuda.mem_get_info(device)
    found = {
        "memory_usage_megabytes": (total - free) / _MB,
        "memory_usage_percentage": 100 * (1 - free / total),
    }
    with suppress(Exception):  # the management library is absent, or may not be asked
        found["utilization_percentage"] = float(torch.cuda.utilization(device))
    return {f"gpu_{device}_{name}": value for name, value in found.items()}
