"""A finished sweep: its tables and its JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from orchestrator.display.summary import Spread
from orchestrator.display.sweep_results import OrderResult, SweepResult, TrialResult
from orchestrator.display.sweep_tables import sweep_tables

AB, BA = ("semantic", "depth"), ("depth", "semantic")


def trial(number: int, *values: float, **changes: Any) -> TrialResult:
    known: dict[str, Any] = {
        "state": "complete",
        "params": {"method.lambda": 0.5 + number, "method.loss.delta": 0.25},
        "values": values,
        "delta_m_pct": (values[0] - 1, values[0] + 1) if values else (),
        "forgetting": (0.1, 0.3) if values else (),
    }
    return TrialResult(number, f"t{number:04d}", **{**known, **changes})


def sweep(*trials: TrialResult, **changes: Any) -> SweepResult:
    known: dict[str, Any] = {
        "name": "sw",
        "recipe": "sweep_rooms",
        "method": "had",
        "reference": "naive",
        "objectives": {"mean_delta_m_pct": "maximize"},
        "orders": (AB, BA),
        "seeds": (0, 1),
        "trials": trials,
        "trials_wanted": len(trials),
        "best": (),
        "store": "/s",
        "study": "sqlite:///s",
        "stages_wanted": 40,
        "stages_unique": 15,
        "stages_trained": 12,
        "stages_reused": 3,
        "seconds": 90.0,
    }
    return SweepResult(**{**known, **changes})


def text(result: SweepResult, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(sweep_tables(result))
    return out.getvalue()


PRUNED = trial(3, state="pruned", delta_m_pct=(99.0,), forgetting=(0.0,))
FAILED = trial(4, state="failed", message="db/semantic is not finite in epoch 2, step 7")


def test_delta_m_is_over_the_orders_of_the_best() -> None:
    result = sweep(trial(0, 5.0), trial(1, 7.0), PRUNED, FAILED, best=("t0001",))
    assert result.delta_m_pct == Spread(7.0, pytest.approx(2**0.5), 2)
    assert result.counts == {"complete": 2, "pruned": 1, "failed": 1}
    assert sweep().delta_m_pct is None
    assert (result.title, sweep(objectives={"x": "maximize"}).title) == ("mean Δm", "x")


def test_with_two_objectives_only_the_front_is_listed() -> None:
    result = sweep(
        trial(0, 10.0, 0.5),
        trial(1, 8.0, 0.1),
        trial(2, 7.0, 0.2),
        best=("t0000", "t0001"),
        objectives={"delta_m_pct": "maximize", "forgetting": "minimize"},
    )
    shown = text(result)
    assert "trials that no other one beats in both" in shown
    assert "t0001" in shown
    assert "t0002" not in shown


def test_tables() -> None:
    orders = (
        OrderResult(AB, Spread(6.0, 0.5, 2), Spread(0.1, 0.01, 2), Spread(0.4, 0.02, 2)),
        OrderResult(BA, Spread(8.0, 0.5, 2), Spread(0.3, None, 1), Spread(0.6, None, 1)),
    )
    result = sweep(
        trial(0, 5.0),
        trial(1, 7.0),
        PRUNED,
        FAILED,
        best=("t0001",),
        best_orders=orders,
        seconds_per_stage=10.0,
    )
    shown = text(result)
    for part in (
        "best setting: t0001",
        "method.lambda 1.5",
        "mean Δm",
        "+7.0 %",
        "semantic → depth",
        "+6.0 ± 0.5 %",
        "30.0 % (n=1)",
        "forgetting ↓ of naive ↓",
        "semantic → depth +6.0 ± 0.5 % 10.0 ± 1.0 % 40.0 ± 2.0 %",
        "mean ± deviation over orders +7.0 ± 1.4 % 20.0 ± 14.1 % 50.0 ± 14.1 %",
        "4 trials x 2 orders x 2 seeds: 2 complete, 1 pruned, 1 failed",
        "failed t0004: db/semantic is not finite in epoch 2, step 7",
        "the best of 3 was chosen",
        "sharing saved 25 of 40 stages (62 %), about 4:10 min of training",
        "15 different stages: 12 trained, 3 reused, 1:30 min",
    ):
        assert part in " ".join(shown.split()), part
    rows = [line.split()[0] for line in shown.splitlines() if line.startswith("  t000")]
    assert rows[:2] == ["t0001", "t0000"]


def test_a_best_that_is_worse_than_the_reference_is_told() -> None:
    assert "no setting beats naive" in text(sweep(trial(0, -0.9), best=("t0000",)))
    assert "no setting beats" not in text(sweep(trial(0, 0.9), best=("t0000",)))


def test_a_sweep_in_which_nothing_is_complete() -> None:
    shown = text(sweep(FAILED, trials_wanted=9))
    assert "9 trials x 2 orders x 2 seeds: 1 failed" in shown
    assert "best setting" not in shown
    assert "none has ended" in text(sweep())


def test_only_the_top_is_shown_and_nothing_is_cut_off() -> None:
    params = {f"method.loss.some_long_name_{i}": 0.123456 for i in range(6)}
    result = sweep(*(trial(i, float(i), params=params) for i in range(30)), best=("t0029",))
    for width in (60, 120):
        shown = text(result, width)
        assert "(the best 10 of 30)" in shown
        assert "t0019" not in shown
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= width


def test_orders_beyond_what_one_reads() -> None:
    orders = tuple(OrderResult((str(i),), Spread(float(i), None, 1), None) for i in range(30))
    result = sweep(trial(0, 1.0), best=("t0000",), best_orders=orders, seeds=(0,))
    assert "6 more: see --json" in text(result)


def test_json() -> None:
    shown = sweep(trial(0, 5.0), PRUNED, FAILED, best=("t0000",)).to_json()
    shown = json.loads(json.dumps(shown, allow_nan=False))
    assert shown["orders"] == [list(AB), list(BA)]
    assert [t["state"] for t in shown["trials"]] == ["complete", "pruned", "failed"]
    assert shown["best"] == ["t0000"]
    assert shown["delta_m_pct"]["mean"] == 5
    assert shown["stages_shared"] == 25
