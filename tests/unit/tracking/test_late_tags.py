"""What a trial's end changes on the runs below it: one tag each, and no more than that is sent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fake_mlflow import FakeMlflow, Faulty, snapshot
from made_up_sweep import MadeUpSweep

from orchestrator.tracking.journal import Journal, JournalReader
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.mlflow_writer import MlflowWriter

BELOW = 12 * (1 + 3)  # sequences of a trial and their stages


def writer(root: Path, run: str, client: FakeMlflow | Faulty) -> MlflowWriter:
    reader, location = JournalReader.open(root, run), TrackingLocation.of(root)
    return MlflowWriter(reader, run, location, pictures=lambda *_: b"png", client=client)


class Halved:
    """A trial's events up to its end in MLflow, and the end in the journal."""

    def __init__(self, root: Path) -> None:
        self.sweep = MadeUpSweep(epochs=2, pictures=0)
        self.journal = Journal(root, self.sweep.run)
        *before, end = self.sweep.trial(0)
        self.journal.append(*self.sweep.begin(), *before)
        self.journal.flush()
        self.client = FakeMlflow()
        self.counter = Faulty(self.client)
        self.writer = writer(root, self.sweep.run, self.counter)
        self.writer.drain()
        self.journal.append(end)
        self.journal.flush()

    def states(self) -> Counter[str]:
        runs = self.client.runs.values()
        return Counter(run.data.tags.get("had.trial_state", "-") for run in runs)


def test_a_trials_end_costs_one_call_a_run(tmp_path: Path) -> None:
    halved = Halved(tmp_path)
    assert halved.states() == {"-": 1 + 1 + BELOW}
    before = Counter(halved.counter.calls)
    halved.writer.drain()
    calls = Counter(halved.counter.calls) - before
    assert halved.states() == {"-": 1, "complete": 1 + BELOW}
    assert calls.pop("log_batch") <= 1 + 1 + BELOW
    assert calls.pop("get_run", 0) == 0
    assert not calls.pop("log_inputs", 0) and not calls.pop("log_outputs", 0)
    assert sum(calls.values()) <= 4  # the sweep's own run and the trial's end


def test_it_ends_as_if_all_had_come_at_once(tmp_path: Path) -> None:
    halved = Halved(tmp_path)
    halved.writer.drain()
    whole = FakeMlflow()
    writer(tmp_path, halved.sweep.run, whole).drain()
    assert snapshot(halved.client) == snapshot(whole)


def test_another_process_brings_the_tags_as_well(tmp_path: Path) -> None:
    halved = Halved(tmp_path)
    writer(tmp_path, halved.sweep.run, halved.client).drain()
    assert halved.states() == {"-": 1, "complete": 1 + BELOW}


def test_what_is_not_late_is_written_as_ever(tmp_path: Path) -> None:
    """The trial's own run gets its values with its state."""
    halved = Halved(tmp_path)
    halved.writer.drain()
    trial = next(run for run in halved.client.runs.values() if run.data.tags["had.kind"] == "trial")
    assert trial.info.status == "FINISHED"
    assert "objective/mean_delta_m_pct" in halved.client.get_metric_keys(trial.info.run_id)
