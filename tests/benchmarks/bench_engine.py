"""What the engine costs by itself: stages a second through lanes, and memory over many trials.

    python -m tests.benchmarks.bench_engine [--short] [--trials N] [--json FILE]

A private cluster of 2 CPUs and its lanes; every stage is a no-op, or seals a file in a store. Eight
threads of the driver are the trials: each submits 12 stages of its own under 3 that all share, as
a sweep over the orders of three tasks does, waits for all and drops them. The driver follows the
events as it does in a sweep. Goals: 100 stages a second once lanes are up, with a seal in each; the
memory of the driver and of the engine's process at trial 1000 within 100 MiB of that at trial 100.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).resolve().parents[1] / "support"
CONCURRENT, OWN, SHARED = 8, 12, 3
MIB = 2**20
SPEC = {"fit": {f"setting {n}": "x" * 40 for n in range(50)}}  # about as long as a real one


def works_of(trial: int) -> list[Any]:
    """Three shared first stages, two second ones under each, one third under each of those."""
    from orchestrator.execution.messages import StageWork

    works = [StageWork(f"first {n}", None, SPEC, run="bench") for n in range(SHARED)]
    for first, second in itertools.product(range(SHARED), range(2)):
        middle, last = (f"{trial}: {first} {second} {depth}" for depth in ("second", "third"))
        works.append(StageWork(middle, f"first {first}", SPEC, run="bench", sequence=str(trial)))
        works.append(StageWork(last, middle, SPEC, run="bench", sequence=str(trial)))
    return works


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024 / MIB
    raise RuntimeError(f"process {pid} has no resident memory")


def engine_pid(queue: Any) -> int:
    from processes import descendants

    queue.poll(0)  # it is there
    named = [p for p, c in descendants(os.getpid()).items() if c.startswith("ray::_QueueActor")]
    (pid,) = named
    return pid


class Trials:
    """What the threads of the driver do."""

    def __init__(self, session: Any, count: int, marks: tuple[int, ...]) -> None:
        self._session, self._marks = session, marks
        self._numbers = iter(range(count))
        self._lock = threading.Lock()
        self.done = 0
        self.memory: dict[int, dict[str, float]] = {}
        self._engine = engine_pid(session.queue)

    def run(self) -> None:
        from orchestrator.execution.wants import Wants

        while (number := self._next()) is not None:
            works = works_of(number)
            keys = {work.key for work in works}
            with Wants(self._session.queue, f"t{number:04}", works) as wants:
                while keys - wants.ended.keys():
                    wants.wait(keys, 10.0)
            self._count()

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _count(self) -> None:
        with self._lock:
            self.done += 1
            if self.done in self._marks:
                pids = {"driver_mib": os.getpid(), "engine_mib": self._engine}
                self.memory[self.done] = {name: rss_mib(pid) for name, pid in pids.items()}


def measure_on(
    cluster: Any, trials: int, store: str | None = None, marks: tuple[int, ...] = ()
) -> dict[str, Any]:
    """On a cluster that this process is connected to; its workers find ``noop_seals``."""
    from noop_seals import SealRunner, SealSettings

    from orchestrator.execution.messages import Outcome, StageLeased
    from orchestrator.execution.placement import Placement
    from orchestrator.execution.session import engine_session
    from orchestrator.store import Store

    ended: list[float] = []
    began: list[float] = []

    def hear(event: object) -> None:
        if isinstance(event, StageLeased) and not began:
            began.append(time.perf_counter())
        if isinstance(event, Outcome):
            ended.append(time.perf_counter())

    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder:
        home = Store.open(store or folder)
        make = functools.partial(SealRunner, SealSettings(store))
        place = Placement(Path(folder), cluster.settings)
        with engine_session(home, place, cluster, make_runner=make) as session:
            work = Trials(session, trials, marks)
            threads = [threading.Thread(target=work.run) for _ in range(CONCURRENT)]

            def finish() -> None:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                session.close()

            threading.Thread(target=finish).start()
            session.watch(hear)
    seconds = ended[-1] - began[0]
    return {
        "trials": trials,
        "lanes": cluster.settings.lanes,
        "sealing": store is not None,
        "stages": len(ended),
        "seconds": seconds,
        "stages_per_s": len(ended) / seconds,
        "memory": work.memory,
    }


@contextmanager
def cluster_of(lanes: int) -> Iterator[Any]:
    from orchestrator.execution.cluster import ClusterSettings, connect

    sys.path.insert(0, str(SUPPORT))
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SUPPORT), path]))
    with connect(ClusterSettings(cpus=2, lanes=lanes, threads=1)) as cluster:
        yield cluster


def growth_mib(figures: dict[str, Any], early: int, late: int) -> dict[str, float]:
    memory = figures["memory"]
    return {name: memory[late][name] - memory[early][name] for name in memory[early]}


def measure(trials: int = 1000, short: bool = False) -> dict[str, Any]:
    early = trials // 10
    with cluster_of(lanes=1) as cluster, tempfile.TemporaryDirectory() as folder:
        sealing = measure_on(cluster, min(trials, 20 if short else 100), folder)
        plain = measure_on(cluster, trials, None, (early, trials))
        growth = growth_mib(plain, early, trials)
    return {"no_op": plain, "sealing": sealing, "growth_mib": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--trials", type=int, default=None)
    parser.add_argument("--short", action="store_true", help="50 trials: less than a minute")
    given = parser.parse_args()
    trials = given.trials or (50 if given.short else 1000)
    text = json.dumps(measure(trials, given.short), indent=2)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
