"""One row for every number, in an order that depends on nothing but the numbers."""

from __future__ import annotations

import io
import json
import random
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from orchestrator.app.results_table import TrialRows, results_table, to_bytes, write_results
from orchestrator.display.results import SequenceResult, StageResult
from orchestrator.store import Store

ORDERS = (("depth", "normal"), ("normal", "depth"))
METHODS = {"naive": "naive", "had_l3": "had"}


def _sequence(label: str, order: tuple[str, ...], gain: float | None) -> SequenceResult:
    stages = tuple(
        StageResult(f"{label}{order}{n}", (task,), n, reused=n == 1)
        for n, task in enumerate(order, start=1)
    )
    first = {order[0]: {"a": 0.5, "b": None}}
    second = {order[1]: {"a": 0.25, "b": 1.0}, **first}
    return SequenceResult(label, order, 0, (first, second), stages, delta_m_pct=gain)


def _trials() -> list[TrialRows]:
    return [
        TrialRows(
            [_sequence(label, order, 1.5 * n) for label in METHODS for order in ORDERS],
            trial=f"t{n:04d}",
            state="complete",
            params={"method.lambda": 0.5 * n, "train.epochs": n},
        )
        for n in range(3)
    ]


def test_one_row_for_every_number() -> None:
    rows = results_table("demo", _trials(), METHODS, "val").to_pylist()
    assert len(rows) == 3 * 4 * (2 + 4 + 6)
    (found,) = [
        row
        for row in rows
        if (row["trial"], row["label"], row["order"]) == ("t0001", "had_l3", "normal>depth")
        and (row["position"], row["task"], row["metric"]) == (2, "depth", "a")
    ]
    params = found.pop("params")
    assert json.loads(params) == {"method.lambda": 0.5, "train.epochs": 1}
    assert found == {
        "run": "demo",
        "trial": "t0001",
        "trial_state": "complete",
        "method": "had",
        "label": "had_l3",
        "order": "normal>depth",
        "seed": 0,
        "position": 2,
        "split": "val",
        "stage_key": "had_l3('normal', 'depth')2",
        "task": "depth",
        "metric": "a",
        "value": 0.25,
        "params.method.lambda": 0.5,
        "params.train.epochs": 1,
    }


def test_numbers_of_the_whole_sequence_and_undefined_ones() -> None:
    rows = results_table("demo", _trials(), METHODS, "val").to_pylist()
    gains = [row for row in rows if row["metric"] == "delta_m_pct" and row["trial"] == "t0002"]
    assert {(row["task"], row["stage_key"], row["value"]) for row in gains} == {(None, None, 3.0)}
    assert {row["value"] for row in rows if row["metric"] == "b"} == {None, 1.0}


def test_equal_results_make_equal_bytes_whatever_came_first() -> None:
    wanted = to_bytes(results_table("demo", _trials(), METHODS, "val"))
    for seed in range(5):
        rng = random.Random(seed)
        trials = _trials()
        rng.shuffle(trials)
        trials = [replace(t, sequences=rng.sample(t.sequences, 4)) for t in trials]
        assert to_bytes(results_table("demo", trials, METHODS, "val")) == wanted
    trials = _trials()
    trials[0] = replace(trials[0], params={"method.lambda": 0.1, "train.epochs": 0})
    assert to_bytes(results_table("demo", trials, METHODS, "val")) != wanted


def test_parameters_of_mixed_types_and_missing_ones() -> None:
    settings = ({"a": 1, "b": "x"}, {"a": 0.5, "b": 2}, {"b": True})
    trials = [
        replace(trial, params=params) for trial, params in zip(_trials(), settings, strict=True)
    ]
    table = results_table("demo", trials, METHODS, "val")
    assert set(table["params.a"].to_pylist()) == {1.0, 0.5, None}
    assert set(table["params.b"].to_pylist()) == {"x", "2", "True"}


def test_a_comparison_and_an_empty_run() -> None:
    table = results_table("demo", [TrialRows([_sequence("naive", ORDERS[0], None)])], METHODS, "t")
    assert set(table["trial"].to_pylist()) == {""}
    assert not [name for name in table.column_names if name.startswith("params.")]
    empty = results_table("demo", [], METHODS, "test")
    assert empty.num_rows == 0
    assert empty.schema.names == table.schema.names
    assert to_bytes(empty)


def test_it_is_written_into_the_store_in_place_of_an_earlier_one(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for count in (1, 3):
        table = results_table("demo", _trials()[:count], METHODS, "val")
        path = write_results(store, "sweeps/demo", table)
        assert path == "sweeps/demo/results.parquet"
        assert pq.read_table(io.BytesIO(store.fs.read(path))).equals(table)
