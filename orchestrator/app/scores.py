"""From sealed rows to what a sequence achieved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from had_core.canonical import digest, to_plain
from had_core.metrics import lifelong
from had_core.metrics.lifelong import RMatrix
from had_core.tasks import DenseTask
from orchestrator.display.results import Row, SequenceResult, StageResult
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import EVAL_VERSION, EvalSpec, SequenceSpec, StageSpec

if TYPE_CHECKING:
    from had_core.configs import SlicingConfig
    from had_core.data import ShardDataset
    from orchestrator.store import Store


@dataclass(frozen=True)
class Reference:
    """What Delta_m refers to.

    Attributes:
        method: name of the reference method.
        constant: scores of the best constant prediction, the floor of the denominators.
    """

    method: str
    constant: Row


def sequence_results(
    sequences: Sequence[SequenceSpec],
    tasks: Mapping[str, DenseTask],
    store: Store,
    reused: frozenset[str],
    reference: Reference | None,
    split: str = "test",
) -> tuple[SequenceResult, ...]:
    """Every sequence with its R matrix and the numbers drawn from it; unfinished ones too."""
    matrices = [_matrix(sequence, store, split) for sequence in sequences]
    plain = [
        _result(sequence, matrix, tasks, store, reused)
        for sequence, matrix in zip(sequences, matrices, strict=True)
    ]
    plain = _with_plasticity(sequences, matrices, plain, tasks)
    if reference is None:
        return _ranked(plain, tasks)
    bases = {(r.order, r.seed): r for r in plain if r.method == reference.method}
    return _ranked(
        [
            _compared(result, bases.get((result.order, result.seed)), tasks, reference)
            for result in plain
        ],
        tasks,
    )


def constant_row(dataset: ShardDataset, store: Store, held_out: SlicingConfig | None = None) -> Row:
    """Scores of the best constant prediction on the test split; computed once a store.

    Args:
        held_out: score on the images that this slicing holds out of training instead, choosing
            the constants on the others.
    """
    train, test = dataset.split("train"), dataset.split("train" if held_out else "test")
    key = _constant_key(train.fingerprint, test.fingerprint, held_out)
    known = formats.read_row(store, key)
    if known is not None:
        return known
    from had_core.data.slices import Slicing
    from had_core.metrics.constant import constant_scores

    slicing = Slicing(len(train), held_out) if held_out else None
    scores = constant_scores(
        train,
        test,
        train_rows=slicing.all() if slicing else None,
        test_rows=slicing.val() if slicing else None,
    )
    raw = formats.row_to_bytes("val" if held_out else "test", scores)
    manifest = {"constant_of": train.fingerprint, "split_fingerprint": test.fingerprint}
    return formats.row_from_bytes(
        store.seal(ArtifactKind.EVAL, key, {formats.ROW: raw}, manifest).read(formats.ROW)
    )


def known_constant(
    fingerprints: Mapping[str, str], store: Store, held_out: SlicingConfig | None = None
) -> Row | None:
    """What ``constant_row`` sealed; None where it never ran."""
    train, test = fingerprints["train"], fingerprints["train" if held_out else "test"]
    return formats.read_row(store, _constant_key(train, test, held_out))


def _constant_key(train: str, test: str, held_out: SlicingConfig | None) -> str:
    """From the fingerprints of the images that the constants are chosen on, and scored on."""
    parts: dict[str, Any] = {"constant": train, "split": test}
    if held_out is not None:
        parts["held_out"] = to_plain(held_out, for_key=True)
    return digest({"version": EVAL_VERSION, **parts})


def row_of(spec: EvalSpec, store: Store) -> Row | None:
    return formats.read_row(store, spec.key)


def _matrix(sequence: SequenceSpec, store: Store, split: str) -> RMatrix:
    rows: dict[int, Mapping[str, Mapping[str, float]]] = {}
    for stage in sequence.stages:
        for spec in stage.evals:
            row = row_of(spec, store) if spec.split == split else None
            if row is not None:
                rows[stage.position] = _with_nan(row)
    return RMatrix(sequence.order, rows)


def _result(
    sequence: SequenceSpec,
    matrix: RMatrix,
    tasks: Mapping[str, DenseTask],
    store: Store,
    reused: frozenset[str],
) -> SequenceResult:
    result = SequenceResult(
        method=sequence.method,
        order=sequence.order,
        seed=sequence.seed,
        r_matrix=tuple(
            _without_nan(matrix.rows.get(position, {}))
            for position in range(1, len(sequence.order) + 1)
        ),
        stages=tuple(_stage(stage, store, reused) for stage in sequence.stages),
    )
    if not result.is_complete:  # what it forgot until here is not what it forgets
        return result
    known = [tasks[name] for name in sequence.order]
    return replace(
        result,
        forgetting=_mean(lifelong.forgetting(matrix, known)),
        bwt=_mean(lifelong.bwt(matrix, known)),
    )


def _stage(stage: StageSpec, store: Store, reused: frozenset[str]) -> StageResult:
    manifest = store.manifest(ArtifactKind.FIT, stage.key)
    was_reused = stage.key in reused
    seconds = 0.0 if manifest is None or was_reused else float(manifest["seconds"])
    return StageResult(stage.key, stage.fit.config.new_tasks, stage.position, was_reused, seconds)


def _with_plasticity(
    sequences: Sequence[SequenceSpec],
    matrices: Sequence[RMatrix],
    results: Sequence[SequenceResult],
    tasks: Mapping[str, DenseTask],
) -> list[SequenceResult]:
    """Lifelong sequences against nets of their own (``single``), where there are such."""
    alone = {
        (sequence.order, sequence.seed): matrix
        for sequence, matrix in zip(sequences, matrices, strict=True)
        if len(sequence.stages) > 1 and all(stage.fit.parent is None for stage in sequence.stages)
    }
    found = []
    for matrix, result in zip(matrices, results, strict=True):
        single = alone.get((result.order, result.seed))
        if single is not None and result.is_lifelong and result.is_complete:
            known = [tasks[name] for name in result.order]
            values = lifelong.plasticity(matrix, single, known)
            result = replace(result, plasticity=_mean(values))
        found.append(result)
    return found


def _compared(
    result: SequenceResult,
    base: SequenceResult | None,
    tasks: Mapping[str, DenseTask],
    reference: Reference,
) -> SequenceResult:
    """With Delta_m against the reference's sequence of the same order and seed."""
    if base is None or result.method == reference.method:
        return result
    if not base.is_complete or not result.is_complete:
        return result
    delta = lifelong.delta_m(
        [tasks[name] for name in result.order],
        _with_nan(result.final),
        _with_nan(base.final),
        _with_nan(reference.constant),
    )
    return replace(
        result,
        delta_m_pct=_defined(delta.percent),
        delta_m_plain_pct=_defined(delta.plain_percent),
        delta_m_by_task={task: _defined(value) for task, value in delta.per_task.items()},
        floored=tuple(f"{task}/{metric}" for task, metric in delta.floored),
        undefined=tuple(f"{task}/{metric}" for task, metric in delta.undefined),
    )


def _ranked(
    results: Sequence[SequenceResult], tasks: Mapping[str, DenseTask]
) -> tuple[SequenceResult, ...]:
    """With the mean rank among the methods of the same order and seed.

    Where a method is missing or unfinished nobody is ranked: among fewer methods ranks are lower,
    and their mean over orders and seeds would favour whoever ran where others failed.
    """
    methods = {result.method for result in results}
    peers: dict[tuple[tuple[str, ...], int], dict[str, SequenceResult]] = {}
    for result in results:
        peers.setdefault((result.order, result.seed), {})[result.method] = result
    ranks: dict[tuple[tuple[str, ...], int], Mapping[str, float]] = {}
    for place, group in peers.items():
        if (
            len(methods) > 1
            and set(group) == methods
            and all(r.is_complete for r in group.values())
        ):
            rows = {name: _with_nan(result.final) for name, result in group.items()}
            ranks[place] = lifelong.mean_rank(rows, [tasks[name] for name in place[0]])
    return tuple(
        replace(result, mean_rank=_defined(ranks[result.order, result.seed][result.method]))
        if (result.order, result.seed) in ranks
        else result
        for result in results
    )


def _with_nan(row: Row) -> dict[str, dict[str, float]]:
    return {
        task: {name: math.nan if value is None else value for name, value in metrics.items()}
        for task, metrics in row.items()
    }


def _without_nan(row: Mapping[str, Mapping[str, float]]) -> Row:
    return {
        task: {name: _defined(value) for name, value in metrics.items()}
        for task, metrics in row.items()
    }


def _mean(values: Mapping[str, float]) -> float | None:
    return _defined(lifelong.mean_over_tasks(values))


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None
