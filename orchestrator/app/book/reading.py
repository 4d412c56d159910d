"""Opening a store to look into it, and the spec of a sealed stage."""

from __future__ import annotations

from pathlib import Path

from had_core.errors import BadInput
from orchestrator.app.stages import damaged, stage_key
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store


def open_existing(root: str) -> Store:
    """The store in ``root``; raises BadInput where there is none, and makes none."""
    if not holds_store(root):
        raise BadInput(
            f"--store {root} holds no store: name the folder that had run wrote into, or set "
            "HAD_STORE"
        )
    return Store.open(root)


def holds_store(root: str) -> bool:
    """Whether a store is in ``root``; addresses that are no local folder are for it to judge."""
    folder = root.removeprefix("file://")
    return "://" in folder or (Path(folder) / "store.json").is_file()


def sealed_fit(store: Store, name: str) -> FitSpec:
    """The spec of the sealed stage that ``name`` (key prefix or MLflow run id) stands for.

    Raises:
        BadInput: none or several, a damaged one, or one whose key this version cannot explain.
    """
    key = stage_key(store, name)
    manifest = store.manifest(ArtifactKind.FIT, key)
    if manifest is None:
        raise damaged(key)
    fit = FitSpec.from_json(manifest["spec"])
    if fit.key != key:
        raise BadInput(
            f"stage {key[:12]} was made with FIT_VERSION {fit.version}, whose keys this version "
            "of had makes otherwise: its fields cannot be compared"
        )
    return fit
