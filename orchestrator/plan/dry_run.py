"""What a run would train, without training: every stage as cached or to train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from had_core.canonical import to_plain
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.bulk import no_collection
from orchestrator.plan.specs import EvalSpec
from orchestrator.plan.tree import PrefixTree, StageNode

IsSealed = Callable[[ArtifactKind, str], bool]


@dataclass(frozen=True)
class DryRunRow:
    """One stage of the tree.

    Attributes:
        stage: the method that is really trained there, then the new tasks: ``had: depth``.
        position: 1-based row of R.
        tasks: every task known after it, in the order they were learned.
        key: the fit's key.
        parent: the parent fit's key, None for fresh weights.
        cached: whether the store holds the trained net.
        to_evaluate: splits whose R row the store does not hold.
        sequences: how many sequences want it.
        methods: what their methods are called, the first asked first.
    """

    stage: str
    position: int
    tasks: tuple[str, ...]
    key: str
    parent: str | None
    cached: bool
    to_evaluate: tuple[str, ...]
    sequences: int
    methods: tuple[str, ...]


@dataclass(frozen=True)
class DryRun:
    """The plan against a store.

    Attributes:
        stages_wanted: stages the sequences ask for, a shared one counted every time.
        unique: different stages among them; ``stages_wanted - unique`` is what sharing saves.
        cached: stages the store holds; to_train: the others.
        to_evaluate: R rows the store does not hold.
        sequences: sequences planned.
    """

    rows: tuple[DryRunRow, ...]
    sequences: int
    stages_wanted: int
    unique: int
    cached: int
    to_train: int
    to_evaluate: int

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


def dry_run(tree: PrefixTree, is_sealed: IsSealed) -> DryRun:
    """Ask the store for every stage once; parents come before children."""
    with no_collection():
        rows = tuple(_row(node, tree, is_sealed) for node in tree)
    cached = sum(row.cached for row in rows)
    return DryRun(
        rows=rows,
        sequences=len(tree.sequences),
        stages_wanted=tree.wanted,
        unique=len(rows),
        cached=cached,
        to_train=len(rows) - cached,
        to_evaluate=sum(len(row.to_evaluate) for row in rows),
    )


def _row(node: StageNode, tree: PrefixTree, is_sealed: IsSealed) -> DryRunRow:
    config = node.fit.config
    return DryRunRow(
        stage=f"{config.method.name}: {', '.join(config.new_tasks)}",
        position=node.stage.position,
        tasks=config.tasks,
        key=node.key,
        parent=node.fit.parent.key if node.fit.parent else None,
        cached=is_sealed(ArtifactKind.FIT, node.key),
        to_evaluate=_missing(node.evals, is_sealed),
        sequences=len(node.sequences),
        methods=tuple(dict.fromkeys(tree.sequences[i].method for i in node.sequences)),
    )


def _missing(evals: tuple[EvalSpec, ...], is_sealed: IsSealed) -> tuple[str, ...]:
    return tuple(e.split for e in evals if not is_sealed(ArtifactKind.EVAL, e.key))
