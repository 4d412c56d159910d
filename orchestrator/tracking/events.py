"""What happened, as frozen values: the vocabulary of the journal.

An event names everything it is about by id (run, sequence, stage key, attempt), so that it can be
understood alone and in any order. Times are handed in by the caller.

::

    RunStarted  (one a driver process; the same run may be started again)
      SequenceStarted                       sequence = sequence_id(method, order, seed)
        StageStarted > EpochEnded ... > StageFinished | StageFailed      trained by this run
        StageReused                                                      trained elsewhere
      SequenceFinished
    RunFinished
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from had_core.decode import decode_dataclass
from had_core.errors import BadInput

Scalar = str | int | float | bool
Numbers = Mapping[str, float | None]
"""Name -> value; None where a value is not defined or not finite (JSON has no NaN)."""
Rows = Mapping[str, Mapping[str, Numbers]]
"""Evaluation of one fit: split -> task -> metric -> value. The split ``test`` is the row of R."""


class End(enum.Enum):
    """How a run or a sequence ended; KILLED means that its process went away."""

    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"


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
    """

    recipe: str
    dataset: DatasetRef | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    user: str = ""
    commit: str = ""
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class SequenceStarted(Event):
    """A sequence of the run is wanted.

    Attributes:
        params: short settings worth a column (lambda, epochs, ...).
    """

    sequence: str
    method: str
    order: tuple[str, ...]
    seed: int
    label: str = ""
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
    """

    sequence: str
    key: str
    attempt: int
    epoch: int
    steps: int
    images: int
    seconds: float
    terms: Numbers


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
    """A stage of this sequence was already sealed, or another sequence trains it."""

    stage: StageRef
    rows: Rows
    evals: Mapping[str, str] = field(default_factory=dict)


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
class RunFinished(Event):
    """A driver's work on a run ended; whatever is still open then ends as KILLED."""

    end: End
    message: str = ""


EVENTS: Mapping[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        RunStarted,
        SequenceStarted,
        StageStarted,
        EpochEnded,
        StageFinished,
        StageReused,
        StageFailed,
        SequenceFinished,
        RunFinished,
    )
}


def to_json(event: Event) -> str:
    """One line of JSON; mappings keep their order, so that the headline metric stays first.

    Raises TypeError for a value that JSON does not have.
    """
    fields = {"event": type(event).__name__, **vars(event)}
    try:
        return _ENCODER.encode(fields)
    except ValueError:  # a float that is not finite; rare, so the common case pays nothing for it
        return _ENCODER.encode(_finite(fields))


def from_json(line: str | bytes, where: str = "event") -> Event:
    """The event of one line; raises BadInput naming ``where`` and what is wrong."""
    try:
        raw = json.loads(line)
    except ValueError:
        raise BadInput(f"{where} is not valid JSON") from None
    name = raw.pop("event", None) if isinstance(raw, dict) else None
    if not isinstance(name, str) or name not in EVENTS:
        allowed = ", ".join(EVENTS)
        raise BadInput(f"{where} has the event type {name!r}, allowed are {allowed}")
    return decode_dataclass(EVENTS[name], raw, where)


def _plain(value: Any) -> Any:
    """What the JSON encoder does not know by itself, one level deep."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return vars(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain)


def _finite(value: Any) -> Any:
    """The same value with every float that is not finite as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _finite(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
