"""How close a sweep comes to what sharing stages allows, against sequences trained one by one.

    python tests/benchmarks/bench_sharing.py [--json FILE] [--images 480] [--epochs 4] [--orders 6]

A grid of 4 weights over all 6 orders of 3 tasks, and naive: 30 sequences of 90 stages, 63 of them
different. Plain: every sequence by ``had_core.run_sequence``, one after the other in one process;
with 1 and with 2 threads, the faster counts. Sweep: ``had sweep`` over the same settings on two
lanes of one thread, timed from the first stage's lease to the last trial's end, so that starting
Ray and its lanes is left out. The bound is what the plain process would need for the different
stages alone, from its own measured stage times. Goal: sweep <= 1.05 x bound, and with equal
threads the final metrics of every sequence equal to the last digit.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this checkout, installed or not

WEIGHTS = (0.3, 1.0, 3.0, 10.0)
GOAL = 1.05


@dataclass
class Plain:
    """One process, one sequence after the other; seconds."""

    threads: int
    wall: float = 0.0
    stages: dict[str, list[float]] = field(default_factory=dict)  # by what decides a stage
    rows: dict[str, Any] = field(default_factory=dict)  # by method and order, the last row

    @property
    def bound(self) -> float:
        """What the different stages alone take: each at its mean time."""
        return sum(sum(seconds) / len(seconds) for seconds in self.stages.values())


def settings(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Overrides that both sides share."""
    return [
        "experiment=quickstart",
        "orders=all",
        f"dataset.path={folder}/rooms",
        f"dataset.build.train={arguments.images}",
        "dataset.build.test=16",
        "dataset.build.height=96",
        "dataset.build.width=128",
        f"train.epochs={arguments.epochs}",
        f"store.root={folder}/store",
        "tracking=sqlite",
        "name=sharing",
        "search=grid",
        f"search.space={{method:{{lambda:[{','.join(map(str, WEIGHTS))}]}}}}",
        "cluster.lanes=2",
        "cluster.threads=1",
    ]


def plain(overrides: list[str], threads: int, count: int) -> Plain:
    """In this process: every sequence, naive first."""
    import torch

    from had_core import HadConfig, ShardDataset, run_sequence, sequence
    from had_core.methods import NaiveConfig
    from orchestrator.config import compose

    torch.set_num_threads(threads)
    config = compose(overrides)
    dataset = ShardDataset.open(Path(config.dataset.path))
    result = Plain(threads)
    fit, evaluate = sequence.fit, sequence.evaluate
    spent: list[float] = []

    def timed(function: Any, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        value = function(*args, **kwargs)
        spent.append(time.perf_counter() - started)
        return value

    sequence.fit = lambda *a, **k: timed(fit, *a, **k)  # type: ignore[attr-defined]
    sequence.evaluate = lambda *a, **k: timed(evaluate, *a, **k)  # type: ignore[attr-defined]
    methods = [NaiveConfig(), *(HadConfig(weight=weight) for weight in WEIGHTS)]
    run_sequence(  # warms up whatever is slow only once
        dataset,
        ["depth"],
        NaiveConfig(),
        net=config.net,
        train=config.train,
        split="val",
        slicing=config.slicing,
    )
    started = time.perf_counter()
    for method, order in itertools.product(methods, config.orders[:count]):
        spent.clear()
        stages = run_sequence(
            dataset,
            list(order),
            method,
            net=config.net,
            train=config.train,
            slicing=config.slicing,
            split="val",
        )
        name = f"{method.name}:{getattr(method, 'weight', 0)}"
        for k in range(len(order)):
            known = "naive:0" if k == 0 else name  # a first stage is everybody's
            place = f"{known}:{'>'.join(order[: k + 1])}"
            result.stages.setdefault(place, []).append(spent[2 * k] + spent[2 * k + 1])
        result.rows[f"{name}:{'>'.join(order)}"] = stages[-1].row
    result.wall = time.perf_counter() - started
    return result


def plain_apart(overrides: list[str], threads: int, count: int, folder: Path) -> Plain:
    """The same in a fresh process, as a person would start it."""
    out = folder / f"plain-{threads}.json"
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    arguments = ["--plain", str(threads), "--out", str(out), "--orders", str(count), *overrides]
    subprocess.run([sys.executable, __file__, *arguments], env=environment, check=True)
    return Plain(**json.loads(out.read_text()))


def swept(overrides: list[str]) -> tuple[float, Any, dict[str, Any]]:
    """Seconds from the first lease to the last trial's end, the result, and every last row."""
    from rich.console import Console

    from orchestrator.app.sweep import sweep
    from orchestrator.config import compose
    from orchestrator.display.sweep_live import SilentSweepDisplay
    from orchestrator.execution.messages import StageLeased
    from orchestrator.search.events import TrialEnded

    marks: dict[str, float] = {}

    class Watch(SilentSweepDisplay):
        def event(self, event: Any) -> None:
            if isinstance(event, StageLeased):
                marks.setdefault("begin", time.perf_counter())

        def trial(self, event: Any) -> None:
            if isinstance(event, TrialEnded):
                marks["end"] = time.perf_counter()

    config = compose(overrides)
    result = sweep(config, Watch(Console(file=io.StringIO())))
    return marks["end"] - marks["begin"], result, _rows(config, result)


def _rows(config: Any, result: Any) -> dict[str, Any]:
    from had_core.data import DatasetManifest
    from orchestrator.app.datasets import fingerprints_of
    from orchestrator.app.sweep_problem import SweepProblem

    manifest = DatasetManifest.read(Path(config.dataset.path))
    tasks = tuple(task for task in manifest.tasks if task.name in config.tasks)
    constant = {task.name: {} for task in tasks}
    problem = SweepProblem(config, fingerprints_of(manifest), tasks, constant)
    rows: dict[str, Any] = {}
    for trial in result.trials:
        for sequence in problem.results(trial.params):
            weight = float(trial.params["method.lambda"]) if sequence.method == "had" else 0
            rows[f"{sequence.method}:{weight}:{'>'.join(sequence.order)}"] = sequence.r_matrix[-1]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--orders", type=int, default=6, help="of 6; fewer for a short look")
    parser.add_argument("--plain", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain is not None:
        done = plain(arguments.overrides, arguments.plain, arguments.orders)
        arguments.out.write_text(json.dumps(asdict(done)))
        return
    with tempfile.TemporaryDirectory(prefix="had-bench-") as name:
        report = compare(arguments, Path(name))
    print(json.dumps(report, indent=2))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=2))


def compare(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from had_core.data.rooms import RoomsConfig, build
    from orchestrator.config import compose

    overrides = settings(arguments, folder)
    if arguments.orders < 6:
        chosen = list(itertools.permutations(compose(overrides).tasks))[: arguments.orders]
        listed = ",".join(f"[{','.join(order)}]" for order in chosen)
        overrides = [*overrides, f"orders=[{listed}]"]
    size = compose(overrides).dataset.build
    build(folder / "rooms", RoomsConfig(**asdict(size)))
    single = plain_apart(overrides, 1, arguments.orders, folder)
    seconds, result, rows = swept(overrides)
    double = plain_apart(overrides, 2, arguments.orders, folder)
    best = min(single, double, key=lambda side: side.wall)
    equal = {name: json.loads(json.dumps(rows[name])) == row for name, row in single.rows.items()}
    return {
        "sequences": len(single.rows),
        "stages_wanted": sum(map(len, single.stages.values())),
        "stages_unique": len(single.stages),
        "stages_trained_by_sweep": result.stages_trained,
        "plain_1_thread_s": single.wall,
        "plain_2_threads_s": double.wall,
        "plain_best_threads": best.threads,
        "bound_s": best.bound,
        "sweep_s": seconds,
        "sweep_over_bound": seconds / best.bound,
        "goal": GOAL,
        "speedup_over_plain": best.wall / seconds,
        "sequences_equal": sum(equal.values()),
        "different": sorted(name for name, same in equal.items() if not same),
    }


if __name__ == "__main__":
    main()
