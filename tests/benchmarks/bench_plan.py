"""How fast plans are made: keys, tree and dry run over all orders of T tasks.

    python tests/benchmarks/bench_plan.py [--json FILE] [--tasks 8] [--rounds 3]

The goal is under 10 s for all orders of 8 tasks: 322,560 stages wanted, 109,600 of them different.
Processor seconds and, last, wall seconds; medians over rounds, each of which builds all anew.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from had_core.configs import NetConfig, SlicingConfig, TrainConfig
from had_core.methods import HadConfig, MethodConfig, NaiveConfig
from orchestrator.plan import PlanRequest, PrefixTree, dry_run, expand


def request_of(method: MethodConfig, names: tuple[str, ...]) -> PlanRequest:
    return PlanRequest(
        method=method,
        orders=tuple(itertools.permutations(names)),
        seeds=(0,),
        net=NetConfig(),
        train=TrainConfig(),
        slicing=SlicingConfig(slices=len(names)),
        fingerprints={"train": "a" * 64, "test": "b" * 64},
    )


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds, which other programs on the machine do not lengthen."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def one_round(method: MethodConfig, names: tuple[str, ...]) -> dict[str, float]:
    began = time.perf_counter()
    request_s, request = timed(lambda: request_of(method, names))
    expand_s, sequences = timed(lambda: expand(request))
    tree_s, tree = timed(lambda: PrefixTree.of(sequences))
    dry_s, report = timed(lambda: dry_run(tree, lambda kind, key: False))
    return {
        "wanted": report.stages_wanted,
        "unique": report.unique,
        "orders_s": request_s,
        "expand_s": expand_s,
        "keys_and_tree_s": tree_s,
        "dry_run_s": dry_s,
        "total_s": request_s + expand_s + tree_s + dry_s,
        "wall_s": time.perf_counter() - began,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    names = tuple(f"task{k}" for k in range(options.tasks))
    methods = {
        "naive": NaiveConfig(),
        "had": HadConfig(),
        "had, a weight a task": HadConfig(weight={n: 1.0 + k for k, n in enumerate(names)}),
    }
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    for _ in range(options.rounds):
        for name, method in methods.items():
            rounds[name].append(one_round(method, names))
    medians = {
        name: {key: statistics.median(r[key] for r in found) for key in found[0]}
        for name, found in rounds.items()
    }
    for name, found in medians.items():
        print(name)
        for key, value in found.items():
            print(f"  {key:16} {value:10,.2f}" if key.endswith("_s") else f"  {key:16} {value:7,}")
    if options.json:
        options.json.write_text(json.dumps({"bench": "plan", "results": medians}, indent=1))


if __name__ == "__main__":
    main()
