"""A StageRunner that trains nothing and seals something: what the engine and the store cost."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from had_core.parallel import Parallel
from orchestrator.execution.messages import Lease, Outcome, StageWork, Status
from orchestrator.execution.runner import Tell
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import Store


@dataclass(frozen=True)
class SealSettings:
    """What a stage leaves.

    Attributes:
        store: where each stage seals a fit; None seals nothing.
        size: bytes of the fit's one file.
    """

    store: str | None = None
    size: int = 20_000


class SealRunner:
    """Use as ``functools.partial(SealRunner, settings)``."""

    def __init__(self, settings: SealSettings, parallel: Parallel) -> None:
        self._settings = settings
        with_store = settings.store is not None and parallel.rank == 0
        self._store = Store.open(settings.store) if with_store and settings.store else None
        self._data = os.urandom(settings.size)

    def run(self, lease: Lease, work: StageWork, tell: Tell) -> Outcome:
        if self._store is not None:
            key = hashlib.sha256(work.key.encode()).hexdigest()
            self._store.seal(ArtifactKind.FIT, key, {"net": self._data}, {"work": work.key})
        return Outcome(lease.key, Status.SEALED, trained=True)
