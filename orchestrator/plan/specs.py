"""Specs: what decides an artefact, and the key that follows from it. Pure: no Ray, no torch.

::

    FitSpec ── parent ──> FitSpec ── parent ──> FitSpec (fresh weights)
       ├──< EvalSpec (one a split)      ├──< EvalSpec
       └──< MemorySpec ── parent ───────└──< MemorySpec (where the method keeps one)

A key is the SHA-256 of the canonical JSON of everything that decides the artefact up to rounding,
and of nothing else. Versions are bumped by hand when code changes results on purpose. A spec
records the version it was made with, so that an old manifest still explains its own key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from had_core.canonical import digest_text
from had_core.fit_config import FitConfig
from had_core.methods.base import MethodConfig
from orchestrator.plan.relevance import config_texts, method_text, object_text, text_of

FIT_VERSION = 1
MEMORY_VERSION = 1
EVAL_VERSION = 1


def _quoted(spec: FitSpec | MemorySpec | None) -> str:
    """Another spec's key as JSON."""
    return f'"{spec.key}"' if spec else "null"


@dataclass(frozen=True)
class FitSpec:
    """One training of one stage.

    Attributes:
        parent: the fit whose weights it starts from; None for fresh weights.
        data_fingerprint: fingerprint of the data set's training split.
        worker_batch: images a worker sees at once, where that decides results (norm ``batch``,
            methods that pool the worker's batch), else None.
        parent_memory: what the method kept after ``parent``, where this fit reads it, else None.
    """

    parent: FitSpec | None
    config: FitConfig
    data_fingerprint: str
    worker_batch: int | None = None
    parent_memory: MemorySpec | None = None
    version: int = FIT_VERSION

    @cached_property
    def key(self) -> str:
        return digest_text(self._text())

    def key_fields(self) -> dict[str, Any]:
        """What is hashed, as a dict; ``explain`` compares two of them."""
        fields: dict[str, Any] = json.loads(self._text())
        return fields

    def _text(self) -> str:
        """The canonical JSON that is hashed, put together from remembered parts."""
        members = config_texts(self.config)
        members["version"] = text_of(self.version)
        members["parent"] = _quoted(self.parent)
        members["parent_memory"] = _quoted(self.parent_memory)
        members["data"] = text_of(self.data_fingerprint)
        members["worker_batch"] = text_of(self.worker_batch)
        return object_text(members)

    def lineage(self) -> tuple[FitSpec, ...]:
        """Its ancestors, oldest first, and itself."""
        chain = [self]
        while chain[-1].parent is not None:
            chain.append(chain[-1].parent)
        return tuple(reversed(chain))

    def to_json(self) -> dict[str, Any]:
        """Everything, ancestors included, as plain JSON values."""
        from orchestrator.plan import codec

        return codec.fit_to_json(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> FitSpec:
        """The inverse of ``to_json``; raises BadInput naming an unknown, missing or bad key."""
        from orchestrator.plan import codec

        return codec.fit_from_json(raw)


@dataclass(frozen=True)
class MemorySpec:
    """What a method keeps after a fit (Fisher information, masks, bases, exemplars).

    Attributes:
        method: the method that keeps it; the fit's own may be reduced (``effective``).
        parent: the memory kept after the stage before, which this one continues.
    """

    fit: FitSpec
    method: MethodConfig
    parent: MemorySpec | None = None
    version: int = MEMORY_VERSION

    @cached_property
    def key(self) -> str:
        members = {
            "version": text_of(self.version),
            "fit": _quoted(self.fit),
            "parent": _quoted(self.parent),
            "method": method_text(self.method),
        }
        return digest_text(object_text(members))


@dataclass(frozen=True)
class EvalSpec:
    """The R row of one fit on one split: every task learned so far.

    Attributes:
        split: ``test``, or ``val``: the images that ``data.val_fraction`` holds out of training.
        split_fingerprint: fingerprint of the split the images come from (``val``: training).
    """

    fit: FitSpec
    split: str
    split_fingerprint: str
    version: int = EVAL_VERSION

    @cached_property
    def key(self) -> str:
        members = {
            "version": text_of(self.version),
            "fit": _quoted(self.fit),
            "images": text_of(self.split_fingerprint),
            "held_out": text_of(self.split == "val"),
        }
        return digest_text(object_text(members))

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it scores: every task whose head the fit has (``single``: its own)."""
        return self.fit.config.tasks


@dataclass(frozen=True)
class StageSpec:
    """One stage: a fit, what is scored after it, and what the method keeps.

    Attributes:
        memory: None where the method keeps nothing.
        row: 1-based row of R its evaluation fills; None where that is the number of tasks learned.
    """

    fit: FitSpec
    evals: tuple[EvalSpec, ...]
    memory: MemorySpec | None = None
    row: int | None = None

    @property
    def key(self) -> str:
        """The fit's key, which names the stage."""
        return self.fit.key

    @property
    def position(self) -> int:
        """1-based row of R."""
        return self.row if self.row is not None else len(self.fit.config.tasks)

    def to_json(self) -> dict[str, Any]:
        from orchestrator.plan import codec

        return codec.stage_to_json(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> StageSpec:
        """The inverse of ``to_json``; raises BadInput naming an unknown, missing or bad key."""
        from orchestrator.plan import codec

        return codec.stage_from_json(raw)


@dataclass(frozen=True)
class SequenceSpec:
    """One lifelong run: a method over one order of tasks with one seed.

    Attributes:
        method: what the user calls it (a label or the method's name); it enters no key. A stage's
            effective method may be a simpler one.
        stages: parents before their children.
    """

    method: str
    order: tuple[str, ...]
    seed: int
    stages: tuple[StageSpec, ...]

    def to_json(self) -> dict[str, Any]:
        from orchestrator.plan import codec

        return codec.sequence_to_json(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> SequenceSpec:
        """The inverse of ``to_json``; raises BadInput naming an unknown, missing or bad key."""
        from orchestrator.plan import codec

        return codec.sequence_from_json(raw)
