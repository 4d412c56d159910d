"""A single sealed stage, found by what a person has of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from had_core.errors import BadInput
from orchestrator.config import RunConfig
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import FIT_VERSION, FitSpec
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.lookup import stage_key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.store import Store

_RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class KnownStage:
    """A sealed stage.

    Attributes:
        manifest: of its fit.
        config: settings of the run that sealed it.
    """

    fit: FitSpec
    manifest: Mapping[str, Any]
    config: RunConfig


def find_stage(store: Store, name: str) -> KnownStage:
    """The sealed stage that ``name`` (first digits of its key, or an MLflow run id) stands for.

    Raises:
        BadInput: none or several, one made by another FIT_VERSION, or one whose run is gone.
    """
    key = stage_key(store, name)
    manifest = store.manifest(ArtifactKind.FIT, key)
    if manifest is None:
        raise damaged(key)
    fit = FitSpec.from_json(manifest["spec"])
    if fit.version != FIT_VERSION:
        raise BadInput(
            f"stage {key[:12]} was made with FIT_VERSION {fit.version}, this is version "
            f"{FIT_VERSION}: it can be read but not trained again"
        )
    run = str(manifest.get("run", ""))
    record = store.runs.known(run) if run else None
    if record is None:
        raise BadInput(f"stage {key[:12]} was sealed by run '{run}', which the store has no more")
    return KnownStage(fit, manifest, RunConfig.from_json(record.config))


def stage_key(store: Store, name: str) -> str:
    """The key of the sealed stage that ``name`` stands for; raises BadInput for none or several.

    Keys first: a run id of 32 hexadecimal digits begins a key only by a miracle.
    """
    if re.fullmatch(r"[0-9a-f]{1,64}", name):
        found = [key for kind, key in store.find(name) if kind is ArtifactKind.FIT]
        if len(found) == 1:
            return found[0]
        lost = set_aside(store, name)
        if not found and len(lost) == 1:
            raise BadInput(
                f"stage {lost[0][:12]} was damaged and set aside: had run trains it again"
            )
    if not _RUN_ID.fullmatch(name):
        return store.resolve(name, ArtifactKind.FIT)[1]
    for uri in _tracking_uris(store):
        try:
            return stage_key_of(TrackingLocation.of(store.uri, uri), name)
        except BadInput as error:
            last = error
    raise last


def damaged(key: str) -> BadInput:
    """What to say of a stage whose files are not as they were sealed."""
    return BadInput(f"stage {key[:12]} is damaged: had run trains it again")


def set_aside(store: Store, prefix: str) -> list[str]:
    """Keys of stages that were found damaged, sorted."""
    parts = (folder.partition("-") for folder in store.fs.names("damaged"))
    keys = {rest.partition("-")[0] for kind, _, rest in parts if kind == ArtifactKind.FIT.value}
    return sorted(key for key in keys if key.startswith(prefix) and len(key) == 64)


def _tracking_uris(store: Store) -> list[str | None]:
    """Where runs of this store are tracked; its own sqlite file first."""
    uris: list[str | None] = [None]
    for record in store.runs.list():
        uri = record.config.get("tracking", {}).get("uri")
        if uri not in uris:
            uris.append(uri)
    return uris
