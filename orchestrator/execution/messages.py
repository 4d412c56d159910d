"""What travels between the driver, the queue and the lanes: frozen values with a JSON form.

Everything crosses process borders as JSON text, so that a lane of another version fails with a
sentence and not with an unpickling error, and so that rank 0 can broadcast an answer as bytes.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from had_core.canonical import to_plain


@dataclass(frozen=True)
class StageWork:
    """One stage to execute: its artefacts' specs, and where it stands in the run.

    Attributes:
        key: the fit's key.
        parent: the parent fit's key, None for fresh weights.
        spec: ``{"fit": FitSpec.to_json(), "evals": [{"split", "split_fingerprint"}, ...]}``.
        run: name of the run that asked first.
        sequence: id of the sequence that asked first.
        method: name of the method as the user wrote it (the effective one is in the spec).
        order: the sequence's whole order of tasks.
        position: 1-based row of R that it fills.
        tasks: the new tasks of this stage.
    """

    key: str
    parent: str | None
    spec: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    sequence: str = ""
    method: str = ""
    order: tuple[str, ...] = ()
    position: int = 0
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lease:
    """The right to execute one stage; a newer attempt fences the older one."""

    key: str
    lane: str
    attempt: int


@dataclass(frozen=True)
class Grant:
    """Answer to ``next``: execute this."""

    lease: Lease
    work: StageWork


@dataclass(frozen=True)
class Idle:
    """Answer to ``next``: nothing is ready now, ask again."""


@dataclass(frozen=True)
class Closed:
    """Answer to ``next``: nothing will ever come, leave the loop."""


Answer = Grant | Idle | Closed


class Status(enum.Enum):
    """How a stage ended.

    SEALED: every artefact of the stage is in the store. FAILED: see ``Failure``. CANCELLED: stopped
    between two epochs because nobody wants it any more; its partial stays. PARENT_MISSING: the
    parent's weights are absent or damaged, so the parent has to be made again first. ELSEWHERE:
    another driver's worker executes the stage at this time.
    """

    SEALED = "sealed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PARENT_MISSING = "parent_missing"
    ELSEWHERE = "elsewhere"


class FailureKind(enum.Enum):
    """Why a stage failed; LOST and ERROR are tried again, the others would only repeat."""

    NON_FINITE = "non_finite"
    BAD_INPUT = "bad_input"
    ERROR = "error"
    LOST = "lost"
    PARENT = "parent"

    @property
    def retried(self) -> bool:
        return self in (FailureKind.ERROR, FailureKind.LOST)


@dataclass(frozen=True)
class Failure:
    """The worker's own account.

    Attributes:
        message: one sentence.
        traceback: the worker's traceback, empty where the process was killed.
        epoch: 1-based epoch of a NON_FINITE loss, with ``step`` and ``term``.
    """

    kind: FailureKind
    message: str
    traceback: str = ""
    epoch: int | None = None
    step: int | None = None
    term: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How one stage ended.

    Attributes:
        trained: whether this attempt took optimiser steps; False where the fit was sealed before.
        steps_run: optimiser steps this attempt took.
        seconds: wall time of this attempt.
        attempts: times that a lane set out to execute the stage, this one included.
        failure: set where ``status`` is FAILED.
        work: where the stage stands in the run, without its spec; filled in by the queue.
    """

    key: str
    status: Status
    trained: bool = False
    steps_run: int = 0
    seconds: float = 0.0
    attempts: int = 0
    failure: Failure | None = None
    work: StageWork | None = None

    @property
    def sequence(self) -> str:
        """Id of the sequence under which this driver trained it; empty where it did not."""
        return self.work.sequence if self.trained and self.work else ""


@dataclass(frozen=True)
class StageProgress:
    """Where a running stage stands; sent at most a few times a second, losing one is harmless.

    Attributes:
        epoch: 1-based epoch that is running (0 before the first step).
        step: optimiser steps done in this epoch, of ``steps_per_epoch``.
        terms: loss terms of the last finished epoch.
        images_per_s: over the last few seconds, all workers together; 0 while unknown.
    """

    key: str
    lane: str
    attempt: int
    position: int
    tasks: tuple[str, ...]
    method: str
    order: tuple[str, ...]
    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int
    terms: Mapping[str, float] = field(default_factory=dict)
    images_per_s: float = 0.0
    workers: int = 1


@dataclass(frozen=True)
class LaneFault:
    """A lane's worker group broke and starts again.

    Attributes:
        key: the stage it held, None when it held none.
        message: one sentence; ``traceback`` the first worker's own, where it had one.
    """

    lane: str
    key: str | None
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class StageLeased:
    """A lane began a stage.

    Attributes:
        work: without its spec.
    """

    lease: Lease
    work: StageWork


Event = StageLeased | StageProgress | Outcome | LaneFault
Message = Answer | Event | StageWork | Lease

_TYPES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        StageWork,
        Lease,
        Grant,
        Idle,
        Closed,
        Outcome,
        StageProgress,
        LaneFault,
        StageLeased,
    )
}


def to_json(message: Message) -> str:
    """One line of JSON that names its type."""
    return json.dumps(
        {"type": type(message).__name__, **to_plain(message)}, sort_keys=True, allow_nan=False
    )


def from_json(raw: str | bytes) -> Any:
    """The message back; raises ValueError naming an unknown type."""
    fields = json.loads(raw)
    name = fields.pop("type", None)
    if name not in _TYPES:
        raise ValueError(f"message type '{name}' is not known: allowed are {sorted(_TYPES)}")
    return _build(_TYPES[name], fields)


def _build(cls: type[Any], fields: Mapping[str, Any]) -> Any:
    values = dict(fields)
    for name, value in values.items():
        if name in ("order", "tasks"):
            values[name] = tuple(value)
        elif name == "lease":
            values[name] = Lease(**value)
        elif name == "work" and value is not None:
            values[name] = _build(StageWork, value)
        elif name == "status":
            values[name] = Status(value)
        elif name == "failure" and value is not None:
            values[name] = Failure(**{**value, "kind": FailureKind(value["kind"])})
    return cls(**values)
