"""What the driver itself writes into a run's journal; workers write the rest."""

from __future__ import annotations

import getpass
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.app.scores import row_of
from orchestrator.display.results import SequenceResult
from orchestrator.execution.messages import Event as ExecutionEvent
from orchestrator.execution.messages import Outcome, Status
from orchestrator.execution.provenance import commit
from orchestrator.plan.specs import SequenceSpec, StageSpec
from orchestrator.plan.tree import PrefixTree
from orchestrator.tracking.events import (
    DatasetRef,
    End,
    RunFinished,
    RunStarted,
    Scalar,
    SequenceFinished,
    SequenceStarted,
    StageRef,
    StageReused,
    sequence_id,
)

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.config import RunConfig
    from orchestrator.store import Store
    from orchestrator.tracking.journal import Journal


class RunJournal:
    """The driver's side of one run's journal."""

    def __init__(self, journal: Journal, tree: PrefixTree, store: Store) -> None:
        self._journal, self._tree, self._store = journal, tree, store
        self._run = journal.run

    def begin(self, config: RunConfig, dataset: ShardDataset) -> None:
        """The run and every sequence it wants."""
        self._journal.append(
            RunStarted(
                time=time.time(),
                run=self._run,
                recipe=config.experiment,
                dataset=dataset_ref(config.dataset.name, dataset),
                config=config.to_json(),
                user=_user(),
                commit=commit(),
                command=shlex.join(["had", *sys.argv[1:]]),
            )
        )
        for sequence in self._tree.sequences:
            self._journal.append(
                SequenceStarted(
                    time=time.time(),
                    run=self._run,
                    sequence=id_of(sequence),
                    method=sequence.method,
                    order=sequence.order,
                    seed=sequence.seed,
                    params=_params(config, sequence),
                )
            )

    def reused(self, keys: frozenset[str]) -> None:
        """Stages that were sealed before this run asked for them, for every sequence."""
        for key in keys:
            self._share(key, self._tree[key].sequences)

    def hear(self, event: ExecutionEvent) -> None:
        """A stage that was trained for one sequence is reused by the others that want it."""
        if isinstance(event, Outcome) and event.status is Status.SEALED:
            self._share(event.key, self._tree[event.key].sequences[1:])

    def end(self, results: Sequence[SequenceResult], end: End, message: str = "") -> None:
        """Every sequence with its summary, then the run."""
        for result, sequence in zip(results, self._tree.sequences, strict=True):
            done = all(result.r_matrix[stage.position - 1] for stage in sequence.stages)
            self._journal.append(
                SequenceFinished(
                    time=time.time(),
                    run=self._run,
                    sequence=id_of(sequence),
                    end=End.FINISHED if done else end,
                    summary={
                        "delta_m_pct": result.delta_m_pct,
                        "forgetting": result.forgetting,
                        "bwt": result.bwt,
                        "mean_rank": result.mean_rank,
                    },
                    message="" if done else message,
                )
            )
        self._journal.append(RunFinished(time=time.time(), run=self._run, end=end, message=message))
        self._journal.close()

    def _share(self, key: str, sequences: Sequence[int]) -> None:
        for number in sequences:
            sequence = self._tree.sequences[number]
            stage = next(stage for stage in sequence.stages if stage.key == key)
            rows = {spec.split: row_of(spec, self._store) or {} for spec in stage.evals}
            self._journal.append(
                StageReused(
                    time=time.time(),
                    run=self._run,
                    stage=_ref(sequence, stage),
                    rows=rows,
                    evals={spec.split: spec.key for spec in stage.evals},
                )
            )


def id_of(sequence: SequenceSpec) -> str:
    return sequence_id(sequence.method, sequence.order, sequence.seed)


def dataset_ref(name: str, dataset: ShardDataset) -> DatasetRef:
    manifest = dataset.manifest
    return DatasetRef(
        name=name,
        source=str(dataset.path),
        fingerprints={split: entry.fingerprint for split, entry in manifest.splits.items()},
        counts={split: entry.count for split, entry in manifest.splits.items()},
        tasks={task.name: task.kind.value for task in manifest.tasks},
        height=manifest.height,
        width=manifest.width,
    )


def _ref(sequence: SequenceSpec, stage: StageSpec) -> StageRef:
    return StageRef(
        sequence=id_of(sequence),
        key=stage.key,
        parent=stage.fit.parent.key if stage.fit.parent else None,
        position=stage.position,
        tasks=stage.fit.config.new_tasks,
    )


def _params(config: RunConfig, sequence: SequenceSpec) -> dict[str, Scalar]:
    """Settings worth a column in MLflow's table."""
    from had_core.canonical import to_plain

    method = dict(config.methods)[sequence.method]
    params: dict[str, Scalar] = {
        "method": method.name,
        "order": ">".join(sequence.order),
        "seed": sequence.seed,
        "net": config.net.encoder.value,
        "norm": config.net.norm.value,
        "epochs": config.train.epochs,
        "batch_size": config.train.batch_size,
        "lr": config.train.lr,
        "slices": config.slicing.slices,
        "dataset": config.dataset.name,
    }
    for name, value in to_plain(method).items():
        params.update(_flat(name, value))
    return params


def _flat(name: str, value: object) -> dict[str, Scalar]:
    if isinstance(value, dict):
        # ``method.loss.delta`` is shown as ``delta``, ``method.lambda.depth`` as ``lambda.depth``.
        prefix = "" if name == "loss" else f"{name}."
        return {f"{prefix}{key}": inner for key, inner in value.items()}
    return {name: value} if isinstance(value, (str, int, float, bool)) else {}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        return ""
