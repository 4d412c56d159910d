"""How long the stage-3 step takes, against a plain step, and how much memory it needs.

    python tests/benchmarks/bench_step.py --json OUT [--rounds N] [--variant paper|released]

ResNet-18, batch 4, 288x384, 2 threads; old tasks semantic (13 classes) and depth, new task normal.
Our steps are made by ``had_core.stage.prepare``, as in a run; the plain step is
``reference_step.py``. Rounds are interleaved in one process, so that a busy machine slows all
alike, and ratios are medians over rounds of (our step + its share of filling the cache) / plain
step. Peak memory is anonymous memory (the cache is a mapped file), each step in its own process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning is slow on a busy machine
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout, installed or not

import torch
from peak_memory import peak_mib, supported
from step_problem import EPOCHS, OURS, REFERENCE, OurStep, Problem, Setting, Step

from had_core.methods.had import Variant

THREADS = 2
FLOAT32_TARGET, BF16_TARGET = 0.65, 0.40
L_NEW_TOLERANCE, HAD_TOLERANCE = 1e-5, 1e-4


def measure(problem: Problem, rounds: int) -> dict[str, Any]:
    """Terms of the first step and seconds of ``rounds`` interleaved steps, for every step."""
    steps: dict[str, Step] = {name: problem.step(name) for name in (REFERENCE, *OURS)}
    values = {name: dict(step()) for name, step in steps.items()}  # also warms every kernel up
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    fill: dict[str, list[float]] = {name: [] for name in OURS if name.endswith("cached")}
    for _ in range(rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
            if name in fill and isinstance(step, OurStep):
                fill[name].append(step.fill_seconds())
    return {"values": values, "seconds": seconds, "fill_seconds": fill}


def summarise(measured: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Medians, ratios to the reference (filling included) and gaps of the values, per step."""
    expected, baseline = measured["values"][REFERENCE], measured["seconds"][REFERENCE]
    rows: dict[str, dict[str, Any]] = {}
    for name, seconds in measured["seconds"].items():
        fill = measured["fill_seconds"].get(name, [0.0] * len(seconds))
        whole = [step + filling / EPOCHS for step, filling in zip(seconds, fill, strict=True)]
        rows[name] = {
            "seconds": statistics.median(whole),
            "of_which_filling": statistics.median(fill) / EPOCHS,
            "ratio": statistics.median(w / b for w, b in zip(whole, baseline, strict=True)),
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
    yield f"{'step':<16}{'seconds':>9}{'ratio':>8}{'gap L_new':>11}{'gap HAD':>10}{'peak MiB':>10}"
    for name, row in rows.items():
        peak = "?" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
        gaps = f"{row['gap_L_new']:>11.1e}{row['gap_HAD']:>10.1e}"
        yield f"{name:<16}{row['seconds']:>9.3f}{row['ratio']:>8.3f}{gaps}{peak:>10}"
    for target, ok in reached.items():
        yield f"{target}: {'reached' if ok else 'unknown here' if ok is None else 'NOT REACHED'}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--variant", choices=[v.value for v in Variant], default="paper")
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
        row["peak_mib"] = peak_memory_apart(name, again)
    reached = judge(rows)
    print("\n".join(table(rows, reached)))
    if options.json:
        machine = {"torch": torch.__version__, "threads": THREADS, "bf16": has_bf16()}
        facts = {"setting": repr(setting), "machine": machine, "steps": rows, "targets": reached}
        options.json.write_text(json.dumps({**facts, "measured": measured}, indent=1) + "\n")
    return 0 if reached["L_new within 1e-5"] and reached["HAD within 1e-4"] else 1


if __name__ == "__main__":
    sys.exit(main())
