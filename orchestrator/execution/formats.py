"""The files inside sealed artefacts: their names and how to read them. Imports no torch.

::

    FIT     net.safetensors   every weight and statistic; names as in the net's state_dict
            history.json      one record an epoch (had_core.progress.EpochRecord)
    MEMORY  memory.safetensors
    EVAL    row.json          {"split": "test", "row": {task: {metric: value or null}}}
            <task>.png        image, truth and prediction of a few fixed images
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.plan.artifacts import ArtifactKind

if TYPE_CHECKING:
    from orchestrator.store import Store

NET = "net.safetensors"
HISTORY = "history.json"
MEMORY = "memory.safetensors"
ROW = "row.json"

Row = Mapping[str, Mapping[str, float | None]]
"""Task -> metric -> value; None where a metric is not defined."""


def row_to_bytes(split: str, row: Mapping[str, Mapping[str, float]]) -> bytes:
    finite = {
        task: {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        for task, metrics in row.items()
    }
    return json.dumps({"split": split, "row": finite}, indent=1).encode()


def row_from_bytes(raw: bytes) -> Row:
    row: Row = json.loads(raw)["row"]
    return row


def read_row(store: Store, eval_key: str) -> Row | None:
    """The sealed R row of an evaluation; None where the store has none (or a damaged one)."""
    raw = read_file(store, ArtifactKind.EVAL, eval_key, ROW)
    return None if raw is None else row_from_bytes(raw)


def read_history(store: Store, fit_key: str) -> list[dict[str, Any]] | None:
    """The sealed training history, one mapping an epoch."""
    raw = store.read(ArtifactKind.FIT, fit_key, HISTORY)
    return None if raw is None else list(json.loads(raw))


def read_file(store: Store, kind: ArtifactKind, key: str, name: str) -> bytes | None:
    """A sealed file, verified; None where it is absent or damaged (the store sets it aside)."""
    sealed = store.load(kind, key)
    return None if sealed is None else sealed.read(name)
