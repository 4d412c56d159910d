"""The store: sealed artefacts, progress inside a fit, and runs, on any pyarrow file system."""

from __future__ import annotations

from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store.claims import Claim, Claims
from orchestrator.store.fs import StoreFs
from orchestrator.store.local_fs import LocalFs
from orchestrator.store.partial import Partial
from orchestrator.store.registered import Pin, Registered
from orchestrator.store.runs import RunRecord, Runs
from orchestrator.store.seal import Damage, Seal, Sealed, SealedFile
from orchestrator.store.store import LAYOUT_VERSION, Store

__all__ = [
    "LAYOUT_VERSION",
    "ArtifactKind",
    "Claim",
    "Claims",
    "Damage",
    "LocalFs",
    "Partial",
    "Pin",
    "Registered",
    "RunRecord",
    "Runs",
    "Seal",
    "Sealed",
    "SealedFile",
    "Store",
    "StoreFs",
]
