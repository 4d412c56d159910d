"""What tracking costs: on the training path, and how fast MLflow catches up.

    python tests/benchmarks/bench_tracking.py [--json FILE] [--stages 60] [--trials 1000]

(a) Journal: time that one stage's events take inside ``Journal.append`` and ``flush``, on the
training path, for a stage of 20 epochs and one of 1000. Budget: 10 ms a stage.
(b) Drain: stage records a second into a fresh sqlite MLflow (5 epochs, an R row, a logged model
with lineage, 3 pictures, status), each stage in a sequence of its own. Goal: 5 a second.
(c) Drain of a sweep, with its trials, sequences and light runs of shared stages.
(d) Fold: events of a made-up sweep (6 orders, had and naive) into records, as they come: time a
trial at the beginning and at the end.
(e) Follow: the same from the journal to an MLflow that keeps nothing, so that the memory is ours.
Goal: +- 100 MiB from a tenth of the trials to the last.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout, installed or not

from made_up_sweep import METRICS, TASKS, MadeUpSweep

from had_core.tasks import DenseTask, TaskKind
from orchestrator.tracking.events import (
    End,
    EpochEnded,
    Event,
    PictureRef,
    RunFinished,
    RunStarted,
    SequenceStarted,
    StageFinished,
    StageRef,
    StageStarted,
    sequence_id,
)
from orchestrator.tracking.fold import Fold
from orchestrator.tracking.journal import Entry, Journal, JournalReader
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.mlflow_writer import MlflowWriter
from orchestrator.tracking.pictures import render_examples

RUN = "bench"


def stage_events(number: int, epochs: int) -> list[Event]:
    """Events of one three-task stage, as a worker appends them."""
    sequence = sequence_id("had", TASKS, number)
    key = f"{number:064x}"
    ref = StageRef(sequence=sequence, key=key, parent=None, position=3, tasks=TASKS[2:])
    terms = {"new/semantic": 0.9, **{f"{t}/{k}": 0.1 for t in ("db", "sg") for k in TASKS[:2]}}
    began = 1_700_000_000.0 + 10_000 * number
    events: list[Event] = [
        SequenceStarted(
            time=began, run=RUN, sequence=sequence, method="had", order=TASKS, seed=number
        ),
        StageStarted(time=began, run=RUN, stage=ref, attempt=1, epochs=epochs),
    ]
    for epoch in range(1, epochs + 1):
        events.append(
            EpochEnded(
                time=began + epoch,
                run=RUN,
                sequence=sequence,
                key=key,
                attempt=1,
                epoch=epoch,
                steps=10,
                images=80,
                seconds=1.0,
                terms=terms,
            )
        )
    rows = {"test": {t: {m: 0.5 for m in METRICS[t]} for t in TASKS}}
    pictures = tuple(PictureRef(task=t, key=key, file=f"{t}.png") for t in TASKS)
    events.append(
        StageFinished(
            time=began + epochs + 1,
            run=RUN,
            stage=ref,
            attempt=1,
            rows=rows,
            evals={"test": key},
            pictures=pictures,
        )
    )
    return events


def journal_cost(root: Path, epochs: int, seconds: float, repeats: int) -> dict[str, float]:
    """Milliseconds a stage inside the journal, wall and processor time.

    Args:
        seconds: pause after every epoch, so that the journal's thread writes meanwhile.
    """
    costs, processor = [], []
    for repeat in range(repeats):
        run = f"r{repeat}"
        journal = Journal(root / f"j{epochs}", run)
        spent = used = 0.0
        events = [replace(event, run=run) for event in stage_events(0, epochs)]
        for event in events:
            began, thread = time.perf_counter(), time.thread_time()
            journal.append(event)
            if event is events[-2]:
                journal.flush()  # before the stage is sealed
            spent += time.perf_counter() - began
            used += time.thread_time() - thread
            time.sleep(seconds)
        journal.close()
        costs.append(1e3 * spent)
        processor.append(1e3 * used)
    return {
        "median_ms": statistics.median(costs),
        "worst_ms": max(costs),
        "median_processor_ms": statistics.median(processor),
    }


def drain_rate(root: Path, stages: int, epochs: int = 5) -> dict[str, float]:
    """Stage records a second, MLflow's import and the creation of its database aside."""
    events: list[Event] = [RunStarted(time=1.7e9, run=RUN, recipe="bench")]
    for number in range(stages):
        events += stage_events(number, epochs)
    events.append(RunFinished(time=2e9, run=RUN, end=End.FINISHED))
    figures = _drain(root / "drain", events)
    return {"stages": stages, "stages_per_s": stages / figures["seconds"], **figures}


def sweep_drain_rate(root: Path, trials: int) -> dict[str, float]:
    """The same of a small sweep: every run of it, and those that stand for a trained stage."""
    sweep = MadeUpSweep(RUN)
    figures = _drain(root / "sweep", sweep.whole(trials))
    trained = sweep.stages_trained
    return {"trials": trials, "trained_per_s": trained / figures["seconds"], **figures}


def _picture() -> bytes:
    image = np.zeros((3, 96, 128, 3), np.float32)
    depth = np.random.default_rng(0).random((3, 96, 128, 1), np.float32)
    return render_examples(DenseTask("depth", TaskKind.SCALAR, 1), image, depth, depth)


def _drain(store: Path, events: list[Event]) -> dict[str, float]:
    journal = Journal(store, RUN)
    journal.append(*events)
    journal.close()
    png = _picture()
    location = TrackingLocation.of(store)
    client = location.client()
    client.search_experiments()
    reader = JournalReader.open(store, RUN)
    writer = MlflowWriter(reader, RUN, location, pictures=lambda key, file: png, client=client)
    began, process = time.perf_counter(), time.process_time()
    written = writer.drain().written
    seconds = time.perf_counter() - began
    processor = time.process_time() - process
    again = time.perf_counter()
    restarted = MlflowWriter(JournalReader.open(store, RUN), RUN, location, client=client)
    assert restarted.drain().written == 0
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "runs_per_s": written / seconds,
        "seconds_to_find_all_done": time.perf_counter() - again,
    }


def fold_cost(trials: int) -> dict[str, float]:
    """A sweep as its driver follows it, each trial in two parts, everything shown at once."""
    sweep = MadeUpSweep(RUN)

    def reread(names: Iterable[str]) -> list[Entry]:
        raise AssertionError("nothing comes back to a sequence that is over")

    fold = Fold("j", RUN, reread)
    fold.add(_entries("start", sweep.begin()))
    seconds = []
    for number in range(trials):
        made = _entries(f"t{number}", sweep.trial(number))
        began = time.process_time()
        for part in (made[: len(made) // 2], made[len(made) // 2 :]):
            fold.add(part)
            for record in fold.changed():
                if record.ended:
                    assert record.digest
                fold.settle(record.uid)
        seconds.append(time.process_time() - began)
    return {"trials": trials, "seconds": sum(seconds), **_begin_and_end(seconds)}


def follow_cost(root: Path, trials: int) -> dict[str, float]:
    """A sweep as its driver follows it: journal, fold, writer."""
    sweep = MadeUpSweep(RUN)
    store = root / "follow"
    journal = Journal(store, RUN)
    journal.append(*sweep.begin())
    reader, location = JournalReader.open(store, RUN), TrackingLocation.of(store)
    client: Any = Nowhere()
    png = _picture()
    writer = MlflowWriter(reader, RUN, location, pictures=lambda *_: png, client=client)
    tenth = max(trials // 10, 1)
    seconds, memory = [], []
    for number in range(trials):
        journal.append(*sweep.trial(number))
        began = time.process_time()
        writer.drain()
        seconds.append(time.process_time() - began)
        if number + 1 in (tenth, trials):
            memory.append(_resident_mib())
    journal.close()
    grown = memory[-1] - memory[0]
    return {"trials": trials, "mib_from_a_tenth_on": grown, **_begin_and_end(seconds)}


class Nowhere:
    """An MlflowClient that forgets everything it is told."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="1", lifecycle_stage="active")

    def search_experiments(self, **_: Any) -> list[Any]:
        return []

    def search_runs(self, *_: Any, **__: Any) -> Any:
        from mlflow.store.entities import PagedList

        return PagedList([], None)

    def create_run(self, experiment: str, *, start_time: int, tags: Any, run_name: str) -> Any:
        info = SimpleNamespace(
            run_id=uuid.uuid4().hex, status="RUNNING", end_time=None, lifecycle_stage="active"
        )
        return SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, params={}))

    def create_logged_model(self, experiment: str, **_: Any) -> Any:
        return SimpleNamespace(model_id=f"m-{uuid.uuid4().hex}")


def _begin_and_end(seconds: list[float]) -> dict[str, float]:
    tenth = max(len(seconds) // 10, 1)
    return {
        "ms_a_trial_at_the_beginning": 1e3 * statistics.median(seconds[:tenth]),
        "ms_a_trial_at_the_end": 1e3 * statistics.median(seconds[-tenth:]),
    }


def _resident_mib() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _entries(segment: str, events: list[Event]) -> list[Entry]:
    return [Entry(event, segment, line) for line, event in enumerate(events)]


def measure(stages: int, trials: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="bench-tracking-") as folder:
        root = Path(folder)
        return {
            "journal_20_epochs": journal_cost(root, 20, seconds=0.05, repeats=15),
            "journal_1000_epochs": journal_cost(root, 1000, seconds=0.002, repeats=3),
            "drain_sqlite": drain_rate(root, stages),
            "drain_sqlite_sweep": sweep_drain_rate(root, max(stages // 15, 1)),
            "fold": fold_cost(trials),
            "follow": follow_cost(root, trials),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--stages", type=int, default=60, help="stage records to drain")
    parser.add_argument("--trials", type=int, default=1000, help="of the sweep to fold")
    given = parser.parse_args()
    text = json.dumps(measure(given.stages, given.trials), indent=2)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
