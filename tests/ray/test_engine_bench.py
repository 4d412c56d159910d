from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest


@pytest.mark.parametrize("sealing", [False, True])
def test_the_benchmark_of_the_engine_in_short(session_cluster, tmp_path, monkeypatch, sealing):
    """Its goals are 100 stages a second and memory that does not grow; of the speed nothing is
    asked here, on a busy machine."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import bench_engine

    trials = 40
    cluster = replace(session_cluster, settings=replace(session_cluster.settings, workers=1))
    store = str(tmp_path / "store") if sealing else None
    figures = bench_engine.measure_on(cluster, trials, store, (10, trials))
    assert figures["stages"] >= bench_engine.SHARED + trials * bench_engine.OWN
    grown = bench_engine.growth_mib(figures, 10, trials)
    assert all(mib < 100 for mib in grown.values()), grown
