"""Sealed stages that resemble one, found among thousands in a second or two.

Seals are searched as text first and compared as plain JSON next; specs are made of the best alone.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from had_core.canonical import to_plain
from had_core.errors import BadInput
from orchestrator.app.book.reading import sealed_fit
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.bulk import no_collection

if TYPE_CHECKING:
    from orchestrator.plan.specs import FitSpec
    from orchestrator.store import Store

_LOOKED_AT = 20


def sealed_near(store: Store, fit: FitSpec) -> list[FitSpec]:
    """Other sealed stages that know the same tasks in the same order, the most alike of them."""
    mine = _generations(to_plain(fit.to_json()))
    with no_collection():
        ranked = (
            (_distance(mine, _generations(spec)), key)
            for key, spec in _alike(store, fit.config.tasks)
            if key != fit.key
        )
        best = heapq.nsmallest(_LOOKED_AT, ranked)
    found = []
    for _, key in best:
        try:
            found.append(sealed_fit(store, key))
        except BadInput:  # damaged, or of a version whose keys are made otherwise
            continue
    return found


def _alike(store: Store, tasks: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Keys and specs, not verified, of stages that know these tasks."""
    names = rb",\s*".join(b'"' + re.escape(task.encode()) + b'"' for task in tasks)
    wanted = re.compile(rb'"tasks":\s*\[\s*' + names + rb"\s*\]")
    for shard in store.fs.names(ArtifactKind.FIT.value):
        for key in store.fs.names(f"{ArtifactKind.FIT.value}/{shard}"):
            folder = f"{ArtifactKind.FIT.value}/{shard}/{key}"
            for name in store.fs.names(folder):
                raw = store.fs.read(f"{folder}/{name}") if name.startswith("SEAL") else b""
                spec = _spec(raw) if wanted.search(raw) else None
                if spec is not None and spec["config"]["tasks"] == list(tasks):
                    yield key, spec


def _spec(raw: bytes) -> Mapping[str, Any] | None:
    try:
        spec = json.loads(raw)["body"]["manifest"]["spec"]
        return spec if isinstance(spec["config"]["tasks"], list) else None
    except (ValueError, KeyError, TypeError):
        return None


def _generations(spec: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """A stage's own settings and those of its ancestors, the oldest first."""
    found: list[Mapping[str, Any]] = []
    while spec is not None:
        found.append({name: value for name, value in spec.items() if name != "parent"})
        spec = spec.get("parent")
    return found[::-1]


def _distance(mine: Sequence[Any], other: Sequence[Any]) -> tuple[int, int]:
    """Less where they part later, then where fewer settings differ."""
    shared = 0
    for left, right in zip(mine, other, strict=False):
        if left != right:
            break
        shared += 1
    pairs = zip(mine[shared:], other[shared:], strict=False)
    return -shared, sum(_differing(left, right) for left, right in pairs)


def _differing(left: Any, right: Any) -> int:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return sum(_differing(left.get(k), right.get(k)) for k in {*left, *right})
    return int(left != right)
