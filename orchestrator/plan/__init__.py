"""The plan: what is to be trained, under which keys, and what the store already holds.

Pure functions over frozen dataclasses; nothing here trains, stores or talks to a network::

    PlanRequest ── expand ──> SequenceSpec, ... ── PrefixTree.of ──> stages, each once
                                                        └── dry_run ──> cached | train
"""

from __future__ import annotations

from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.dry_run import DryRun, DryRunRow, dry_run
from orchestrator.plan.expand import PlanRequest, expand
from orchestrator.plan.explain import Explanation, FieldDifference, Level, explain
from orchestrator.plan.numerics import NumericsClass
from orchestrator.plan.orders import resolve_orders
from orchestrator.plan.specs import EvalSpec, FitSpec, MemorySpec, SequenceSpec, StageSpec
from orchestrator.plan.tree import PrefixTree, StageNode

__all__ = [
    "ArtifactKind",
    "DryRun",
    "DryRunRow",
    "EvalSpec",
    "Explanation",
    "FieldDifference",
    "FitSpec",
    "Level",
    "MemorySpec",
    "NumericsClass",
    "PlanRequest",
    "PrefixTree",
    "SequenceSpec",
    "StageNode",
    "StageSpec",
    "dry_run",
    "expand",
    "explain",
    "resolve_orders",
]
