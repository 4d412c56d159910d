"""Sweeps on three clusters that are not the session's: they end, or are refused at once.

The whole matrix is in tests/unit/execution/test_placement.py, more of it on real clusters in
tests/slow/test_clusters.py.
"""

from __future__ import annotations

import pytest
from clusters import completed, drive

_PATIENCE_S = 400.0  # half a minute on an idle machine


def test_one_cpu_and_without_the_preflight_it_hangs():
    """Control: two workers on one CPU wait for ever; and the refusal takes no time at all."""
    one, two = {"lanes": None, "max_concurrent": 2}, {"lanes": 1, "workers": 2}
    fits, refused = drive(_PATIENCE_S, cpus=1, cases=[one, two])
    assert completed(fits)
    assert "cluster.workers=2 x cluster.threads=1 wants 2 CPUs, there are 1" in refused["refused"]
    assert refused["seconds"] < 5
    case = {**two, "hangs_for_s": 25}
    (control,) = drive(_PATIENCE_S, cpus=1, preflight=False, cases=[case])
    assert control == {"hangs": True}


def test_four_cpus_and_more_trials_than_places():
    case = {"lanes": None, "workers": 2, "max_concurrent": 64}
    (fits,) = drive(_PATIENCE_S, cpus=4, cases=[case])
    assert completed(fits)


def test_a_cluster_that_others_use():
    cases = [{"lanes": None, "max_concurrent": 3}, {"lanes": 2, "workers": 1}]
    fits, refused = drive(_PATIENCE_S, cpus=2, free=1, cases=cases)
    assert completed(fits)
    assert "wants 2 CPUs, 1 are free now" in refused["refused"]


@pytest.fixture(autouse=True)
def no_address(monkeypatch):
    """The session's cluster is none of theirs."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
