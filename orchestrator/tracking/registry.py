"""Stages in MLflow's model registry, loadable with ``mlflow.pyfunc.load_model``.

The logged model that every sealed stage has is an entry without files. Registering a stage puts
the files there, once, and makes a version of the registered model that points to it. So the
version's lineage is the logged model's: the stage's run, and the model which that started from.

::

    models/<model id>/artifacts/MLmodel              signature, what to load it with
                                registered_model.py  the code
                                artifacts/model.safetensors
                                code/had_core/
                                input_example.json
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import had_core
from had_core.errors import HadError
from had_core.tasks import DenseTask, TaskKind
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.locks import FileLock

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature
    from mlflow.tracking.client import MlflowClient

_CODE = "registered_model.py"
_WEIGHTS = "model.safetensors"
_FILES_TAG = "had.files"  # of a logged model: the format of the files that are surely there
_FORMAT = "1"
_EXAMPLE_SIZE = 16
_REQUIRED = ("torch", "numpy", "safetensors")


class RegistryTrouble(HadError):
    """The registry holds something else under a name, or refuses it."""


@dataclass(frozen=True)
class StageFiles:
    """A stage as it is registered.

    Attributes:
        weights: a file that describes itself (``had_core.portable``).
        tasks: all that its net knows.
        versions: of packages it was trained with.
        tags: of the model's version.
        description: of the model's version, Markdown.
    """

    key: str
    weights: bytes
    tasks: tuple[DenseTask, ...]
    versions: Mapping[str, str]
    tags: Mapping[str, str]
    description: str


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model.

    Attributes:
        model_id: of the logged model that it stands for.
        run_id: of the stage's run.
        new: made by this call.
    """

    name: str
    version: str
    model_id: str
    run_id: str
    new: bool

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class StageRun:
    """The run that trained a stage, and its logged model."""

    run_id: str
    model_id: str


def stage_run(location: TrackingLocation, key: str) -> StageRun | None:
    """The oldest run at ``location`` that trained the stage and has a logged model."""
    if location.file is not None and not location.file.exists():
        return None
    client = location.client()
    experiments = [each.experiment_id for each in client.search_experiments(max_results=1000)]
    wanted = {"had.stage_key": key, "had.kind": "stage", "had.reused": "false"}
    found = client.search_runs(
        experiments,
        filter_string=" AND ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items()),
        order_by=["attributes.start_time ASC"],
    )
    tags = ((run.info.run_id, run.data.tags.get("had.model_id")) for run in found)
    return next((StageRun(run_id, model_id) for run_id, model_id in tags if model_id), None)


def known_version(location: TrackingLocation, name: str, key: str) -> ModelVersion | None:
    """The oldest version under ``name`` that is the stage's."""
    found = location.client().search_model_versions(f"name = '{name}'", max_results=10_000)
    mine = [each for each in found if each.tags.get("had.stage_key") == key]
    if not mine:
        return None
    first = min(mine, key=lambda each: int(each.version))
    model_id = first.tags.get("had.model_id", "")  # a search does not tell the version's own
    return ModelVersion(name, str(first.version), model_id, first.run_id or "", False)


def register(
    location: TrackingLocation, name: str, run: StageRun, stage: StageFiles, lock: Path
) -> ModelVersion:
    """The stage's version under ``name``, made if there is none; may be repeated after any error.

    Args:
        lock: a file that only one process of this machine holds at a time.

    Raises:
        RegistryTrouble: the logged model is gone, or MLflow does not take the name.
    """
    client = location.client()
    held = FileLock(lock)
    held.acquire(wait=True)
    try:
        known = known_version(location, name, stage.key)
        return known or _register(client, name, run, stage)
    finally:
        held.release()


def _register(client: MlflowClient, name: str, run: StageRun, stage: StageFiles) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_logged_model(run.model_id)
        if model.tags.get(_FILES_TAG) != _FORMAT:
            _upload(client, model, run, stage)
        _ensure_name(client, name)
        made = client.create_model_version(
            name,
            source=model.artifact_location,
            run_id=run.run_id,
            tags={"had.stage_key": stage.key, "had.model_id": run.model_id, **stage.tags},
            description=stage.description,
            model_id=run.model_id,
        )
    except MlflowException as error:
        reason = str(error).splitlines()[0][:300]
        raise RegistryTrouble(
            f"MLflow did not register stage {stage.key[:12]} as '{name}': {reason}"
        ) from error
    return ModelVersion(name, str(made.version), run.model_id, run.run_id, True)


def _ensure_name(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


# The files --------------------------------------------------------------------------------------


def _upload(client: MlflowClient, model: LoggedModel, run: StageRun, stage: StageFiles) -> None:
    """Put the model's files where its entry says; written over where some are there already."""
    with tempfile.TemporaryDirectory(prefix="had-register-") as folder:
        path = Path(folder, "model")
        _save(path, Path(folder), model.model_id, run.run_id, stage)
        client.log_model_artifacts(model.model_id, str(path))
    client.set_logged_model_tags(model.model_id, {_FILES_TAG: _FORMAT})


def _save(path: Path, scratch: Path, model_id: str, run_id: str, stage: StageFiles) -> None:
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import Model

    # Copied first: MLflow notes where it found them, which should be nobody's home.
    weights, model, code = scratch / _WEIGHTS, scratch / _CODE, scratch / "had_core"
    weights.write_bytes(stage.weights)
    shutil.copy(Path(__file__).with_name(_CODE), model)
    shutil.copytree(
        Path(had_core.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__")
    )
    # Without what follows the plus: packages built for one device are not where pip looks.
    known = {name: version.partition("+")[0] for name, version in stage.versions.items()}
    requirements = [f"{name}=={known[name]}" if name in known else name for name in _REQUIRED]
    size = (1, _EXAMPLE_SIZE, _EXAMPLE_SIZE, 3)
    example = (np.arange(np.prod(size)).reshape(size) % 11 / 10).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on type hints, which arrays have none of
        pyfunc.save_model(
            path,
            mlflow_model=Model(run_id=run_id, model_id=model_id),
            python_model=str(model),
            artifacts={"net": str(weights)},
            code_paths=[str(code)],
            signature=_signature(stage.tasks),
            input_example=example,
            pip_requirements=requirements,
            metadata={"had.stage_key": stage.key},
        )


def _signature(tasks: tuple[DenseTask, ...]) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    images = _tensor("float32", -1, -1, -1, 3)
    outputs = [
        _tensor(
            task.prediction_dtype,
            *((-1, -1, -1, 3) if task.kind is TaskKind.UNIT_VECTOR else (-1, -1, -1)),
            name=task.name,
        )
        for task in tasks
    ]
    return ModelSignature(inputs=Schema([images]), outputs=Schema(outputs))


def _tensor(dtype: str, *shape: int, name: str | None = None) -> Any:
    import numpy as np
    from mlflow.types import TensorSpec

    return TensorSpec(np.dtype(dtype), shape, name)
