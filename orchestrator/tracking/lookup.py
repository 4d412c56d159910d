"""From an MLflow run id back to the stage that it shows."""

from __future__ import annotations

from had_core.errors import BadInput
from orchestrator.tracking.location import TrackingLocation


def stage_key_of(location: TrackingLocation, run_id: str) -> str:
    """The stage key of an MLflow stage run (a trained or a reused one).

    Raises:
        BadInput: no such run, or one that is not a stage.
    """
    if location.file is not None and not location.file.exists():
        raise BadInput(f"MLflow run '{run_id}' is unknown: nothing is tracked at {location.shown}")
    client = location.client()
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_run(run_id).data.tags
    except MlflowException:
        raise BadInput(f"MLflow run '{run_id}' is not at {location.shown}") from None
    if "had.stage_key" not in tags:
        kind = tags.get("had.kind", "other")
        raise BadInput(f"MLflow run '{run_id}' is a {kind} run: a stage's run is needed")
    return str(tags["had.stage_key"])
