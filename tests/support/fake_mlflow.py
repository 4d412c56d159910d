"""MLflow in memory, as strict as the real one where it matters, that can fail at any call.

``snapshot`` describes what a client holds without its random ids; it reads the fake and the real
client through the same calls, so that a test can show that both end in the same state.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlparse

ACTIVE = "active"  # mlflow.entities.LifecycleStage
WRITES = (
    "create_experiment",
    "create_run",
    "log_batch",
    "log_inputs",
    "log_outputs",
    "log_artifacts",
    "create_logged_model",
    "finalize_logged_model",
    "set_terminated",
    "update_run",
)


class Killed(BaseException):
    """The process ended here."""


def refusal(message: str, code: str = "INTERNAL_ERROR") -> Exception:
    """MLflow's own error; MLflow is imported late, since that takes seconds."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos import databricks_pb2

    return MlflowException(message, error_code=getattr(databricks_pb2, code))


class FakeMlflow:
    """The part of MlflowClient that tracking uses; every dict is a table."""

    def __init__(self) -> None:
        self._ids = itertools.count()
        self.experiments: dict[str, Any] = {}
        self.runs: dict[str, Any] = {}
        self.models: dict[str, Any] = {}
        self.artifacts: dict[str, dict[str, bytes]] = {}

    def _id(self, kind: str) -> str:
        return f"{kind}{next(self._ids)}"

    def get_experiment_by_name(self, name: str) -> Any:
        return next((e for e in self.experiments.values() if e.name == name), None)

    def search_experiments(self, max_results: int = 100) -> list[Any]:
        return list(self.experiments.values())

    def create_experiment(self, name: str, location: Any = None, tags: Any = None) -> str:
        if self.get_experiment_by_name(name):
            raise refusal("exists", "RESOURCE_ALREADY_EXISTS")
        made = SimpleNamespace(experiment_id=self._id("e"), name=name, lifecycle_stage=ACTIVE)
        self.experiments[made.experiment_id] = made
        return str(made.experiment_id)

    def create_run(self, experiment_id: str, start_time: int, tags: Any, run_name: str) -> Any:
        assert experiment_id in self.experiments
        info = SimpleNamespace(
            run_id=self._id("r"),
            run_name=run_name,
            status="RUNNING",
            start_time=start_time,
            end_time=None,
            lifecycle_stage=ACTIVE,
            experiment_id=experiment_id,
        )
        data = SimpleNamespace(tags={**tags, "mlflow.runName": run_name}, params={})
        inputs = SimpleNamespace(dataset_inputs=[], model_inputs=[])
        run = SimpleNamespace(
            info=info,
            data=data,
            inputs=inputs,
            outputs=SimpleNamespace(model_outputs=[]),
            points={},
        )
        self.runs[info.run_id] = run
        self.artifacts[info.run_id] = {}
        return run

    def search_runs(
        self,
        experiment_ids: list[str],
        filter_string: str = "",
        run_view_type: int = 1,  # ViewType.ACTIVE_ONLY
        **_: Any,
    ) -> Any:
        from mlflow.entities import ViewType
        from mlflow.store.entities import PagedList

        wanted = [part.split(" = ") for part in filter_string.split(" AND ") if part]
        tags = {name.removeprefix("tags.").strip("`"): v.strip("'") for name, v in wanted}
        found = [
            run
            for run in self.runs.values()
            if run.info.experiment_id in experiment_ids
            and tags.items() <= run.data.tags.items()
            and (run_view_type == ViewType.ALL or run.info.lifecycle_stage == ACTIVE)
        ]
        return PagedList(sorted(found, key=lambda run: run.info.start_time), None)

    def get_run(self, run_id: str) -> Any:
        return self.runs[run_id]

    def log_batch(
        self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = (), **_: Any
    ) -> None:
        for step in self.batch_steps(run_id, metrics, params, tags):
            step()

    def batch_steps(self, run_id: str, metrics: Any, params: Any, tags: Any) -> list[Any]:
        """MLflow commits parameters, metrics, the model's metrics and tags one after the other."""
        run = self.runs[run_id]
        assert run.info.lifecycle_stage == ACTIVE, "MLflow refuses to write to deleted runs"
        assert len(params) <= 100
        assert len(tags) <= 100
        assert len(metrics) + len(params) + len(tags) <= 1000
        assert len({p.key for p in params}) == len(params)

        def log_params() -> None:
            for param in params:
                if run.data.params.setdefault(param.key, param.value) != param.value:
                    raise refusal(f"parameter {param.key} cannot be changed")

        def log_metrics() -> None:
            for m in metrics:
                run.points.setdefault(m.key, set()).add((m.timestamp, m.step, m.value))

        def log_model_metrics() -> None:
            for metric in metrics:
                if metric.model_id:
                    self.models[metric.model_id].metrics.add(
                        (metric.key, metric.step, metric.value)
                    )

        def set_tags() -> None:
            run.data.tags.update({tag.key: tag.value for tag in tags})

        return [log_params, log_metrics, log_model_metrics, set_tags]

    def get_metric_keys(self, run_id: str) -> list[str]:
        return sorted(self.runs[run_id].points)

    def get_metric_history(self, run_id: str, key: str) -> list[Any]:
        return [
            SimpleNamespace(key=key, timestamp=timestamp, step=step, value=value)
            for timestamp, step, value in self.runs[run_id].points.get(key, ())
        ]

    def log_inputs(self, run_id: str, datasets: Any = None, models: Any = None) -> None:
        inputs = self.runs[run_id].inputs
        known = {(d.dataset.name, d.dataset.digest) for d in inputs.dataset_inputs}
        inputs.dataset_inputs += [
            d for d in datasets or [] if (d.dataset.name, d.dataset.digest) not in known
        ]
        inputs.model_inputs += [m for m in models or [] if m not in inputs.model_inputs]

    def log_outputs(self, run_id: str, models: Any) -> None:
        outputs = self.runs[run_id].outputs.model_outputs
        if any(m.model_id == o.model_id for m in models for o in outputs):
            raise refusal("UNIQUE constraint failed: inputs")  # as the real one does
        outputs += models

    def log_artifacts(self, run_id: str, folder: str) -> None:
        for path in Path(folder).rglob("*"):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                self.artifacts[run_id][name] = path.read_bytes()

    def create_logged_model(self, experiment_id: str, **fields: Any) -> Any:
        from mlflow.entities import LoggedModelStatus

        model = SimpleNamespace(
            model_id=self._id("m"),
            experiment_id=experiment_id,
            creation_timestamp=next(self._ids),
            status=LoggedModelStatus.PENDING,
            metrics=set(),
            **fields,
        )
        self.models[model.model_id] = model
        return model

    def finalize_logged_model(self, model_id: str, status: Any) -> None:
        self.models[model_id].status = status

    def search_logged_models(self, experiment_ids: list[str], filter_string: str = "") -> list[Any]:
        run_id = filter_string.partition("'")[2].rstrip("'")
        return [m for m in self.models.values() if not run_id or m.source_run_id == run_id]

    def set_terminated(self, run_id: str, status: str, end_time: int) -> None:
        info = self.runs[run_id].info
        info.status, info.end_time = status, end_time

    def update_run(self, run_id: str, status: str) -> None:
        self.runs[run_id].info.status = status


class Faulty:
    """A client that stops once, at write number ``at``.

    Args:
        client: a FakeMlflow or a real client.
        when: ``before`` nothing of the call happened, ``after`` all of it, ``amid`` (fake only)
            the first ``part`` commits of a log_batch.
        error: what is raised; ``Killed`` stands for the end of the process.
    """

    def __init__(
        self,
        client: Any,
        at: int = -1,
        when: str = "before",
        error: BaseException | None = None,
        part: int = 1,
    ) -> None:
        self._client, self._at, self._when, self._part = client, at, when, part
        self._error = error or Killed()
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._client, name)
        if name not in WRITES:
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) - 1 != self._at:
                return method(*args, **kwargs)
            if self._when == "after":
                method(*args, **kwargs)
            if self._when == "amid" and name == "log_batch":
                kwargs.pop("synchronous", None)
                full = [*args, (), (), ()][:4]
                for step in self._client.batch_steps(*full)[: self._part]:
                    step()
            raise self._error

        return call


def snapshot(client: Any) -> dict[str, Any]:
    """All a client holds, by uid and name, without random ids and without the order of writing."""
    experiments = [e for e in client.search_experiments() if e.name != "Default"]
    ids = [e.experiment_id for e in experiments]
    runs = [client.get_run(run.info.run_id) for run in client.search_runs(ids)]
    models = client.search_logged_models(ids)
    names = {run.info.run_id: run.data.tags["had.uid"] for run in runs}
    names |= {model.model_id: f"model {model.tags['had.stage_key']}" for model in models}
    assert len(set(names.values())) == len(runs) + len(models), "a run or model is there twice"
    return {
        "experiments": sorted(e.name for e in experiments),
        "runs": {names[run.info.run_id]: _run(client, run, names) for run in runs},
        "models": {names[m.model_id]: _model(m, names) for m in models},
    }


def _run(client: Any, run: Any, names: dict[str, str]) -> dict[str, Any]:
    tags = {key: names.get(value, value) for key, value in run.data.tags.items()}
    keys = getattr(client, "get_metric_keys", lambda _: sorted(run.data.metrics))(run.info.run_id)
    history = [p for key in keys for p in client.get_metric_history(run.info.run_id, key)]
    inputs = run.inputs
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "times": (run.info.start_time, run.info.end_time),
        "tags": tags,
        "params": dict(run.data.params),
        "points": sorted((p.key, p.step, p.timestamp, p.value) for p in history),
        "datasets": sorted((d.dataset.name, d.dataset.digest) for d in inputs.dataset_inputs),
        "from": sorted(names[m.model_id] for m in inputs.model_inputs),
        "to": sorted((names[m.model_id], m.step) for m in run.outputs.model_outputs),
        "artifacts": _artifacts(client, run),
    }


def _model(model: Any, names: dict[str, str]) -> dict[str, Any]:
    raw = model.metrics or ()
    points = [m if isinstance(m, tuple) else (m.key, m.step, m.value) for m in raw]
    return {
        "name": model.name,
        "status": str(model.status),
        "run": names[model.source_run_id],
        "tags": dict(model.tags),
        "params": dict(model.params),
        "points": sorted(points),
    }


def _artifacts(client: Any, run: Any) -> dict[str, bytes]:
    if hasattr(client, "artifacts"):
        return dict(client.artifacts[run.info.run_id])
    root = Path(unquote(urlparse(run.info.artifact_uri).path))
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
