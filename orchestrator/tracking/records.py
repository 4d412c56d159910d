"""What MLflow should show, as plain values: one record a run, computed from the journal alone.

A record is a function of the events, so writing it twice changes nothing, and its digest tells
whether MLflow already shows it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Literal, NamedTuple

from orchestrator.tracking.drawings import Drawing
from orchestrator.tracking.events import DatasetRef, PictureRef, Scalar

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

LATE_TAGS = ("had.trial_state",)
"""Tags that come to runs which are over and shown: when a trial ends, to all runs below it."""


class Point(NamedTuple):
    """One value of one metric; ``time_ms`` comes from the event, so that repeats are equal."""

    key: str
    step: int
    time_ms: int
    value: float


@dataclass(frozen=True, order=True)
class FileRef:
    """A file of the store that is copied to a run's artifacts.

    Attributes:
        path: among the artifacts.
        source: in the store.
        time_ms: when it was announced; the same path may be announced again.
    """

    path: str
    source: str
    time_ms: int


@dataclass(frozen=True)
class ModelRecord:
    """The net that a stage produced, for MLflow's model list and its lineage.

    Attributes:
        name: shown in the list; without any of ``/ : . % " '``.
        key: fit key; the weights lie in the store under it.
        parent: fit key of the net it started from.
        step: position of the stage.
        score_prefix: metrics of the run that describe the model, those at ``score_step``.
        scored_on: name and digest of the data set behind them.
    """

    name: str
    key: str
    parent: str | None
    step: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    score_prefix: str = "test/"
    score_step: int = 0
    scored_on: tuple[str, str] | None = None

    def describes(self, point: Point) -> bool:
        """Whether a point of the run is a score of the model."""
        return point.step == self.score_step and point.key.startswith(self.score_prefix)


@dataclass(frozen=True)
class RunRecord:
    """One MLflow run as it should be.

    Attributes:
        uid: identity across processes and repeats; the tag ``had.uid``.
        parent: uid of the run it is nested in.
        end_ms: None while it runs.
        texts: artifact path -> content.
        source_key: fit key of the net it starts from or, if ``reused``, shows; logged as input.
        drawings: made into artifacts once the run has ended.
        reused: a light run of a stage that another run trained; it links the full one.
    """

    uid: str
    name: str
    parent: str | None
    start_ms: int
    status: Status
    end_ms: int | None
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    dataset: DatasetRef | None = None
    pictures: tuple[PictureRef, ...] = ()
    model: ModelRecord | None = None
    source_key: str | None = None
    reused: bool = False
    files: tuple[FileRef, ...] = ()
    drawings: tuple[Drawing, ...] = ()

    @property
    def ended(self) -> bool:
        return self.status != "RUNNING"

    @property
    def late_tags(self) -> dict[str, str]:
        return {name: self.tags[name] for name in LATE_TAGS if name in self.tags}

    @cached_property
    def body(self) -> str:
        """Changes whenever anything but the late tags changes."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["tags"] = {k: v for k, v in self.tags.items() if k not in LATE_TAGS}
        return _digest(_ENCODER.encode(values))

    @cached_property
    def digest(self) -> str:
        """Changes whenever anything that MLflow shows changes."""
        return _digest(self.body + _ENCODER.encode(self.late_tags))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    """What the JSON encoder does not know by itself; records hold plain values and dataclasses."""
    return dict(value) if isinstance(value, Mapping) else vars(value)


# Ten times as fast as ``canonical.digest``, and there are tens of thousands of records.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain)


def dataset_id(dataset: DatasetRef, split: str) -> tuple[str, str]:
    """Name and digest of a split in MLflow, which shows the digest in full; 36 would fit."""
    return f"{dataset.name}/{split}", dataset.fingerprints[split][:12]


def ms(seconds: float) -> int:
    return round(seconds * 1000)


def text(value: Scalar) -> str:
    """A value as MLflow shows it: short, floats without noise."""
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return shown if len(shown) <= 250 else shown[:247] + "..."
