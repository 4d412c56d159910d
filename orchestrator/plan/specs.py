"""Specs: what decides an artefact, and the key that follows from it. Pure: no Ray, no torch.

::

    FitSpec ── parent ──> FitSpec ── parent ──> FitSpec (fresh weights)
       └──< EvalSpec (one a split)      └──< MemorySpec (if the method keeps one)

A key is the SHA-256 of the canonical JSON of everything that decides the artefact up to rounding,
and of nothing else. Versions are bumped by hand when code changes results on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from had_core.canonical import digest, to_plain
from had_core.fit_config import FitConfig

FIT_VERSION = 1
MEMORY_VERSION = 1
EVAL_VERSION = 1


@dataclass(frozen=True)
class FitSpec:
    """One training of one stage.

    Attributes:
        parent: the fit whose weights it starts from.
        data_fingerprint: fingerprint of the data set's training split.
        worker_batch: images a worker sees at once, where that decides results (norm ``batch``,
            methods that pool the worker's batch), else None.
    """

    parent: FitSpec | None
    config: FitConfig
    data_fingerprint: str
    worker_batch: int | None = None

    @cached_property
    def key(self) -> str:
        return digest(self.key_fields())

    def key_fields(self) -> dict[str, Any]:
        """The canonical dict that is hashed; ``explain`` compares two of them."""
        config = to_plain(self.config, for_key=True)
        config["method"] = {"name": self.config.method.name, **config["method"]}
        if self.parent is not None and self.parent.config.method.keeps_memory:
            config["parent_memory"] = MemorySpec(self.parent).key
        return {
            "version": FIT_VERSION,
            "parent": self.parent.key if self.parent else None,
            "data": self.data_fingerprint,
            "worker_batch": self.worker_batch,
            **config,
        }

    def to_json(self) -> dict[str, Any]:
        raw = to_plain(self.config)
        raw["method"] = {"name": self.config.method.name, **raw["method"]}
        return {
            "parent": self.parent.to_json() if self.parent else None,
            "config": raw,
            "data_fingerprint": self.data_fingerprint,
            "worker_batch": self.worker_batch,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> FitSpec:
        raise NotImplementedError


@dataclass(frozen=True)
class MemorySpec:
    """What a method keeps after a fit (Fisher information, masks, bases, exemplars)."""

    fit: FitSpec

    @cached_property
    def key(self) -> str:
        return digest({"version": MEMORY_VERSION, "memory_of": self.fit.key})


@dataclass(frozen=True)
class EvalSpec:
    """The R row of one fit on one split: every task learned so far."""

    fit: FitSpec
    split: str
    split_fingerprint: str

    @cached_property
    def key(self) -> str:
        return digest(
            {"version": EVAL_VERSION, "fit": self.fit.key, "split": self.split_fingerprint}
        )
