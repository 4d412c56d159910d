"""What lies in a store, by the stage it belongs to, with its size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.app.family import Member, members
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.bulk import no_collection
from orchestrator.store.removing import artefact_folder, folder_keys, partial_folder, size_below
from orchestrator.store.seal import is_key

if TYPE_CHECKING:
    from orchestrator.store import Store


@dataclass
class Holding:
    """Everything of one stage.

    Attributes:
        member: its seal and spec; None where it is not sealed.
        artefacts: the fit, its evaluations and memories, sealed or not.
        paths: its progress, and what was found damaged.
    """

    key: str
    member: Member | None = None
    artefacts: list[tuple[ArtifactKind, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    size: int = 0

    @property
    def depth(self) -> int:
        """Number of ancestors and itself; what is not known goes last among its like."""
        fit = self.member.fit if self.member else None
        return len(fit.lineage()) if fit else 0

    @property
    def tasks(self) -> tuple[str, ...]:
        fit = self.member.fit if self.member else None
        return fit.config.tasks if fit else ()

    @property
    def run(self) -> str:
        """The run that sealed it."""
        return str(self.member.seal.manifest.get("run", "")) if self.member else ""


@dataclass
class Inventory:
    """Holdings by stage.

    Attributes:
        strays: artefacts that nothing sealed and no stage owns: left by writers that died.
    """

    holdings: dict[str, Holding] = field(default_factory=dict)
    strays: list[tuple[ArtifactKind, str]] = field(default_factory=list)

    def sealed(self) -> Iterator[Member]:
        return (each.member for each in self.holdings.values() if each.member is not None)

    def of(self, key: str) -> Holding:
        return self.holdings.setdefault(key, Holding(key))


def take_inventory(store: Store) -> Inventory:
    """Look at every seal and the size of every file; reads no weights."""
    found = Inventory()
    with no_collection():
        for member in members(store):
            found.of(member.key).member = member
        for key in folder_keys(store.fs, ArtifactKind.FIT.value):
            _add(store, found, key, ArtifactKind.FIT, key)
        damaged = _damaged(store, found)
        for kind in (ArtifactKind.EVAL, ArtifactKind.MEMORY):
            for key in folder_keys(store.fs, kind.value):
                _add_scored(store, found, kind, key, damaged)
        for key in folder_keys(store.fs, "partial"):
            _add_path(store, found.of(key), partial_folder(key))
    return found


def _add_scored(
    store: Store, found: Inventory, kind: ArtifactKind, key: str, damaged: dict[str, str]
) -> None:
    """An evaluation or memory; scores of constants belong to no stage and stay."""
    manifest = store.manifest(kind, key)
    if manifest is None and key not in damaged:
        found.strays.append((kind, key))
        return
    owner = damaged.get(key) if manifest is None else manifest.get("fit")
    if owner is not None:
        _add(store, found, owner, kind, key)


def _damaged(store: Store, found: Inventory) -> dict[str, str]:
    """Hand out what lies in ``damaged/``; evaluation or memory -> the stage it belonged to."""
    owners = {}
    for name in store.fs.names("damaged"):
        kind, _, rest = name.partition("-")
        key = rest.rpartition("-")[0]
        if not is_key(key) or kind not in {each.value for each in ArtifactKind}:
            continue  # a run's record, which is kept
        owner = key if kind == ArtifactKind.FIT.value else _owner(store, name)
        if owner is not None:
            owners[key] = owner
            _add_path(store, found.of(owner), f"damaged/{name}")
    return owners


def _owner(store: Store, name: str) -> str | None:
    """The stage of a damaged evaluation, as far as its seal can be read."""
    for file in store.fs.names(f"damaged/{name}"):
        if file.startswith("SEAL"):
            try:
                body = json.loads(store.fs.read(f"damaged/{name}/{file}"))["body"]
                owner = body["manifest"]["fit"]
            except (ValueError, KeyError, TypeError):
                continue
            return owner if isinstance(owner, str) and is_key(owner) else None
    return None


def _add(store: Store, found: Inventory, owner: str, kind: ArtifactKind, key: str) -> None:
    holding = found.of(owner)
    holding.artefacts.append((kind, key))
    holding.size += size_below(store.fs, artefact_folder(kind, key))


def _add_path(store: Store, holding: Holding, path: str) -> None:
    holding.paths.append(path)
    holding.size += size_below(store.fs, path)
