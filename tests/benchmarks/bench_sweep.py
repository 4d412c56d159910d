"""What a sweep costs by itself: no-op stages, against the same Tuner with an empty function.

    python tests/benchmarks/bench_sweep.py [--trials N] [--rounds N] [--memory N] [--json FILE]

Interleaved rounds on one private cluster. The sweep asks an Optuna study in sqlite, plans 6 orders
of 3 tasks, waits for its stages in the queue's actor, where a thread of the driver seals them, and
scores order by order. The Tuner beside it has the same concurrency, resources, reuse of processes
and quiet settings, and runs ``pass``. Goal: within 1.3 times.

With ``--memory 1000`` also one sweep of so many trials, and the anonymous memory of the driver and
of the queue's actor after every hundredth. Goal: from the 100th to the 1,000th within 100 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.execution.queue import StageQueue

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def seconds_of_sweep(
    scratch: str,
    trials: int,
    concurrent: int,
    on_trial: Callable[[object], None] = lambda event: None,
) -> float:
    from toy_sweep import LAMBDA, ToyProblem, ToyRunner

    from orchestrator.execution.inline import InlineLane
    from orchestrator.execution.ray_queue import RayQueue
    from orchestrator.search.settings import FloatRange, SearchConfig
    from orchestrator.search.study import distinct_parameters, open_study
    from orchestrator.search.tuner import run_tuner

    space = {LAMBDA: FloatRange(0.1, 30.0, log=True)}
    settings = SearchConfig(trials=trials, space=space, max_concurrent=concurrent)
    queue = RayQueue.start()
    lane = InlineLane("lane", queue, ToyRunner)
    lane.start()
    over = threading.Event()
    driver = threading.Thread(target=_follow, args=(queue, over))
    driver.start()
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as folder:
        began = time.perf_counter()
        study = open_study(settings, f"sqlite:///{folder}/study.db", "bench")
        run_tuner(settings, study, ToyProblem(), queue, scratch, on_trial, _never)
        seconds = time.perf_counter() - began
        assert len(distinct_parameters(study)) == trials
    over.set()
    driver.join(60)
    queue.close()
    lane.join(60)
    queue.kill()
    return seconds


def _follow(queue: StageQueue, over: threading.Event) -> None:
    """Hear events as a driver does, so that the queue may forget them."""
    cursor = 0
    while not over.is_set():
        cursor = queue.poll(cursor, 0.5).cursor


def seconds_of_tuner(scratch: str, trials: int, concurrent: int) -> float:
    from ray import tune

    from orchestrator.search.tuner import Silence, quiet, resources

    tuner = tune.Tuner(
        tune.with_resources(_nothing, resources()),
        param_space={"lambda": tune.loguniform(0.1, 30.0)},
        tune_config=tune.TuneConfig(
            num_samples=trials, max_concurrent_trials=concurrent, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name=f"empty-{time.monotonic_ns()}",
            storage_path=scratch,
            callbacks=[Silence()],
            verbose=0,
        ),
    )
    began = time.perf_counter()
    with quiet():
        tuner.fit()
    return time.perf_counter() - began


def _nothing(config: dict[str, Any]) -> None:
    pass


def _never() -> bool:
    return False


def measure_on(scratch: str, trials: int, concurrent: int, rounds: int) -> dict[str, Any]:
    """On the cluster that this process is connected to; its workers find ``toy_sweep``."""
    sweeps, empties = [], []
    for _ in range(rounds):
        empties.append(seconds_of_tuner(scratch, trials, concurrent))
        sweeps.append(seconds_of_sweep(scratch, trials, concurrent))
    sweep, empty = statistics.median(sweeps), statistics.median(empties)
    return {
        "trials": trials,
        "concurrent": concurrent,
        "sweep_s": sweeps,
        "empty_s": empties,
        "sweep_median_s": sweep,
        "empty_median_s": empty,
        "ratio": sweep / empty,
    }


def memory_of_sweep(scratch: str, trials: int, concurrent: int) -> dict[str, dict[int, float]]:
    """MiB by the number of trials that have ended."""
    from processes import descendants

    from orchestrator.search.events import TrialEnded

    found: dict[str, dict[int, float]] = {"driver": {}, "queue": {}}
    ended = 0

    def look(event: object) -> None:
        nonlocal ended
        if not isinstance(event, TrialEnded):
            return
        ended += 1
        if ended % 100 == 0:
            actors = [
                pid for pid, name in descendants(os.getpid()).items() if "_QueueActor" in name
            ]
            found["driver"][ended] = _anonymous_mib(os.getpid())
            found["queue"][ended] = sum(_anonymous_mib(pid) for pid in actors)

    seconds_of_sweep(scratch, trials, concurrent, look)
    return found


def _anonymous_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status has no RssAnon")


def measure(
    trials: int = 40, concurrent: int = 4, rounds: int = 3, memory: int = 0
) -> dict[str, Any]:
    from orchestrator.execution.cluster import ClusterSettings, connect

    sys.path.insert(0, str(SUPPORT))
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SUPPORT), path]))
    with connect(ClusterSettings(cpus=2)) as cluster:
        seconds_of_tuner(cluster.scratch, concurrent, concurrent)  # Ray's own first times
        figures = measure_on(cluster.scratch, trials, concurrent, rounds)
        if memory:
            figures["memory_mib"] = memory_of_sweep(cluster.scratch, memory, concurrent)
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--concurrent", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=0, help="trials of the memory's sweep")
    given = parser.parse_args()
    figures = measure(given.trials, given.concurrent, given.rounds, given.memory)
    text = json.dumps(figures, indent=2)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
