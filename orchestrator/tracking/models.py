"""MLflow's logged models: one a trained stage, with edges to the stage that it started from.

The model is an entry without files: its weights lie in the store under the stage's key, until
``registry`` puts a copy there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.tracking.records import ModelRecord

if TYPE_CHECKING:
    from mlflow.tracking.client import MlflowClient

MODEL_TYPE = "lifelong-net"


def ensure_model(
    client: MlflowClient, experiment_id: str, run_id: str, model: ModelRecord, *, fresh: bool
) -> str:
    """Id of the run's model, made, marked ready and linked as the run's output if need be.

    Args:
        fresh: the run is known to have no model yet, so nothing is looked up.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    found = None if fresh else _find(client, experiment_id, run_id)
    if found is None:
        made = client.create_logged_model(
            experiment_id,
            name=model.name,
            source_run_id=run_id,
            tags=dict(model.tags),
            params=dict(model.params),
            model_type=MODEL_TYPE,
        )
        found = (made.model_id, False)
    model_id, ready = found
    if not ready:
        client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    if fresh or not _is_output(client, run_id, model_id):
        client.log_outputs(run_id, [LoggedModelOutput(model_id, model.step)])
    return model_id


def _find(client: MlflowClient, experiment_id: str, run_id: str) -> tuple[str, bool] | None:
    from mlflow.entities import LoggedModelStatus

    models = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    oldest = min(models, key=lambda m: m.creation_timestamp, default=None)
    return None if oldest is None else (oldest.model_id, oldest.status is LoggedModelStatus.READY)


def _is_output(client: MlflowClient, run_id: str, model_id: str) -> bool:
    outputs = client.get_run(run_id).outputs
    return outputs is not None and any(o.model_id == model_id for o in outputs.model_outputs)
