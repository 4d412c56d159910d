"""What a run cost and what sharing saved, from the manifests of its sealed stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import SequenceSpec, StageSpec
from orchestrator.report.model import Cost, Hours

if TYPE_CHECKING:
    from orchestrator.store import Store

Manifests = Mapping[str, Mapping[str, Any]]  # key of a fit -> its manifest


def manifests_of(sequences: Iterable[SequenceSpec], store: Store) -> Manifests:
    """Of every sealed stage of the sequences."""
    keys = {stage.key for sequence in sequences for stage in sequence.stages}
    found = ((key, store.manifest(ArtifactKind.FIT, key)) for key in sorted(keys))
    return {key: manifest for key, manifest in found if manifest is not None}


def cost_of(
    run: str, sequences: Iterable[SequenceSpec], manifests: Manifests, store: Store
) -> Cost:
    """Stages, and processor time of training and scoring them.

    Args:
        sequences: as they are wanted, each once.
    """
    wanted = [stage for sequence in sequences for stage in sequence.stages]
    unique = {stage.key: stage for stage in wanted}
    hours: dict[str, Hours] = {}
    times = {key: _time(unique[key], manifest, store) for key, manifest in manifests.items()}
    for key, (processor, spent) in times.items():
        known = hours.get(processor, Hours())
        mine = manifests[key].get("run") == run
        hours[processor] = Hours(
            known.spent + (spent if mine else 0.0),
            known.found + (0.0 if mine else spent),
            known.alone,
        )
    for stage in wanted:
        if stage.key in times:
            processor, spent = times[stage.key]
            known = hours[processor]
            hours[processor] = Hours(known.spent, known.found, known.alone + spent)
    trained = sum(manifest.get("run") == run for manifest in manifests.values())
    return Cost(
        wanted=len(wanted),
        unique=len(unique),
        trained=trained,
        reused=len(manifests) - trained,
        hours=dict(sorted(hours.items())),
    )


def _time(stage: StageSpec, manifest: Mapping[str, Any], store: Store) -> tuple[str, float]:
    """The processor that trained a stage, and its hours for training and scoring."""
    seconds = float(manifest.get("seconds", 0.0)) + float(manifest.get("teacher_seconds") or 0.0)
    for spec in stage.evals:
        scored = store.manifest(ArtifactKind.EVAL, spec.key)
        seconds += float(scored.get("seconds", 0.0)) if scored else 0.0
    numerics = manifest.get("numerics", {})
    workers = int(numerics.get("workers", 1))
    device = str(numerics.get("device", "cpu"))
    if device == "cpu":
        return "CPU", seconds * workers * int(numerics.get("threads", 1)) / 3600
    return device, seconds * workers / 3600
