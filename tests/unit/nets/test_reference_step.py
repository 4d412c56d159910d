"""The benchmark's plain step computes what ours computes, so that comparing their times is fair."""

from __future__ import annotations

import mmap
import threading
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import bench_step

    return bench_step


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("variant, ours", [("paper", "float32 cached"), ("released", "float32")])
def test_both_steps_agree(
    bench: Any, variant: str, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("step_problem._WARM_UP_STEPS", 1)  # the student differs after one, too
    small = bench.Setting(2, 48, 64, 8, bench.Variant(variant))
    problem = bench.Problem.make(small)
    expected = dict(problem.step(bench.REFERENCE)())
    assert len(expected) == 5 and all(value >= 0 for value in expected.values())
    assert sum(value > 0 for value in expected.values()) >= 4
    found = dict(problem.step(ours)())
    assert bench.relative_gap(found, expected, ("new/",)) < bench.L_NEW_TOLERANCE
    assert bench.relative_gap(found, expected, ("db/", "sg/")) < bench.HAD_TOLERANCE


def test_gaps_ratios_and_verdicts(bench: Any) -> None:
    assert (
        bench.relative_gap({"new/a": 2.0, "db/b": 1.0}, {"new/a": 1.0, "db/b": 1.0}, ("new/",)) == 1
    )
    names = (bench.REFERENCE, *bench.OURS)
    values = {name: {"new/normal": 1.0, "db/depth": 2.0} for name in names}
    values["float32"] = {"new/normal": 1.0, "db/depth": 2.1}
    cost = {name: [bench.Cost(wall, 1.0) for wall in (1.0, 3.0, 5.0)] for name in names}
    cost[bench.REFERENCE] = [bench.Cost(wall, 4.0) for wall in (2.0, 4.0, 10.0)]
    filling = {"bf16 cached": [bench.Cost(4.0, 20.0)] * 3}
    measured = {"values": values, "cost": cost, "filling": filling}
    rows = bench.summarise(measured)
    assert rows["float32"]["ratio"] == 0.5 and rows["float32"]["seconds"] == 3
    assert rows["float32"]["gap_HAD"] == pytest.approx(0.05)
    assert rows["float32"]["processor_ratio"] == 0.25
    assert rows["bf16 cached"]["ratio"] == pytest.approx(0.6), "a share of the filling is added"
    assert rows["bf16 cached"]["processor_ratio"] == pytest.approx(0.5)
    for row in rows.values():
        row["peak_mib"] = 10.0
    reached = bench.judge(rows)
    assert reached["float32 cached <= 0.65"] and reached["peak memory <= reference"]
    assert reached["L_new within 1e-5"] and not reached["HAD within 1e-4"]
    rows["bf16"]["peak_mib"] = 11.0
    assert not bench.judge(rows)["peak memory <= reference"]


def test_peak_memory_sees_an_allocation_that_is_gone_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peak_memory

    if not peak_memory.supported():
        pytest.skip("needs /proc")
    looked, look = threading.Semaphore(0), peak_memory.anonymous_mib

    def counted() -> float:
        found = look()
        looked.release()
        return found

    def work() -> None:
        # From the system: an allocator may hand out what it kept of earlier tests.
        with mmap.mmap(-1, 64 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
            held.write(b"1" * len(held))
            for _ in range(3):  # one look is older, one may have begun before
                assert looked.acquire(timeout=600)

    monkeypatch.setattr(peak_memory, "anonymous_mib", counted)
    before = look()
    assert 60 < peak_memory.peak_mib(work) - before < 200
