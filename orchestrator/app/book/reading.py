"""The spec of a sealed stage."""

from __future__ import annotations

from had_core.errors import BadInput
from orchestrator.app.stages import damaged, stage_key
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store


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
