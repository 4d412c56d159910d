"""More of the preflight's matrix on real clusters; see tests/ray/test_clusters.py."""

from __future__ import annotations

import itertools

import pytest
from clusters import completed, drive

from had_core.errors import BadInput
from orchestrator.execution.placement import ClusterSettings, placed

_PATIENCE_S = 1800.0


def cases():
    for lanes, workers, concurrent in itertools.product((None, 1, 2), (1, 2), (1, 8)):
        yield {"lanes": lanes, "workers": workers, "max_concurrent": concurrent}


@pytest.mark.parametrize(("cpus", "free"), [(1, None), (2, None), (4, None), (2, 2), (4, 2)])
def test_every_sweep_ends_or_is_refused(cpus, free):
    told = list(cases())
    results = drive(_PATIENCE_S, cpus=cpus, cases=told, **({} if free is None else {"free": free}))
    assert len(results) == len(told)
    for case, result in zip(told, results, strict=True):
        settings = ClusterSettings(lanes=case["lanes"], workers=case["workers"])
        try:
            placed(settings, [{"CPU": float(cpus if free is None else free)}])
        except BadInput:
            assert "refused" in result, (case, result)
        else:
            assert completed(result), (case, result)
