"""What a sweep costs by itself: no-op stages, against the same Tuner with an empty function.

    python -m tests.benchmarks.bench_sweep [--trials N] [--rounds N] [--json FILE]

Interleaved rounds on one private cluster. The sweep asks an Optuna study in sqlite, plans 6 orders
of 3 tasks, waits for its stages in the queue's actor, where a thread of the driver seals them, and
scores order by order. The Tuner beside it has the same concurrency, resources, reuse of processes
and quiet settings, and runs ``pass``. Goal: within 1.3 times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def seconds_of_sweep(scratch: str, trials: int, concurrent: int) -> float:
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
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as folder:
        began = time.perf_counter()
        study = open_study(settings, f"sqlite:///{folder}/study.db", "bench")
        run_tuner(settings, study, ToyProblem(), queue, scratch, _ignore, _never)
        seconds = time.perf_counter() - began
        assert len(distinct_parameters(study)) == trials
    queue.close()
    lane.join(60)
    queue.kill()
    return seconds


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


def _ignore(event: object) -> None:
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


def measure(trials: int = 40, concurrent: int = 4, rounds: int = 3) -> dict[str, Any]:
    from orchestrator.execution.cluster import ClusterSettings, connect

    sys.path.insert(0, str(SUPPORT))
    path = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SUPPORT), path]))
    with connect(ClusterSettings(cpus=2)) as cluster:
        seconds_of_tuner(cluster.scratch, concurrent, concurrent)  # Ray's own first times
        return measure_on(cluster.scratch, trials, concurrent, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--concurrent", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    text = json.dumps(measure(given.trials, given.concurrent, given.rounds), indent=2)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
