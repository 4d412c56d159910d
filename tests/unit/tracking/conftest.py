"""A made-up run: its events, an MLflow database that is built once, an MLflow in memory."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from orchestrator.tracking.events import (
    DatasetRef,
    Direction,
    End,
    EpochEnded,
    Event,
    PictureRef,
    RunFiles,
    RunFinished,
    RunKind,
    RunStarted,
    SequenceFinished,
    SequenceStarted,
    StageFailed,
    StageFinished,
    StageRef,
    StageReused,
    StageStarted,
    TrialFinished,
    TrialScored,
    TrialStarted,
    TrialState,
    sequence_id,
)

RUN = "demo-12345678"
DATASET = DatasetRef(
    name="rooms",
    source="/data/rooms",
    fingerprints={"train": "a" * 64, "test": "b" * 64},
    counts={"train": 90, "test": 30},
    tasks={"depth": "scalar", "normal": "unit_vector", "semantic": "labels"},
    height=96,
    width=128,
)
METRICS = {
    "depth": ("abs_err", "rel_err"),
    "normal": ("mean_deg", "within_11.25"),
    "semantic": ("miou", "pixel_acc"),
}


class Story:
    """Writes down what a run does, one second after the other."""

    def __init__(self, run: str = RUN, clock: float = 1_700_000_000.0, label: str = "") -> None:
        self.run = run
        self.label = label
        self.clock = clock
        self.events: list[Event] = []

    def _add(self, make: Callable[..., Event], **fields: Any) -> None:
        self.clock += 1.0
        self.events.append(make(time=self.clock, run=self.run, **fields))

    def run_started(self, recipe: str = "quickstart", **fields: Any) -> None:
        usual = {"command": "had run", "config": {"net": {"encoder": "tiny"}}}
        self._add(
            RunStarted,
            recipe=recipe,
            dataset=DATASET,
            user="ada",
            commit="abc123",
            **{**usual, **fields},
        )

    def sweep_started(self, **objectives: Direction) -> None:
        self.run_started(
            command="had sweep",
            kind=RunKind.SWEEP,
            objectives=objectives or {"mean": Direction.MAXIMIZE},
            commands={
                "continue": f"had resume {self.run}",
                "compare": "had compare {best}",
                "rerun a stage": "had rerun {stage}",
            },
        )

    def trial_started(self, number: int, **params: Any) -> str:
        label = f"t{number:04d}"
        values = {"method.lambda": 0.5 + number, **params}
        self._add(TrialStarted, trial=label, number=number, params=values)
        return label

    def trial_scored(self, trial: str, step: int, **values: float) -> None:
        self._add(TrialScored, trial=trial, step=step, values=values)

    def trial_finished(
        self,
        trial: str,
        state: TrialState = TrialState.COMPLETE,
        end: End = End.FINISHED,
        **values: float,
    ) -> None:
        self._add(TrialFinished, trial=trial, end=end, state=state, values=values)

    def run_files(self, **files: str) -> None:
        self._add(RunFiles, files=files)

    def run_finished(self, end: End = End.FINISHED) -> None:
        self._add(RunFinished, end=end)

    def sequence_started(
        self, method: str, order: tuple[str, ...], seed: int = 0, trial: str = ""
    ) -> str:
        name = sequence_id(method, order, seed, trial)
        self._add(
            SequenceStarted,
            sequence=name,
            method=method,
            order=order,
            seed=seed,
            label=trial,
            trial=trial,
            params={"lambda": 3.0, "epochs": 2},
        )
        return name

    def sequence_finished(self, name: str, end: End = End.FINISHED, **summary: float) -> None:
        self._add(SequenceFinished, sequence=name, end=end, summary=summary)

    def ref(self, sequence: str, position: int, key: str, parent: str | None) -> StageRef:
        task = sequence.split(":")[1].split(">")[position - 1]
        return StageRef(sequence=sequence, key=key, parent=parent, position=position, tasks=(task,))

    def stage_started(self, ref: StageRef, attempt: int = 1, epochs: int = 2) -> None:
        params = {"method": "had", "lr": 1e-4}
        self._add(StageStarted, stage=ref, attempt=attempt, epochs=epochs, params=params)

    def epoch(self, ref: StageRef, epoch: int, attempt: int = 1, **fields: Any) -> None:
        terms = {f"new/{ref.tasks[0]}": 1.0 / epoch, "db/old": 0.5 / epoch}
        self._add(
            EpochEnded,
            sequence=ref.sequence,
            key=ref.key,
            attempt=attempt,
            epoch=epoch,
            steps=10,
            images=80,
            seconds=2.0,
            terms=terms,
            **fields,
        )

    def rows(self, ref: StageRef) -> dict[str, dict[str, dict[str, float]]]:
        learned = ref.sequence.split(":")[1].split(">")[: ref.position]
        test = {
            task: {metric: 0.1 * ref.position + place for place, metric in enumerate(METRICS[task])}
            for task in learned
        }
        return {"test": test}

    def stage_finished(self, ref: StageRef, attempt: int = 1) -> None:
        key = f"eval-{ref.key}"
        pictures = tuple(
            PictureRef(task=task, key=key, file=f"examples/{task}.png")
            for task in self.rows(ref)["test"]
        )
        self._add(
            StageFinished,
            stage=ref,
            attempt=attempt,
            rows=self.rows(ref),
            evals={"test": key},
            pictures=pictures,
            seconds=4.0,
            steps_run=20,
            numerics={"workers": 2, "device": "cpu"},
        )

    def stage_reused(self, ref: StageRef, epochs: int = 2) -> None:
        numbers = range(1, epochs + 1)
        curves = {
            f"train/new/{ref.tasks[0]}": tuple(1.0 / n for n in numbers),
            "train/total": tuple(1.5 / n for n in numbers),
        }
        evals = {"test": f"eval-{ref.key}"}
        self._add(StageReused, stage=ref, rows=self.rows(ref), evals=evals, curves=curves)

    def stage_failed(self, ref: StageRef, attempt: int = 1, final: bool = True) -> None:
        self._add(
            StageFailed, stage=ref, attempt=attempt, message="a loss is not finite", final=final
        )

    def trained(self, ref: StageRef, epochs: int = 2) -> None:
        self.stage_started(ref, epochs=epochs)
        for epoch in range(1, epochs + 1):
            self.epoch(ref, epoch)
        self.stage_finished(ref)


def two_methods() -> list[Event]:
    """HAD and naive over two tasks; they share stage 1, which HAD trains."""
    story = Story()
    story.run_started()
    had = story.sequence_started("had", ("depth", "normal"))
    naive = story.sequence_started("naive", ("depth", "normal"))
    story.trained(story.ref(had, 1, "1" * 64, None))
    story.stage_reused(story.ref(naive, 1, "1" * 64, None))
    story.trained(story.ref(had, 2, "2" * 64, "1" * 64))
    story.sequence_finished(had, delta_m=12.5, forgetting=0.1)
    story.trained(story.ref(naive, 2, "3" * 64, "1" * 64))
    story.sequence_finished(naive, delta_m=0.0, forgetting=0.4)
    story.run_finished()
    return story.events


def small_sweep() -> list[Event]:
    """Two trials over two orders, of which the second is pruned after the first order.

    Stage 1 of each order is trained once, for the first trial.
    """
    story = Story()
    story.sweep_started()
    orders = (("depth", "normal"), ("normal", "depth"))
    for number in range(2):
        trial = story.trial_started(number)
        names = [story.sequence_started("had", order, trial=trial) for order in orders]
        for step, name in enumerate(names, start=1):
            if number and step == 2:
                story.trial_finished(trial, TrialState.PRUNED)
                break
            first, second = f"{step}" * 64, f"{step}{'ab'[number]}" * 32
            stage = story.ref(name, 1, first, None)
            story.stage_reused(stage) if number else story.trained(stage)
            story.trained(story.ref(name, 2, second, first))
            story.sequence_finished(name, delta_m_pct=10.0 * step)
            story.trial_scored(trial, step, running=10.0 * step - number)
        else:
            story.trial_finished(trial, mean=15.0)
    story.run_files(**{"results.parquet": "sweeps/demo/results.parquet"})
    story.run_finished()
    return story.events


@pytest.fixture(autouse=True, scope="session")
def _quick_databases(migrations_read_once: None) -> None:
    """For every test of this room."""


@pytest.fixture(scope="session")
def mlflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow database; its migrations take seconds, so it is made once and copied.

    Once for all processes of the tests: the first one makes it, the others wait for it.
    """
    from orchestrator.tracking.location import TrackingLocation

    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "mlflow-home"
    root.mkdir(exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "made").exists():
            TrackingLocation.of(root).client()
            (root / "made").touch()
    return root / "mlflow" / "mlflow.db"


@pytest.fixture
def lines_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that read the same journal a hundred times."""
    from orchestrator.tracking.event_json import from_json

    monkeypatch.setattr("orchestrator.tracking.journal.from_json", cache(from_json))


@pytest.fixture
def store(tmp_path: Path, mlflow_home: Path) -> Path:
    """An empty store that has an MLflow database; blanks and umlauts are part of the test."""
    root = tmp_path / "a störe"
    (root / "mlflow").mkdir(parents=True)
    shutil.copy(mlflow_home, root / "mlflow" / "mlflow.db")
    return root


def png(key: str, file: str) -> bytes:
    return f"picture {file} of {key}".encode()


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture(scope="session")
def new_story() -> Callable[..., Story]:
    return Story


@pytest.fixture
def demo() -> list[Event]:
    return two_methods()


@pytest.fixture
def sweep() -> list[Event]:
    return small_sweep()


@pytest.fixture
def pictures() -> Callable[[str, str], bytes]:
    return png
