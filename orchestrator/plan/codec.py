"""Specs as plain JSON values and back. Reading is strict and names the key that is wrong.

A fit nests its ancestors; in a sequence a stage names its parent by index instead, so that the
text stays linear in the number of stages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from had_core.canonical import to_plain
from had_core.decode import decode
from had_core.errors import BadInput
from had_core.fit_config import FitConfig
from had_core.methods.base import MethodConfig
from orchestrator.plan.specs import (
    EVAL_VERSION,
    EvalSpec,
    FitSpec,
    MemorySpec,
    SequenceSpec,
    StageSpec,
)


@dataclass(frozen=True)
class _Fit:
    config: FitConfig
    data_fingerprint: str
    worker_batch: int | None
    parent: Any
    parent_memory: Any
    version: int


@dataclass(frozen=True)
class _Memory:
    method: MethodConfig
    parent: Any
    version: int


@dataclass(frozen=True)
class _Eval:
    split: str
    split_fingerprint: str
    version: int = EVAL_VERSION


@dataclass(frozen=True)
class _Stage:
    fit: Any
    evals: tuple[_Eval, ...]
    memory: Any = None
    row: int | None = None


@dataclass(frozen=True)
class _Sequence:
    method: str
    order: tuple[str, ...]
    seed: int
    stages: list[Any]


def fit_to_json(fit: FitSpec) -> dict[str, Any]:
    return _fit_to_json(fit, fit_to_json(fit.parent) if fit.parent else None)


def fit_from_json(raw: Mapping[str, Any], at: str = "fit") -> FitSpec:
    record = decode(_Fit, raw, at=at)
    parent = None
    if record.parent is not None:
        parent = fit_from_json(record.parent, f"{at}.parent")
    return _fit(record, parent, at)


class FitReader:
    """``fit_from_json`` for the many fits of a store: ancestors that recur are read once."""

    def __init__(self) -> None:
        self._known: dict[str, FitSpec] = {}

    def read(self, raw: Mapping[str, Any], at: str = "fit") -> FitSpec:
        """Raises BadInput as ``fit_from_json`` does."""
        text = json.dumps(raw, sort_keys=True)
        fit = self._known.get(text)
        if fit is None:
            record = decode(_Fit, raw, at=at)
            parent = self.read(record.parent, f"{at}.parent") if record.parent else None
            fit = self._known[text] = _fit(record, parent, at)
        return fit


def stage_to_json(stage: StageSpec) -> dict[str, Any]:
    return _stage_to_json(stage, fit_to_json(stage.fit))


def stage_from_json(raw: Mapping[str, Any], at: str = "stage") -> StageSpec:
    record = decode(_Stage, raw, at=at)
    return _stage(record, fit_from_json(record.fit, f"{at}.fit"), at)


def sequence_to_json(sequence: SequenceSpec) -> dict[str, Any]:
    """Raises ValueError where a parent is not among the stages before its child."""
    index: dict[str, int] = {}
    stages = []
    for stage in sequence.stages:
        parent = stage.fit.parent
        if parent is not None and parent.key not in index:
            raise ValueError(f"parent {parent.key[:8]} of a stage is not a stage before it")
        fit = _fit_to_json(stage.fit, index[parent.key] if parent else None)
        stages.append(_stage_to_json(stage, fit))
        index[stage.key] = len(stages) - 1
    return {
        "method": sequence.method,
        "order": list(sequence.order),
        "seed": sequence.seed,
        "stages": stages,
    }


def sequence_from_json(raw: Mapping[str, Any], at: str = "sequence") -> SequenceSpec:
    record = decode(_Sequence, raw, at=at)
    stages: list[StageSpec] = []
    for k, item in enumerate(record.stages):
        here = f"{at}.stages[{k}]"
        stage = decode(_Stage, item, at=here)
        fit = decode(_Fit, stage.fit, at=f"{here}.fit")
        parent = _earlier(stages, fit.parent, f"{here}.fit.parent")
        stages.append(_stage(stage, _fit(fit, parent, f"{here}.fit"), here))
    return SequenceSpec(record.method, record.order, record.seed, tuple(stages))


def _earlier(stages: Sequence[StageSpec], index: Any, at: str) -> FitSpec | None:
    if index is None:
        return None
    if type(index) is not int or not 0 <= index < len(stages):
        raise BadInput(f"{at}={index} is not allowed: the index of a stage before it, or null")
    return stages[index].fit


def _fit_to_json(fit: FitSpec, parent: Any) -> dict[str, Any]:
    config = to_plain(fit.config)
    config["method"] = _method_to_json(fit.config.method)
    return {
        "version": fit.version,
        "parent": parent,
        "parent_memory": _memory_to_json(fit.parent_memory),
        "config": config,
        "data_fingerprint": fit.data_fingerprint,
        "worker_batch": fit.worker_batch,
    }


def _fit(record: _Fit, parent: FitSpec | None, at: str) -> FitSpec:
    return FitSpec(
        parent=parent,
        config=record.config,
        data_fingerprint=record.data_fingerprint,
        worker_batch=record.worker_batch,
        parent_memory=_memory(record.parent_memory, parent, f"{at}.parent_memory"),
        version=record.version,
    )


def _memory_to_json(memory: MemorySpec | None) -> dict[str, Any] | None:
    """Without the fit: a memory always stands beside its own."""
    if memory is None:
        return None
    return {
        "version": memory.version,
        "parent": _memory_to_json(memory.parent),
        "method": _method_to_json(memory.method),
    }


def _memory(raw: Any, fit: FitSpec | None, at: str) -> MemorySpec | None:
    if raw is None:
        return None
    if fit is None:
        raise BadInput(f"{at} is not allowed: null where there is no fit that it was kept after")
    record = decode(_Memory, raw, at=at)
    parent = _memory(record.parent, fit.parent, f"{at}.parent")
    return MemorySpec(fit, record.method, parent, record.version)


def _stage_to_json(stage: StageSpec, fit: dict[str, Any]) -> dict[str, Any]:
    return {
        "fit": fit,
        "evals": [
            {"split": e.split, "split_fingerprint": e.split_fingerprint, "version": e.version}
            for e in stage.evals
        ],
        "memory": _memory_to_json(stage.memory),
        "row": stage.row,
    }


def _stage(record: _Stage, fit: FitSpec, at: str) -> StageSpec:
    return StageSpec(
        fit=fit,
        evals=tuple(EvalSpec(fit, e.split, e.split_fingerprint, e.version) for e in record.evals),
        memory=_memory(record.memory, fit, f"{at}.memory"),
        row=record.row,
    )


def _method_to_json(method: MethodConfig) -> dict[str, Any]:
    return {"name": method.name, **to_plain(method)}
