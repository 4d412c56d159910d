"""All sealed stages of a store with their specs: who starts from whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.bulk import no_collection
from orchestrator.plan.codec import FitReader
from orchestrator.plan.specs import FitSpec

if TYPE_CHECKING:
    from orchestrator.store import Seal, Store


@dataclass(frozen=True)
class Member:
    """A sealed stage.

    Attributes:
        fit: None where this version cannot read its spec.
    """

    seal: Seal
    fit: FitSpec | None

    @property
    def key(self) -> str:
        return self.seal.key


def members(store: Store) -> Iterator[Member]:
    """Every sealed stage, by key; reads every seal once (10,000 of them take seconds)."""
    reader = FitReader()
    for key in store.keys(ArtifactKind.FIT):
        seal = store.seal_of(ArtifactKind.FIT, key)
        if seal is not None:
            yield Member(seal, _spec(seal, reader))


def _spec(seal: Seal, reader: FitReader) -> FitSpec | None:
    try:
        fit = reader.read(seal.manifest["spec"])
    except (BadInput, KeyError):
        return None
    return fit if fit.key == seal.key else None  # made by another FIT_VERSION


def descendants(store: Store, key: str) -> tuple[FitSpec, ...]:
    """Sealed stages that start from this one at any distance, parents first."""
    with no_collection():
        found = [
            member.fit
            for member in members(store)
            if member.fit is not None and any(each.key == key for each in member.fit.lineage()[:-1])
        ]
    return tuple(sorted(found, key=lambda fit: (len(fit.lineage()), fit.key)))
