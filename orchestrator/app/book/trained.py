"""The net of a sealed stage with what it takes to use it, away from its run and its data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from had_core.data.manifest import DatasetManifest
from had_core.errors import BadInput
from had_core.tasks import DenseTask
from orchestrator.app.stages import damaged, stage_key
from orchestrator.execution import formats
from orchestrator.execution.provenance import trained_on
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import FIT_VERSION, FitSpec

if TYPE_CHECKING:
    from had_core.portable import TrainedNet
    from orchestrator.store import Store


@dataclass(frozen=True)
class TrainedStage:
    """A sealed stage that this version of had can compute with.

    Attributes:
        manifest: of its fit.
        dataset: name of the data set.
        height, width: of the images that it was trained on.
        tasks: all that its net knows, in the order in which it learned them.
        net: its weights as they were sealed, every byte verified.
    """

    fit: FitSpec
    manifest: Mapping[str, Any]
    dataset: str
    height: int
    width: int
    tasks: tuple[DenseTask, ...]
    net: bytes

    @property
    def key(self) -> str:
        return self.fit.key

    def portable(self) -> bytes:
        """Its net as a file that describes itself (``had_core.portable``)."""
        from had_core import portable, tensors

        state, _ = tensors.from_bytes(self.net)
        about = {
            "stage_key": self.key,
            "fit_version": self.fit.version,
            "data_fingerprint": self.fit.data_fingerprint,
            "height": self.height,
            "width": self.width,
        }
        return portable.to_bytes(self.fit.config.net, self.tasks, state, about)

    def load(self, device: str = "cpu") -> TrainedNet:
        from had_core import portable

        return portable.from_bytes(self.portable(), device)


def trained_stage(store: Store, name: str) -> TrainedStage:
    """The stage that ``name`` (first digits of its key, or an MLflow run id) stands for.

    Raises:
        BadInput: none or several, a damaged one, one of another FIT_VERSION, or an old one whose
            data set is not where it was.
    """
    key = stage_key(store, name)
    sealed = store.load(ArtifactKind.FIT, key)
    if sealed is None:
        raise damaged(key)
    fit = FitSpec.from_json(sealed.manifest["spec"])
    if fit.version != FIT_VERSION:
        raise BadInput(
            f"stage {key[:12]} was made with FIT_VERSION {fit.version}, this is version "
            f"{FIT_VERSION}, whose nets may compute otherwise: had run trains it again"
        )
    data = sealed.manifest.get("data") or _looked_up(store, fit, sealed.manifest)
    return TrainedStage(
        fit=fit,
        manifest=sealed.manifest,
        dataset=str(data["name"]),
        height=int(data["height"]),
        width=int(data["width"]),
        tasks=tuple(DenseTask.from_json(task) for task in data["tasks"]),
        net=sealed.read(formats.NET),
    )


def _looked_up(store: Store, fit: FitSpec, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """What older manifests do not say, from the data set that the stage's run names."""
    record = store.runs.known(str(manifest.get("run", "")) or "-")
    path = record.config.get("dataset", {}).get("path") if record else None
    where = f"data set {path}" if path else "data set, which its run does not name any more,"
    try:
        dataset = DatasetManifest.read(Path(str(path)))
    except BadInput:
        reason = "is not there"
    else:
        if dataset.splits["train"].fingerprint == fit.data_fingerprint:
            return trained_on(dataset, fit.config.tasks)
        reason = "is another one now"
    raise BadInput(
        f"stage {fit.key[:12]} was sealed before stages recorded what their tasks are, and its "
        f"{where} {reason}: put it back there"
    )
