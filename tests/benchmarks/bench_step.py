"""How long the stage-3 step takes, against a plain step, and how much memory it needs.

    python tests/benchmarks/bench_step.py --json OUT [--rounds N] [--variant paper|released]

ResNet-18, batch 4, 288x384, 2 threads; old tasks semantic (13 classes) and depth, new task normal.
Our steps are made by ``had_core.stage.prepare``, as in a run; the plain step is
``reference_step.py``. Rounds are interleaved in one process, so that a busy machine slows all
alike, and ratios are medians over rounds of (our step + its share of filling the cache) / plain
step. The ratio of processor time stands beside it: other programs hardly move it. Peak memory is
anonymous memory (the cache is a mapped file), each step in its own process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning is slow on a busy machine
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout, installed or not

import torch
from peak_memory import peak_mib, supported
from step_problem import EPOCHS, OURS, REFERENCE, OurStep, Problem, Setting, Step

from had_core.methods.had import Variant

THREADS = 2
FLOAT32_TARGET, BF16_TARGET = 0.65, 0.40
L_NEW_TOLERANCE, HAD_TOLERANCE = 1e-5, 1e-4


class Cost(NamedTuple):
    """Wall time, and processor time of all threads, in seconds."""

    wall: float
    processor: float


def timed(work: Callable[[], object]) -> Cost:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - processor)


def measure(problem: Problem, rounds: int) -> dict[str, Any]:
    """Terms of the first step and cost of ``rounds`` interleaved steps, for every step."""
    steps: dict[str, Step] = {name: problem.step(name) for name in (REFERENCE, *OURS)}
    values = {name: dict(step()) for name, step in steps.items()}  # also warms every kernel up
    fills = {
        name: step.fill
        for name, step in steps.items()
        if name.endswith("cached") and isinstance(step, OurStep)
    }
    for fill in fills.values():
        fill()
    cost: dict[str, list[Cost]] = {name: [] for name in steps}
    filling: dict[str, list[Cost]] = {name: [] for name in fills}
    for _ in range(rounds):
        for name, step in steps.items():
            cost[name].append(timed(step))
            if name in fills:
                filling[name].append(timed(fills[name]))
    return {"values": values, "cost": cost, "filling": filling}


def summarise(measured: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Medians, ratios to the reference (filling included) and gaps of the values, per step."""
    expected, baseline = measured["values"][REFERENCE], measured["cost"][REFERENCE]
    rows: dict[str, dict[str, Any]] = {}
    for name, cost in measured["cost"].items():
        filling = measured["filling"].get(name, [Cost(0.0, 0.0)] * len(cost))
        whole = [
            Cost(*(own + share / EPOCHS for own, share in zip(step, fill, strict=True)))
            for step, fill in zip(cost, filling, strict=True)
        ]
        pairs = list(zip(whole, baseline, strict=True))
        rows[name] = {
            "seconds": statistics.median(step.wall for step in whole),
            "of_which_filling": statistics.median(fill.wall for fill in filling) / EPOCHS,
            "ratio": statistics.median(step.wall / plain.wall for step, plain in pairs),
            "processor_ratio": statistics.median(
                step.processor / plain.processor for step, plain in pairs
            ),
            "gap_L_new": relative_gap(measured["values"][name], expected, ("new/",)),
            "gap_HAD": relative_gap(measured["values"][name], expected, ("db/", "sg/")),
        }
    return rows


def relative_gap(
    found: Mapping[str, float], expected: Mapping[str, float], prefixes: tuple[str, ...]
) -> float:
    """Largest relative gap of a term whose name starts with one of the prefixes."""
    assert found.keys() == expected.keys(), (found.keys(), expected.keys())
    names = [name for name in expected if name.startswith(prefixes)]
    gaps = [abs(found[name] - expected[name]) for name in names]
    return max(
        gap / abs(expected[name]) if gap else 0.0 for name, gap in zip(names, gaps, strict=True)
    )


def peak_memory_apart(name: str, options: list[str]) -> float | None:
    """Peak of two steps in a process of its own, MiB; None where the system does not tell."""
    if not supported():
        return None
    command = [sys.executable, __file__, *options, "--peak-memory-of", name]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(result.stdout.split()[-1])


def peak_memory_of(problem: Problem, name: str) -> float:
    step = problem.step(name)
    return peak_mib(lambda: (step(), step()))


def has_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware (AMX or AVX-512)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def judge(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, bool | None]:
    """Each target: reached or not; None where this machine cannot tell."""
    peaks = {name: row["peak_mib"] for name, row in rows.items()}
    known = None not in peaks.values()
    exact = [row for name, row in rows.items() if name.startswith("float32")]
    return {
        "float32 cached <= 0.65": rows["float32 cached"]["ratio"] <= FLOAT32_TARGET,
        "bf16 cached <= 0.40": rows["bf16 cached"]["ratio"] <= BF16_TARGET if has_bf16() else None,
        "L_new within 1e-5": all(row["gap_L_new"] <= L_NEW_TOLERANCE for row in exact),
        "HAD within 1e-4": all(row["gap_HAD"] <= HAD_TOLERANCE for row in exact),
        "peak memory <= reference": max(peaks.values()) <= peaks[REFERENCE] if known else None,
    }


def table(
    rows: Mapping[str, Mapping[str, Any]], reached: Mapping[str, bool | None]
) -> Iterator[str]:
    yield (
        f"{'step':<16}{'seconds':>9}{'ratio':>8}{'cpu ratio':>11}{'gap L_new':>11}{'gap HAD':>10}"
        f"{'peak MiB':>10}"
    )
    for name, row in rows.items():
        peak = "?" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
        gaps = f"{row['gap_L_new']:>11.1e}{row['gap_HAD']:>10.1e}"
        times = f"{row['seconds']:>9.3f}{row['ratio']:>8.3f}{row['processor_ratio']:>11.3f}"
        yield f"{name:<16}{times}{gaps}{peak:>10}"
    for target, ok in reached.items():
        yield f"{target}: {'reached' if ok else 'unknown here' if ok is None else 'NOT REACHED'}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--variant", choices=[v.value for v in Variant], default="paper")
    parser.add_argument("--no-memory", action="store_true", help="times and values alone")
    parser.add_argument("--smoke", action="store_true", help="a small problem, one round")
    parser.add_argument("--peak-memory-of", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Exit code 1 where values disagree; times depend on the machine and decide nothing."""
    options = arguments()
    size = {"batch": 2, "height": 64, "width": 96, "decoder_channels": 16} if options.smoke else {}
    setting = Setting(variant=Variant(options.variant), **size)
    torch.set_num_threads(THREADS)
    problem = Problem.make(setting)
    if options.peak_memory_of:
        print(peak_memory_of(problem, options.peak_memory_of))
        return 0
    measured = measure(problem, 1 if options.smoke else options.rounds)
    rows = summarise(measured)
    again = ["--variant", options.variant, *(["--smoke"] if options.smoke else [])]
    for name, row in rows.items():
        row["peak_mib"] = None if options.no_memory else peak_memory_apart(name, again)
    reached = judge(rows)
    print("\n".join(table(rows, reached)))
    if options.json:
        machine = {"torch": torch.__version__, "threads": THREADS, "bf16": has_bf16()}
        facts = {"setting": repr(setting), "machine": machine, "steps": rows, "targets": reached}
        options.json.write_text(json.dumps({**facts, "measured": measured}, indent=1) + "\n")
    return 0 if reached["L_new within 1e-5"] and reached["HAD within 1e-4"] else 1


if __name__ == "__main__":
    sys.exit(main())
