"""How fast the store is: small artefacts, progress, large nets, finding keys.

    python tests/benchmarks/bench_store.py [--json FILE] [--folder DIR] [--artefacts 300]

Sealing is bound by the disk: a seal syncs its data, itself and its folder. So every rate is
measured twice in interleaved rounds, with the disk's syncs and with syncs that do nothing (what the
store itself costs); the raw cost of one sync in the same folder is printed beside it. Goal: 300
seals and loads a second without the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from orchestrator.store import ArtifactKind, Store

ROW = json.dumps({"depth": {"abs_err": 0.123456789, "rel_err": 0.1}}).encode() * 20
ROUNDS = 3


def keys(count: int, purpose: str) -> list[str]:
    return [hashlib.sha256(f"{purpose}{k}".encode()).hexdigest() for k in range(count)]


def rate(count: int, function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return count / (time.perf_counter() - start)


@contextlib.contextmanager
def syncs(real: bool) -> Iterator[None]:
    with contextlib.nullcontext() if real else mock.patch("os.fsync", lambda handle: None):
        yield


def sync_cost(folder: Path) -> float:
    """Seconds for one sync of a small new file; the median of 50."""
    seconds = []
    for k in range(50):
        with open(folder / f"sync{k}", "wb") as file:
            file.write(ROW)
            file.flush()
            start = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def small_artefacts(folder: Path, count: int, real: bool) -> dict[str, float]:
    store, names = Store.open(folder), keys(count, "row")

    def seal() -> None:
        for key in names:
            store.seal(ArtifactKind.EVAL, key, {"row.json": ROW}, {"split": "test"})

    def load() -> None:
        for key in names:
            found = store.load(ArtifactKind.EVAL, key)
            assert found is not None
            assert found.read("row.json") == ROW

    def ask() -> None:
        assert all(store.is_sealed(ArtifactKind.EVAL, key) for key in names)

    with syncs(real):
        return {
            "seals_per_s": rate(count, seal),
            "loads_per_s": rate(count, load),
            "is_sealed_per_s": rate(count, ask),
        }


def progress(folder: Path, epochs: int, real: bool) -> dict[str, float]:
    partial, state = Store.open(folder).partial(keys(1, "fit")[0]), os.urandom(1 << 20)

    def write() -> None:
        for epoch in range(epochs):
            partial.write(state, {"epoch": epoch})

    with syncs(real):
        return {"progress_writes_of_1MiB_per_s": rate(epochs, write)}


def large_net(folder: Path, mebibytes: int, real: bool) -> dict[str, float]:
    store, key = Store.open(folder), keys(1, "net")[0]
    net = os.urandom(mebibytes << 20)
    with syncs(real):
        sealed = rate(mebibytes, lambda: store.seal(ArtifactKind.FIT, key, {"net": net}, {}))
        loaded = rate(mebibytes, lambda: store.load(ArtifactKind.FIT, key))
    return {"seal_MiB_per_s": sealed, "load_MiB_per_s": loaded}


def finding(folder: Path, stages: int) -> dict[str, float]:
    """Prefixes of 8 digits, of one digit, and all keys, among many sealed stages."""
    store, names = Store.open(folder), keys(stages, "stage")
    with syncs(False):
        for key in names:
            store.seal(ArtifactKind.FIT, key, {}, {})
    chosen = names[:: max(1, stages // 100)]

    def milliseconds(function: Callable[[], object]) -> float:
        return 1e3 / rate(1, function)

    assert all(store.resolve(key[:8]) == (ArtifactKind.FIT, key) for key in chosen[:3])
    return {
        "stages": stages,
        "find_8_digits_ms": milliseconds(lambda: [store.find(key[:8]) for key in chosen])
        / len(chosen),
        "find_1_digit_ms": milliseconds(lambda: store.find("a")),
        "all_keys_ms": milliseconds(lambda: store.keys(ArtifactKind.FIT)),
        "is_sealed_all_ms": milliseconds(
            lambda: [store.is_sealed(ArtifactKind.FIT, key) for key in names]
        ),
    }


def median_of(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where the store lies; default: temporary")
    parser.add_argument("--artefacts", type=int, default=300)
    parser.add_argument("--stages", type=int, default=10_000)
    options = parser.parse_args()
    rounds: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for number in range(ROUNDS):
            for real in (True, False):
                here = folder / f"{number}-{real}"
                rounds[real].append(
                    {
                        **small_artefacts(here, options.artefacts, real),
                        **progress(here, 20, real),
                        **large_net(here, 45, real),  # a ResNet-18 with three heads
                    }
                )
        results = {
            "with the disk": {**median_of(rounds[True]), "one_sync_ms": 1e3 * sync_cost(folder)},
            "without the disk": median_of(rounds[False]),
            "finding": finding(folder / "many", options.stages),
        }
    for title, found in results.items():
        print(title)
        for key, value in found.items():
            print(f"  {key:30} {value:12,.2f}")
    if options.json:
        options.json.write_text(json.dumps({"bench": "store", "results": results}, indent=1))


if __name__ == "__main__":
    main()
