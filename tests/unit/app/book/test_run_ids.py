"""An MLflow run id names a stage, also where its run shows one that another run trained."""

from __future__ import annotations

from fake_mlflow import FakeMlflow

from orchestrator.app.stages import stage_key
from orchestrator.tracking.location import TrackingLocation


def test_runs_of_trained_and_of_reused_stages_name_their_stage(made, monkeypatch, document):
    client = FakeMlflow()
    monkeypatch.setattr(TrackingLocation, "client", lambda self: client)
    monkeypatch.setattr(TrackingLocation, "file", None)
    (first,) = made.run("first")
    made.run("second")
    document("sync")
    told = {
        (run.data.tags.get("had.reused"), stage_key(made.store, run_id))
        for run_id, run in client.runs.items()
        if run.data.tags.get("had.kind") == "stage" and _is_id(monkeypatch, run_id)
    }
    keys = {stage.key for stage in first.stages}
    assert {key for _, key in told} == keys
    assert len(told) == 2 * len(keys), "each was trained once and reused once"


def _is_id(monkeypatch, run_id) -> bool:
    """The double's ids are shorter than MLflow's."""
    import re

    monkeypatch.setattr("orchestrator.app.stages._RUN_ID", re.compile(re.escape(run_id)))
    return True
