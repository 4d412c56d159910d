"""The load of the machine: read from /proc, averaged over an epoch, told with it."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from orchestrator.execution.machine import MachineSampler, Processors, memory


def test_processors_count_since_the_last_look(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 100 700 100 0 0 0 9 9\ncpu0 1 2 3\n")
    read = Processors(stat)
    assert read() == {"cpu_utilization_percentage": pytest.approx(20.0)}  # since it started
    assert read() == {}
    stat.write_text("cpu  130 0 130 730 110 0 0 0 9 9\n")
    assert read() == {"cpu_utilization_percentage": pytest.approx(60.0)}
    stat.unlink()
    assert read() == {}


def test_memory_of_machine_and_process(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "meminfo").write_text(
        "MemTotal: 2000000 kB\nMemAvailable: 500000 kB\nHugePages: 0\n"
    )
    (tmp_path / "self" / "statm").write_text("500 250 1 1 1 1 1")
    found = memory(tmp_path)
    assert found["system_memory_usage_percentage"] == pytest.approx(75.0)
    assert found["system_memory_usage_megabytes"] == 1536.0
    assert found["process_memory_usage_megabytes"] > 0
    assert memory(tmp_path / "nowhere") == {}
    mine = memory()
    assert 0 < mine["process_memory_usage_megabytes"] < mine["system_memory_usage_megabytes"]


def test_means_since_the_last_take() -> None:
    values, seen = iter([1.0, 2.0, 6.0, 9.0, 9.0, 9.0]), threading.Event()

    def read() -> dict[str, float]:
        value = next(values)
        if value == 6.0:
            seen.set()
            sampler._every = 3600.0
        return {"load": value}

    clock = itertools.count(0.0, 2.0)
    sampler = MachineSampler(0.001, (read,), lambda: next(clock))
    with sampler.running():  # its first sample only begins the count
        assert seen.wait(30)
        next(clock)  # the last sample stands for twice the time
        assert sampler.take() == {"load": (2 + 6 + 2 * 9) / 4}
        assert sampler.take() == {"load": 9.0}
        sampler._every = 0.001
    names = [thread.name for thread in threading.enumerate()]
    assert "had-machine" not in names


def test_switched_off_it_does_nothing() -> None:
    sampler = MachineSampler(0, (lambda: {"load": 1.0},))
    with sampler.running():
        assert sampler.take() == {}
        assert "had-machine" not in [thread.name for thread in threading.enumerate()]
