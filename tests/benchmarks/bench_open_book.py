"""How fast ``had runs``, ``had show`` and ``had explain`` answer over a big store.

    python tests/benchmarks/bench_open_book.py [--runs 1000] [--seeds 5] [--store FOLDER]

The store is generated (tests/support/made_up_store.py): real specs and seals, made-up numbers, and
files of a few bytes. Every command is timed as a process of its own, start-up included. A store
that is there already is used again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from made_up_store import MadeUpStore

from had_core.methods import HadConfig
from orchestrator.plan import ArtifactKind

ORDER = ("semantic", "depth", "normal")


def generate(root: Path, runs: int, seeds: int) -> None:
    """Every run has its own weight: they share first stages only."""
    os.fsync = lambda handle: None  # type: ignore[assignment]  # a power cut may take this store
    made = MadeUpStore(root)
    for k in range(runs):
        made.run(
            f"run-{k:05d}",
            method=HadConfig(weight=0.5 + k / 100),
            orders=(ORDER,),
            seeds=range(seeds),
        )


def measure(root: Path, *words: str) -> float:
    command = [sys.executable, "-m", "orchestrator.cli.main", *words, "--store", str(root)]
    began = time.perf_counter()
    subprocess.run([*command, "--json"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--store", type=Path, default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = asked.store or Path(scratch) / "store"
        if not root.exists():
            generate(root, asked.runs, asked.seeds)
        store = MadeUpStore(root).store
        keys = store.keys(ArtifactKind.FIT)
        print(f"{len(keys)} stages, {len(store.runs.list())} runs")
        for words in (
            ("runs",),
            ("runs", "run-00000"),
            ("show", keys[0][:16]),
            ("explain", keys[0][:16], keys[-1][:16]),
            ("explain", keys[0][:16]),
        ):
            times = sorted(measure(root, *words) for _ in range(3))
            print(f"had {' '.join(words):<50} {times[1]:.2f} s (best {times[0]:.2f} s)")


if __name__ == "__main__":
    main()
