"""Sealed stages trained again where their results cannot be reached.

    python rerun_many.py STORE DATASET COUNT

Runs in a process of its own, from whatever checkout is on its path. For each of COUNT stages the
sealed result is moved out of the store first; then the stage is trained in a store that holds its
parent and nothing else. What came out is printed as hashes: whoever kept the sealed files compares.
Every optimiser step is counted where it is taken. ``had rerun`` itself is asked as well, before.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from stages import count_steps, steps_in

import orchestrator
from orchestrator.app.datasets import fingerprints_of, open_dataset
from orchestrator.app.rerun import rerun
from orchestrator.app.rerun.asked import alone, apply
from orchestrator.app.rerun.training import train, tree_of
from orchestrator.app.rerun.verifying import store_with_parent
from orchestrator.app.stages import find_stage
from orchestrator.config import StoreConfig
from orchestrator.display.live import SilentDisplay
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import Store

FIT = ArtifactKind.FIT


def main(root: str, dataset: str, count: int) -> None:
    store, display = Store.open(root), SilentDisplay(Console(file=io.StringIO()))
    here = [f"dataset.path={dataset}"]
    with tempfile.TemporaryDirectory() as scratch:
        ledger = Path(scratch, "steps")
        count_steps(ledger)
        found = {}
        for key in chosen(store, count):
            before = len(steps_in(ledger))
            asked = rerun(key, StoreConfig(root), here, display)
            after = len(steps_in(ledger))
            found[key] = {
                "reproduced": asked.reproduced,
                "steps": after - before,
                "sha256": _out_of_reach(store, key, here, Path(scratch), display),
                "steps_out_of_reach": len(steps_in(ledger)) - after,
            }
    print(json.dumps({"code": orchestrator.__file__, "stages": found}))


def chosen(store: Store, count: int) -> list[str]:
    """Stages of every position, the same ones every time."""
    keys = store.keys(FIT)
    return [keys[k * len(keys) // count] for k in range(count)]


def _out_of_reach(
    store: Store, key: str, here: list[str], vault: Path, display: SilentDisplay
) -> str:
    """SHA-256 of the net that comes out while the sealed one is not in the store."""
    known = find_stage(store, key)
    config = alone(apply(known, store, here).config, known.fit.config)
    config = replace(config, tracking=replace(config.tracking, enabled=False))
    data = open_dataset(config.dataset, display.note)
    tree = tree_of([known.fit], fingerprints_of(data.manifest))
    with _moved_out(store, key, vault), store_with_parent(known.fit, store, "here") as aside:
        assert not store.is_sealed(FIT, key) and not aside.is_sealed(FIT, key)
        train(config, aside, data, tree, display)
        again: Any = aside.load(FIT, key)
        return hashlib.sha256(again.read(formats.NET)).hexdigest()


@contextlib.contextmanager
def _moved_out(store: Store, key: str, vault: Path) -> Iterator[None]:
    folder = Path(store.uri, "fit", key[:2], key)
    shutil.move(folder, vault / key)
    try:
        yield
    finally:
        shutil.move(vault / key, folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
