"""Opening a store to look into it, and the spec of a sealed stage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from had_core.errors import BadInput
from orchestrator.app.stages import stage_key
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.codec import FitReader
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store


def open_existing(root: str) -> Store:
    """The store in ``root``; raises BadInput where there is none, and makes none."""
    folder = root.removeprefix("file://")
    if "://" not in folder and not (Path(folder) / "store.json").is_file():
        raise BadInput(
            f"--store {root} holds no store: name the folder that had run wrote into, or set "
            "HAD_STORE"
        )
    return Store.open(root)


def sealed_fit(store: Store, name: str) -> FitSpec:
    """The spec of the sealed stage that ``name`` (key prefix or MLflow run id) stands for.

    Raises:
        BadInput: none or several, a damaged one, or one whose key this version cannot explain.
    """
    key = stage_key(store, name)
    manifest = store.manifest(ArtifactKind.FIT, key)
    if manifest is None:
        raise BadInput(f"stage {key[:12]} is damaged: had run trains it again")
    fit = FitSpec.from_json(manifest["spec"])
    if fit.key != key:
        raise BadInput(
            f"stage {key[:12]} was made with FIT_VERSION {fit.version}, whose keys this version "
            "of had makes otherwise: its fields cannot be compared"
        )
    return fit


def sealed_alike(store: Store, tasks: Sequence[str]) -> Iterator[FitSpec]:
    """Sealed stages that know these tasks, in this order; passes over the others quickly."""
    names = rb",\s*".join(b'"' + re.escape(task.encode()) + b'"' for task in tasks)
    wanted = re.compile(rb'"tasks":\s*\[\s*' + names + rb"\s*\]")
    reader = FitReader()
    for key in store.keys(ArtifactKind.FIT):
        folder = f"{ArtifactKind.FIT.value}/{key[:2]}/{key}"
        seals = [name for name in store.fs.names(folder) if name.startswith("SEAL")]
        if not any(wanted.search(store.fs.read(f"{folder}/{name}")) for name in seals):
            continue
        manifest = store.manifest(ArtifactKind.FIT, key)
        try:
            fit = reader.read(manifest["spec"]) if manifest else None
        except BadInput:
            continue
        if fit is not None and fit.key == key and fit.config.tasks == tuple(tasks):
            yield fit
