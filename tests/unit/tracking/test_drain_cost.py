"""What a drain costs, counted in calls of MLflow; tests/benchmarks/bench_tracking.py times it."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from fake_mlflow import FakeMlflow, Faulty
from made_up_sweep import MadeUpSweep

from orchestrator.tracking.journal import Journal, JournalReader
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.mlflow_writer import MlflowWriter


def _writer(root: Path, run: str, client: FakeMlflow | Faulty) -> MlflowWriter:
    reader, location = JournalReader.open(root, run), TrackingLocation.of(root)
    return MlflowWriter(reader, run, location, pictures=lambda *_: b"png", client=client)


def test_a_backlog_is_one_batch_a_run_and_few_calls_beside_it(tmp_path: Path) -> None:
    """Seven calls a trained stage, four a reused one, whatever the number of epochs."""
    sweep = MadeUpSweep(epochs=40)
    journal = Journal(tmp_path, sweep.run)
    journal.append(*sweep.whole(2))
    journal.close()
    client = FakeMlflow()
    counter = Faulty(client)
    report = _writer(tmp_path, sweep.run, counter).drain()
    calls = Counter(counter.calls)
    trained, runs = sweep.stages_trained, len(client.runs)
    assert trained == 3 + 12 + 2 * 12
    assert report.written == runs == 1 + 2 * (1 + 12 + 36)
    assert calls["create_run"] == calls["log_batch"] == calls["set_terminated"] == runs
    assert calls["create_logged_model"] == calls["finalize_logged_model"] == trained
    assert calls["log_outputs"] == trained
    assert calls["log_inputs"] <= runs
    assert calls["log_artifacts"] == trained + 2 * 12 + 1  # pictures, R.json, config.json


def test_following_live_writes_what_is_new(tmp_path: Path) -> None:
    """Trial by trial, each in two drains: no more than one batch for each and every run."""
    sweep = MadeUpSweep()
    journal = Journal(tmp_path, sweep.run)
    client = FakeMlflow()
    counter = Faulty(client)
    writer = _writer(tmp_path, sweep.run, counter)
    for part in (sweep.begin(), *(sweep.trial(number) for number in range(4)), sweep.end()):
        for half in (part[: len(part) // 2], part[len(part) // 2 :]):
            journal.append(*half)
            journal.flush()
            writer.drain()
    assert Counter(counter.calls)["log_batch"] < 2 * len(client.runs)
    index = writer._index
    assert index is not None
    assert all(index.find(run.data.tags["had.uid"]).resting for run in client.runs.values())  # type: ignore[union-attr]


@pytest.mark.slow
def test_the_benchmark_runs_in_short(
    tmp_path: Path, mlflow_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import bench_tracking

    (tmp_path / "drain" / "mlflow").mkdir(parents=True)
    shutil.copy(mlflow_home, tmp_path / "drain" / "mlflow" / "mlflow.db")
    assert bench_tracking.drain_rate(tmp_path, stages=2)["stages_per_s"] > 0
    assert bench_tracking.fold_cost(trials=4)["ms_a_trial_at_the_end"] > 0
    assert bench_tracking.follow_cost(tmp_path, trials=2)["mib_from_a_tenth_on"] < 100
    assert bench_tracking.journal_cost(tmp_path, 3, seconds=0, repeats=2)["median_ms"] > 0
