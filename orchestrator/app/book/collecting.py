"""``had gc``: what no kept run needs is listed, and deleted if asked to.

::

    needed    what kept runs, registered models and live workers need, and all ancestors of that
    garbage   the other stages with their evaluations, memories, progress and damaged copies

Every stage is deleted under its claim, after a last look at what is needed now: a run that begins
meanwhile names itself before it looks for stages. Children go before their parents, seals before
what they name, so that a death at any point leaves a sound store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.app.book.inventory import Holding, Inventory, take_inventory
from orchestrator.app.book.needs import Needs, kept_names
from orchestrator.app.opening import open_existing
from orchestrator.display.garbage import Garbage, GcResult
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store.removing import artefact_folder, remove_artefact, size_below

if TYPE_CHECKING:
    from orchestrator.store import Store


def collect(root: str, *, apply: bool = False) -> GcResult:
    """List, or delete, what no kept run needs.

    Raises:
        BadInput: no store there, or one that cannot be written with ``apply``.
    """
    store = open_existing(root)
    if apply:
        store.require_writable()
    found = take_inventory(store)
    needs = needs_of(store, found)
    needs.refresh()
    garbage = [each for key, each in found.holdings.items() if key not in needs.keys]
    garbage.sort(key=lambda each: (-each.depth, each.key))
    strays = _Strays(store, found)
    lines = [_line(each) for each in garbage] + strays.lines()
    if apply:
        gone = [_line(each) for each in garbage if _delete(store, needs, each)]
        lines = gone + strays.delete()
    kept = [each for key, each in found.holdings.items() if key in needs.keys]
    return GcResult(
        store=store.uri,
        applied=apply,
        garbage=tuple(lines),
        kept_runs=len(kept_names(store)),
        kept_stages=sum(each.member is not None for each in kept),
        kept_bytes=sum(each.size for each in kept),
        skipped=len(garbage) + len(strays.lines()) - len(lines) if apply else 0,
    )


def needs_of(store: Store, found: Inventory) -> Needs:
    """The needs over what was found; they have to be refreshed."""
    sealed_by: dict[str, set[str]] = {}
    parents, data = {}, set()
    for member in found.sealed():
        sealed_by.setdefault(str(member.seal.manifest.get("run", "")), set()).add(member.key)
        if member.fit is not None:
            data.add(member.fit.data_fingerprint)
            parents.update({f.key: f.parent.key for f in member.fit.lineage() if f.parent})
    return Needs(store, sealed_by, data, parents)


def _line(holding: Holding) -> Garbage:
    what = "stage" if holding.member else "rest"
    return Garbage(holding.key, what, holding.tasks, holding.run, holding.size)


def _delete(store: Store, needs: Needs, holding: Holding) -> bool:
    """Whether it was still garbage, and is gone."""
    claim = store.claims.take(holding.key)
    if claim is None:
        return False  # somebody trains it now
    with claim:
        needs.refresh(own_claim=holding.key)
        if holding.key in needs.keys:
            return False
        for kind, key in sorted(holding.artefacts, key=lambda each: each[0] is ArtifactKind.FIT):
            remove_artefact(store.fs, kind, key)
        for path in holding.paths:
            store.fs.delete(path)
        return True


class _Strays:
    """Unsealed evaluations and memories: whose they are is not known before they are sealed, so
    they are garbage only while nobody executes anything."""

    def __init__(self, store: Store, found: Inventory) -> None:
        self._store = store
        self._found = [] if store.claims.alive() else found.strays

    def lines(self) -> list[Garbage]:
        return [
            Garbage(key, "stray", (), "", size_below(self._store.fs, artefact_folder(kind, key)))
            for kind, key in self._found
        ]

    def delete(self) -> list[Garbage]:
        gone = []
        for line, (kind, key) in zip(self.lines(), self._found, strict=True):
            if self._store.claims.alive() or self._store.is_sealed(kind, key):
                continue
            remove_artefact(self._store.fs, kind, key)
            gone.append(line)
        return gone
