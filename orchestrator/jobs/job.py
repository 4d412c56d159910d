"""What a job is told, and what a cluster says about it."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from had_core.canonical import Json, digest

INTERRUPTED = 130
_REASON = 400  # characters of Ray's account, which may hold a whole traceback
_PREFIX = "had."  # of our entries in a job's metadata
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class JobSpec:
    """One command to execute on a cluster; travels as JSON inside the shipped code.

    Attributes:
        kind: the command: run, sweep, compare, rerun.
        name: of the run in its store (of the stage for a rerun).
        store: root of the store, as the cluster's nodes see it.
        identity: digest of what makes two submissions the same.
        payload: what the command is told: its composed configuration, or its arguments.
        words: the command line that it was submitted with, for records.
        python: version of the submitter's interpreter.
        user: who submitted it.
    """

    kind: str
    name: str
    store: str
    payload: Mapping[str, Json]
    words: tuple[str, ...] = ()
    python: str = ""
    user: str = ""

    @cached_property
    def identity(self) -> str:
        """Two submissions of the same are one job while it lives."""
        return digest([self.kind, self.name, self.store, self.payload])

    @cached_property
    def place(self) -> str:
        """What only one living job may write: a run's name in a store."""
        return digest([self.name, self.store])

    @property
    def stem(self) -> str:
        """Beginning of the submission ids, which Ray never takes twice."""
        return f"{self.kind}-{_UNSAFE.sub('-', self.name)}-{self.identity[:8]}"

    @property
    def metadata(self) -> dict[str, str]:
        """What the cluster shows to everyone who may look: no settings, so no secrets."""
        return {
            f"{_PREFIX}kind": self.kind,
            f"{_PREFIX}name": self.name,
            f"{_PREFIX}identity": self.identity,
            f"{_PREFIX}place": self.place,
            f"{_PREFIX}user": self.user,
        }


class JobState(enum.Enum):
    """Ray's states in lower case. ``stopped``: someone asked it to end."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def lives(self) -> bool:
        return self in (JobState.PENDING, JobState.RUNNING)


@dataclass(frozen=True)
class Job:
    """A job as its cluster knows it.

    Attributes:
        id: what ``had logs`` and ``had stop`` take.
        kind, name, identity, place, user: from ``JobSpec``; empty for a job that is not ours.
        started, ended: seconds since the epoch; None while it has not.
        exit_code: of its command; None while it lives, and where the command gave none.
        message: Ray's account of how it stands.
    """

    id: str
    state: JobState
    kind: str = ""
    name: str = ""
    identity: str = field(default="", repr=False)
    place: str = field(default="", repr=False)
    user: str = ""
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: str = field(default="", repr=False)

    @property
    def ours(self) -> bool:
        """Whether ``had submit`` made it."""
        return bool(self.kind)

    @property
    def status(self) -> int:
        """The exit status that a command following it returns."""
        if self.state is JobState.SUCCEEDED:
            return 0
        if self.state is JobState.STOPPED:
            return INTERRUPTED
        code = self.exit_code or 1
        return code if 0 < code < 256 else 1  # a negative one is a signal

    @property
    def why(self) -> str:
        """Ray's reason where the command never came to give its own; else empty."""
        if self.state is not JobState.FAILED or self.exit_code is not None:
            return ""
        return " ".join(self.message.split())[:_REASON]

    def to_json(self) -> dict[str, Any]:
        """Keys of docs/json.md."""
        return {
            "id": self.id,
            "state": self.state.value,
            "kind": self.kind or None,
            "name": self.name or None,
            "user": self.user or None,
            "started": self.started,
            "ended": self.ended,
            "exit_code": self.exit_code,
        }

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Job:
        """From one entry of the Jobs API."""
        metadata = details.get("metadata") or {}

        def ours(key: str) -> str:
            return str(metadata.get(f"{_PREFIX}{key}", ""))

        return cls(
            id=str(details["submission_id"]),
            state=JobState(str(details["status"]).lower()),
            kind=ours("kind"),
            name=ours("name"),
            identity=ours("identity"),
            place=ours("place"),
            user=ours("user"),
            started=_seconds(details.get("start_time")),
            ended=_seconds(details.get("end_time")),
            exit_code=details.get("driver_exit_code"),
            message=str(details.get("message") or ""),
        )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
