"""``had show``: everything the store and its journals know about one stage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from had_core.errors import BadInput, CorruptArtifact
from had_core.progress import FitProgress
from orchestrator.app.opening import open_existing
from orchestrator.app.stages import set_aside, stage_key
from orchestrator.display.book import Child, Row, ShowResult, StageFile, Use
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import EvalSpec, FitSpec
from orchestrator.store import Seal, Store
from orchestrator.tracking.events import Event, StageFinished, StageReused, StageStarted
from orchestrator.tracking.mentions import mentions

_HEX = re.compile(r"[0-9a-f]{1,64}")


def show(name: str, root: str) -> ShowResult:
    """The stage that ``name`` (first digits of its key, or an MLflow run id) stands for.

    A stage that is being trained, or was interrupted, is found by its key alone.

    Raises BadInput for a stage that is unknown, ambiguous or damaged.
    """
    store = open_existing(root)
    key = _key(store, name)
    events = list(mentions(store.uri, key))
    seal = store.seal_of(ArtifactKind.FIT, key)
    if seal is None:
        return _unfinished(store, key, events)
    return _sealed(store, seal, events)


def _key(store: Store, name: str) -> str:
    try:
        return stage_key(store, name)
    except BadInput:
        begun = list(_begun(store, name)) if _HEX.fullmatch(name) else []
        if len(begun) != 1:
            raise
        return begun[0]


def _begun(store: Store, prefix: str) -> Iterator[str]:
    """Keys of stages with progress that are not sealed, or that were found damaged."""
    shards = [prefix[:2]] if len(prefix) >= 2 else store.fs.names("partial")
    found = {key for shard in shards for key in store.fs.names(f"partial/{shard}")}
    found.update(set_aside(store, prefix))
    return (key for key in sorted(found) if key.startswith(prefix) and len(key) == 64)


# Sealed -----------------------------------------------------------------------------------------


def _sealed(store: Store, seal: Seal, events: list[Event]) -> ShowResult:
    key, manifest = seal.key, seal.manifest
    fit = FitSpec.from_json(manifest["spec"])
    evals = _evals(fit, events)
    files = list(_files("fit", seal))
    rows: dict[str, Row] = {}
    for split, eval_key in evals.items():
        sealed = store.load(ArtifactKind.EVAL, eval_key)
        if sealed is not None:
            rows[split] = formats.row_from_bytes(sealed.read(formats.ROW))
            files += _files(f"eval {split}", sealed.seal)
    settings = fit.key_fields()
    for other in ("parent", "parent_memory", "tasks"):
        settings.pop(other, None)
    return ShowResult(
        key=key,
        store=store.uri,
        state="sealed",
        tasks=fit.config.tasks,
        learns=tuple(view.task for view in fit.config.views),
        settings=settings,
        parent=fit.parent.key if fit.parent else None,
        children=_children(store, key, events),
        rows=rows,
        trained_by=Use(str(manifest["run"]), str(manifest["sequence"])),
        reused_by=_reused(key, events),
        files=tuple(files),
        numerics=dict(manifest["numerics"]),
        mixed_numerics=bool(manifest.get("mixed_numerics", False)),
        versions=dict(manifest.get("versions", {})),
        commit=str(manifest.get("commit", "")),
        attempts=tuple(manifest["attempts"]),
        steps=int(manifest["steps"]),
        seconds=float(manifest["seconds"]),
        epochs=fit.config.train.epochs,
        epochs_done=fit.config.train.epochs,
    )


def _evals(fit: FitSpec, events: Iterable[Event]) -> dict[str, str]:
    """Split -> key of the evaluation: journalled ones, and what needs no other fingerprint."""
    found = {"val": EvalSpec(fit, "val", fit.data_fingerprint).key}
    for event in events:
        if isinstance(event, (StageFinished, StageReused)) and event.stage.key == fit.key:
            found |= event.evals
    return dict(sorted(found.items()))


def _files(artifact: str, seal: Seal) -> Iterator[StageFile]:
    folder = f"{seal.kind.value}/{seal.key[:2]}/{seal.key}/{seal.folder}"
    for file in seal.files:
        yield StageFile(artifact, f"{folder}/{file.name}", file.size)


def _children(store: Store, key: str, events: Iterable[Event]) -> tuple[Child, ...]:
    found = {
        event.stage.key: event.stage.tasks
        for event in events
        if isinstance(event, (StageStarted, StageFinished, StageReused))
        and event.stage.parent == key
    }
    return tuple(
        Child(child, tasks, store.is_sealed(ArtifactKind.FIT, child))
        for child, tasks in sorted(found.items())
    )


def _reused(key: str, events: Iterable[Event]) -> tuple[Use, ...]:
    found = {
        (event.run, event.stage.sequence)
        for event in events
        if isinstance(event, StageReused) and event.stage.key == key
    }
    return tuple(Use(*pair) for pair in sorted(found))


# Not sealed -------------------------------------------------------------------------------------


def _unfinished(store: Store, key: str, events: list[Event]) -> ShowResult:
    """A stage of which there are journals and perhaps a partial, but no spec."""
    starts = [e for e in events if isinstance(e, StageStarted) and e.stage.key == key]
    if not starts:
        raise BadInput(
            f"stage {key[:12]} is not sealed, and no journal tells of it: had run trains it"
        )
    last = max(starts, key=lambda event: event.time)
    progress = store.partial(key).read()
    meta: Mapping[str, Any] = progress[1] if progress else {}
    return ShowResult(
        key=key,
        store=store.uri,
        state="partial" if progress else "lost",
        tasks=(),
        learns=last.stage.tasks,
        settings=dict(last.params),
        parent=last.stage.parent,
        children=_children(store, key, events),
        rows={},
        trained_by=Use(last.run, last.stage.sequence),
        reused_by=(),
        files=(),
        numerics=dict(meta["numerics"][-1]) if meta.get("numerics") else {},
        mixed_numerics=len(meta.get("numerics", [])) > 1,
        versions={},
        commit="",
        attempts=tuple(meta.get("attempts", ())),
        steps=sum(attempt["steps"] for attempt in meta.get("attempts", ())),
        seconds=None,
        epochs=last.epochs,
        epochs_done=_kept(progress[0]) if progress else 0,
    )


def _kept(state: bytes) -> int:
    """Epochs that the state holds, none where it is of no use: journals may tell more or less."""
    try:
        return FitProgress.epoch_in(state)
    except CorruptArtifact:
        return 0
