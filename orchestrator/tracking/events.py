"""What happened, as frozen values: the vocabulary of the journal.

An event names everything it is about by id (run, sequence, stage key, attempt), so that it can be
understood alone and in any order. Times are handed in by the caller.

::

    RunStarted  (one a driver process; the same run may be started again)
      TrialStarted                          sweeps only; trial = label of the setting
        SequenceStarted                     sequence = sequence_id(method, order, seed, label)
          StageStarted > EpochEnded ... > StageFinished | StageFailed      trained by this run
          StageReused                                                      trained elsewhere
        SequenceFinished
        TrialScored                         after every whole order
      TrialFinished
      RunFiles                              tables and plots that the run left in the store
    RunFinished

``event_json`` turns events into lines and back.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Scalar = str | int | float | bool
Numbers = Mapping[str, float | None]
"""Name -> value; None where a value is not defined or not finite (JSON has no NaN)."""
Rows = Mapping[str, Mapping[str, Numbers]]
"""Evaluation of one fit: split -> task -> metric -> value. The split ``test`` is the row of R."""
Curves = Mapping[str, tuple[float | None, ...]]
"""Name -> one value an epoch, None where there was none; names as in ``curves``."""


class End(enum.Enum):
    """How a run or a sequence ended; KILLED means that its process went away."""

    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"


class RunKind(enum.Enum):
    """What a run is; a sweep and a comparison have an MLflow run of their own above the rest."""

    RUN = "run"
    SWEEP = "sweep"
    COMPARE = "compare"


class Direction(enum.Enum):
    """Which values of an objective are better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


class TrialState(enum.Enum):
    """What became of a trial, in Optuna's terms; FAILED is also one that was interrupted."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


def sequence_id(method: str, order: Sequence[str], seed: int, label: str = "") -> str:
    """Id of a sequence inside its run.

    ``label`` tells sequences apart that share method, order and seed (the trials of a sweep).

    >>> sequence_id("had", ("depth", "normal"), 0)
    'had:depth>normal:s0'
    """
    parts = [method, ">".join(order), f"s{seed}"]
    return ":".join([*parts, label] if label else parts)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of every event.

    Attributes:
        time: seconds since the epoch.
        run: name of the run, and of its journal.
    """

    time: float
    run: str


@dataclass(frozen=True, kw_only=True)
class DatasetRef:
    """The data a run uses.

    Attributes:
        source: where it lies (path or URI).
        fingerprints: fingerprint of every split.
        counts: images in every split.
        tasks: task name -> kind.
    """

    name: str
    source: str
    fingerprints: Mapping[str, str]
    counts: Mapping[str, int]
    tasks: Mapping[str, str]
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class StageRef:
    """One stage of one sequence.

    Attributes:
        sequence: ``sequence_id`` of the sequence it belongs to.
        key: key of its fit.
        parent: key of the fit it starts from, None for fresh weights.
        position: 1-based row of R that it fills.
        tasks: the tasks it learns.
    """

    sequence: str
    key: str
    parent: str | None
    position: int
    tasks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PictureRef:
    """A PNG file inside a sealed evaluation.

    Attributes:
        task: task it shows.
        key: key of the evaluation.
        file: name of the file in the artefact.
    """

    task: str
    key: str
    file: str


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A driver began to work on a run.

    Attributes:
        recipe: names the MLflow experiment.
        config: the composed configuration.
        user, commit, command: who started it, from which code and how; empty if unknown.
        kind: the same for every driver of a run.
        objectives: of a sweep: name -> direction; the keys of ``TrialFinished.values``.
        commands: what one may type next, shown on the run of a sweep or comparison: purpose ->
            command line. ``{best}`` stands for the overrides of the best trial, ``{settings}`` for
            those of the command that began the run (``{data}``: but for the method's),
            ``{method}`` for the best trial's method as one of a comparison, ``{stage}`` for the key
            of a last stage; such a line is shown once they are known.
    """

    recipe: str
    dataset: DatasetRef | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    user: str = ""
    commit: str = ""
    command: str = ""
    kind: RunKind = RunKind.RUN
    objectives: Mapping[str, Direction] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrialStarted(Event):
    """A sweep began to try one setting.

    Attributes:
        trial: its label, unique in the run.
        number: its number in the study.
        params: dotted configuration path -> value.
    """

    trial: str
    number: int
    params: Mapping[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class TrialScored(Event):
    """A trial finished another whole order.

    Attributes:
        step: orders finished so far, from 1.
        values: name -> value, shown as curves over ``step`` (the objective over the orders so
            far, what this order alone gave, ...).
    """

    trial: str
    step: int
    values: Numbers


@dataclass(frozen=True, kw_only=True)
class TrialFinished(Event):
    """A trial ended; sequences of it that are still open end as KILLED.

    Attributes:
        values: of every objective; shown where the trial is complete, because those of a pruned
            one are of fewer orders.
    """

    trial: str
    end: End
    state: TrialState
    values: Numbers = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class SequenceStarted(Event):
    """A sequence of the run is wanted.

    Attributes:
        label: as in ``sequence_id``.
        trial: label of the trial that wants it, empty outside sweeps.
        params: short settings worth a column (lambda, epochs, ...).
    """

    sequence: str
    method: str
    order: tuple[str, ...]
    seed: int
    label: str = ""
    trial: str = ""
    params: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    """A worker began an attempt at a stage.

    Attributes:
        attempt: 1-based.
        first_epoch: 1 for a fresh start, more when a partial stage goes on.
        params: the effective settings of this fit, short.
    """

    stage: StageRef
    attempt: int
    epochs: int
    first_epoch: int = 1
    params: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EpochEnded(Event):
    """An epoch ended.

    Attributes:
        epoch: 1-based.
        seconds: wall time of the epoch.
        terms: mean of every loss term (``new/depth``, ``db/semantic``).
        scores: task -> metric -> value on the validation part, where it was evaluated.
        system: what the worker's machine did meanwhile; names of MLflow's system metrics.
    """

    sequence: str
    key: str
    attempt: int
    epoch: int
    steps: int
    images: int
    seconds: float
    terms: Numbers
    scores: Mapping[str, Numbers] = field(default_factory=dict)
    system: Numbers = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StageFinished(Event):
    """A stage was trained, evaluated and sealed.

    Attributes:
        evals: split -> key of the evaluation.
        pictures: example predictions inside those evaluations.
        seconds: wall time of the attempt that finished it.
        numerics: numerics class (workers, threads, device, versions).
    """

    stage: StageRef
    attempt: int
    rows: Rows
    evals: Mapping[str, str] = field(default_factory=dict)
    pictures: tuple[PictureRef, ...] = ()
    seconds: float = 0.0
    steps_run: int = 0
    numerics: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StageReused(Event):
    """A stage of this sequence was already sealed, or another sequence trains it.

    Attributes:
        curves: how it was trained, so that the curves of the sequence have no gap.
        pictures: as in ``StageFinished``.
    """

    stage: StageRef
    rows: Rows
    evals: Mapping[str, str] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    pictures: tuple[PictureRef, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StageFailed(Event):
    """An attempt failed; ``final`` if no other one follows."""

    stage: StageRef
    attempt: int
    message: str
    final: bool


@dataclass(frozen=True, kw_only=True)
class SequenceFinished(Event):
    """A sequence ended.

    Attributes:
        summary: metric name -> value (``delta_m``, ``forgetting``, ...).
    """

    sequence: str
    end: End
    summary: Numbers = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class RunFiles(Event):
    """Files that a sweep or comparison wrote into the store, to be copied to its MLflow run.

    The latest event counts for each path, so a table that grew is announced again.

    Attributes:
        files: path among the run's artifacts -> path in the store.
    """

    files: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """A driver's work on a run ended; whatever is still open then ends as KILLED."""

    end: End
    message: str = ""


EVENTS: Mapping[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        RunStarted,
        TrialStarted,
        SequenceStarted,
        StageStarted,
        EpochEnded,
        StageFinished,
        StageReused,
        StageFailed,
        SequenceFinished,
        TrialScored,
        TrialFinished,
        RunFiles,
        RunFinished,
    )
}
