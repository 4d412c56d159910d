"""A report of made-up numbers: a comparison or a sweep, without a store or any training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

from had_core.tasks import DenseTask, TaskKind
from orchestrator.display.comparison import CompareResult
from orchestrator.display.results import RunResult, SequenceResult, metrics_of
from orchestrator.display.sweep_results import SweepResult, TrialResult
from orchestrator.report.model import (
    Cost,
    Example,
    Gallery,
    Hours,
    Made,
    Report,
    Shown,
    SweepPart,
)

TASKS = (
    DenseTask("depth", TaskKind.SCALAR, 1, unit="m", relative_error=True),
    DenseTask("normal", TaskKind.UNIT_VECTOR, 3),
    DenseTask("semantic", TaskKind.LABELS, 5),
)
ORDERS = (("semantic", "depth", "normal"), ("normal", "depth", "semantic"))
# Method -> what a task keeps of its quality with every later stage.
KEEPS = {"naive": 0.5, "lwf": 0.8, "had": 0.9}


def sequence(
    method: str,
    order: Sequence[str] = ORDERS[0],
    seed: int = 0,
    *,
    stages: int | None = None,
    delta: float | None = None,
) -> SequenceResult:
    """Every metric falls from 0.8 (or rises from 1.25) as the method forgets.

    Args:
        stages: that are scored; None for all of them.
    """
    keeps = KEEPS[method.split()[0]] + 0.01 * seed
    scored = len(order) if stages is None else stages
    by_name = {task.name: task for task in TASKS}
    rows = []
    for position in range(1, len(order) + 1):
        row = {}
        for learned, name in enumerate(order[:position], 1):
            quality = 0.8 * keeps ** (position - learned)
            metrics = by_name[name].metrics
            row[name] = {m.name: quality if m.direction.sign > 0 else 1 / quality for m in metrics}
        rows.append(row if position <= scored else {})
    whole = scored == len(order)
    return SequenceResult(
        method=method,
        order=tuple(order),
        seed=seed,
        r_matrix=tuple(rows),
        delta_m_pct=delta if whole else None,
        delta_m_plain_pct=delta if whole else None,
        forgetting=1 - keeps if whole else None,
        bwt=keeps - 1 if whole else None,
    )


def compared(*methods: str, seeds: Sequence[int] = (0, 1)) -> CompareResult:
    """``naive`` and the methods, over both orders; had is 20 % better, lwf 10 %."""
    deltas = {"lwf": 10.0, "had": 20.0}
    sequences = [
        sequence(name, order, seed, delta=deltas[name] + 4 * k + seed if name in deltas else None)
        for name in ("naive", *methods)
        for k, order in enumerate(ORDERS)
        for seed in seeds
    ]
    metrics = metrics_of(TASKS)
    return CompareResult(
        RunResult("made up", "rooms", metrics, tuple(sequences), "/store", "naive")
    )


def with_bound(result: CompareResult) -> CompareResult:
    """And ``joint``, which is better than all, and scored once."""
    bounds = []
    for known in result.run.sequences:
        if known.method == "naive":
            last = {task: dict.fromkeys(row, 0.95) for task, row in known.r_matrix[-1].items()}
            rows = (*({} for _ in known.order[1:]), last)
            bounds.append(SequenceResult("joint", known.order, known.seed, rows, delta_m_pct=90.0))
    run = result.run
    return CompareResult(replace(run, sequences=(*run.sequences, *bounds)))


def made_up(result: CompareResult | None = None, **changes: object) -> Report:
    """A finished comparison of ``result``."""
    known = Report(
        name="made-up",
        kind="compare",
        recipe="rooms",
        state="finished",
        split="test",
        begun="2026-01-01 00:00:00 UTC",
        ended="2026-01-01 01:00:00 UTC",
        result=result or with_bound(compared("lwf", "had")),
        cost=Cost(24, 18, 15, 3, {"CPU": Hours(1.5, 0.25, 2.5), "Some GPU": Hours(0.5, 0, 0.5)}),
        made=Made({"it was begun with": "had compare methods=[naive,lwf]"}, {"net": "tiny"}),
        gallery=gallery(),
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def made_up_sweep(trials: int = 5) -> Report:
    """A sweep over lambda and beta: the later a trial, the better."""
    results = tuple(
        TrialResult(
            number=k,
            label=f"t{k:04d}",
            state="complete",
            params={"method.lambda": 0.5 * 2**k, "method.loss.beta": 0.1 * k},
            values=(float(k),),
            delta_m_pct=(k - 1.0, k + 1.0),
            forgetting=(0.1, 0.2),
        )
        for k in range(trials)
    )
    best = results[-1:]
    result = SweepResult(
        name="made-up",
        recipe="rooms",
        method="had",
        reference="naive",
        objectives={"mean_delta_m_pct": "maximize"},
        orders=ORDERS,
        seeds=(0,),
        trials=results,
        trials_wanted=trials,
        best=tuple(trial.label for trial in best),
        stages_wanted=24,
        stages_unique=18,
        stages_trained=15,
        store="/store",
        study="sqlite:///study.db",
        again=("method.lambda=8.0", "method.loss.beta=0.4") if best else (),
    )
    shares = {"mean_delta_m_pct": {"method.lambda": 0.7, "method.loss.beta": 0.3}} if best else {}
    part = SweepPart(result, shares, frozenset({"method.lambda"}))
    return made_up(compared("had", seeds=(0,)), kind="sweep", split="val", sweep=part)


def gallery() -> Gallery:
    """One task, two methods, one picture missing."""
    after = {"after semantic": png(10), "after depth": png(20)}
    shown = (Shown("naive", after), Shown("had", {"after semantic": png(30)}))
    examples = (Example("semantic", png(1), png(2), png(3), shown),)
    return Gallery(ORDERS[0], 0, examples, "Pictures of 1 stages are not in the store.")


def png(shade: int) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, shade, shade)).save(target, "PNG")
    return target.getvalue()
