"""A grid sweep submitted to three nodes gives the table of one machine."""

from __future__ import annotations

import json
from pathlib import Path

from local_cluster import local_cluster
from sweep_kills import NAME, check_mlflow, check_sweep, drive, overrides, table_of

from orchestrator.store import Store


def test_submitted_equals_local(micro_dataset, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    assert drive(overrides(micro_dataset.path, here, "tracking=off"))
    placed = ("cluster=local", "cluster.lanes=2", "search.max_concurrent=2")
    with local_cluster(tmp_path, 3) as (had, _):
        words = overrides(micro_dataset.path, there, *placed)
        done = had("submit", "sweep", *words, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["name"] == NAME
        check_sweep(Store.open(there), table_of(here))
        check_mlflow(Store.open(there))
        compared = ["methods=[naive,had]", *(w for w in words if not w.startswith("search"))]
        compared = [w.replace(f"name={NAME}", "name=both") for w in compared]
        done = had("submit", "compare", *compared, "--json")
        assert done.returncode == 0, done.stderr
    results = f"sweeps/{NAME}/results.parquet"
    assert Path(there, results).read_bytes() == Path(here, results).read_bytes()
