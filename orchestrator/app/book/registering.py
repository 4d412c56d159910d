"""``had register``: a stage in MLflow's model registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.app.book.showing import show
from orchestrator.app.book.syncing import sync
from orchestrator.app.book.trained import TrainedStage, trained_stage
from orchestrator.app.opening import open_existing
from orchestrator.display.numbers import number
from orchestrator.display.use import RegisterResult
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store.registered import checked_model_name
from orchestrator.tracking.location import TrackingLocation, redact, require_usable_uri
from orchestrator.tracking.registry import (
    ModelVersion,
    RegistryTrouble,
    StageFiles,
    StageRun,
    known_version,
    register,
    stage_run,
)
from orchestrator.tracking.trouble import told_as

if TYPE_CHECKING:
    from orchestrator.display.book import ShowResult
    from orchestrator.store import Store


def register_stage(
    stage_name: str, name: str, root: str, tracking_uri: str | None
) -> RegisterResult:
    """The stage's version of the model ``name``: the one there is, or a new one.

    The stage is pinned in the store before MLflow names it, so that nothing removes it.

    Args:
        tracking_uri: another MLflow than that of the run which trained the stage.

    Raises:
        BadInput: a stage that cannot be used, a name that is not allowed, or a stage that MLflow
            does not know and that no journal tells of.
        RegistryTrouble: MLflow does not answer or refuses.
    """
    checked_model_name(name)
    store = open_existing(root)
    stage = trained_stage(store, stage_name)
    location = _location(store, stage, tracking_uri)
    what = f"MLflow at {location.shown} did not register stage {stage.key[:12]}"
    with told_as(RegistryTrouble, what):
        version = _version(store, stage, name, location)
    return RegisterResult(
        key=stage.key,
        store=store.uri,
        name=version.name,
        version=version.version,
        uri=version.uri,
        new=version.new,
        tracking_uri=location.shown,
        run_id=version.run_id,
        model_id=version.model_id,
    )


def _version(
    store: Store, stage: TrainedStage, name: str, location: TrackingLocation
) -> ModelVersion:
    run = _stage_run(store, stage, location)
    store.registered.add(name, stage.key, location.shown)
    if not store.is_sealed(ArtifactKind.FIT, stage.key):
        raise BadInput(f"stage {stage.key[:12]} was removed from store {store.uri} meanwhile")
    known = known_version(location, name, stage.key)
    if known is not None:
        return known
    page = show(stage.key, store.uri)
    files = StageFiles(
        key=stage.key,
        weights=stage.portable(),
        tasks=stage.tasks,
        versions=page.versions,
        tags=_tags(stage, page),
        description=_description(stage, page),
    )
    return register(location, name, run, files, Path(store.uri) / "mlflow" / ".register.lock")


def _stage_run(store: Store, stage: TrainedStage, location: TrackingLocation) -> StageRun:
    """The run that trained the stage; MLflow is brought up to date where it lacks it."""
    found = stage_run(location, stage.key)
    if found is not None:
        return found
    run = str(stage.manifest.get("run", ""))
    try:
        sync(store.uri, [run], location.uri, every=True)
    except BadInput as error:
        raise BadInput(
            f"stage {stage.key[:12]} is not in MLflow at {location.shown}, and cannot be brought "
            f"there: {error}"
        ) from None
    found = stage_run(location, stage.key)
    if found is None:
        raise BadInput(
            f"stage {stage.key[:12]} is not in MLflow at {location.shown} yet: run '{run}' goes on "
            "or was interrupted; had resume brings it to its end"
        )
    return found


def _location(store: Store, stage: TrainedStage, uri: str | None) -> TrackingLocation:
    """Where the run that trained the stage is tracked; the store's own MLflow if nowhere."""
    if uri is not None:
        require_usable_uri(uri)
    run = str(stage.manifest.get("run", ""))
    record = store.runs.known(run) if uri is None and run else None
    tracking = record.config.get("tracking", {}) if record else {}
    return TrackingLocation.of(store.uri, uri or tracking.get("uri"))


def _tags(stage: TrainedStage, page: ShowResult) -> dict[str, str]:
    return {
        "had.parent_stage_key": page.parent or "",
        "had.tasks": ",".join(task.name for task in stage.tasks),
        "had.position": str(len(stage.fit.lineage())),
        "had.method": stage.fit.config.method.name,
        "had.seed": str(stage.fit.config.seed),
        "had.run_name": page.trained_by.run,
        "had.sequence": page.trained_by.sequence,
        "had.dataset": stage.dataset,
        "had.data_fingerprint": stage.fit.data_fingerprint,
        "had.store": redact(page.store),
    }


def _description(stage: TrainedStage, page: ShowResult) -> str:
    lines = [f"Stage `{stage.key[:12]}`: {' > '.join(task.name for task in stage.tasks)}."]
    for split, row in page.rows.items():
        lines += ["", f"| {split} | |", "|---|---|"]
        for task in stage.tasks:
            metrics = row.get(task.name, {})
            shown = ", ".join(f"{metric} {number(value)}" for metric, value in metrics.items())
            lines.append(f"| {task.name} | {shown} |")
    lines += [
        "",
        f"Images: float32 `[N, height, width, 3]` in 0..1, RGB; trained on "
        f"{stage.height}x{stage.width}. Again: `had rerun {stage.key[:12]}`.",
    ]
    return "\n".join(lines)
