"""The events that a driver writes: made from what it knows of its run and its sequences."""

from __future__ import annotations

import getpass
import shlex
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.app.scores import row_of
from orchestrator.display.results import SequenceResult
from orchestrator.execution.formats import read_history
from orchestrator.execution.provenance import commit
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import EvalSpec, SequenceSpec, StageSpec
from orchestrator.tracking.curves import of_history
from orchestrator.tracking.events import (
    DatasetRef,
    Direction,
    End,
    PictureRef,
    RunKind,
    RunStarted,
    Scalar,
    SequenceFinished,
    SequenceStarted,
    StageRef,
    StageReused,
    sequence_id,
)
from orchestrator.tracking.params import method_params

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.config import RunConfig
    from orchestrator.store import Store


def run_started(
    config: RunConfig,
    dataset: ShardDataset,
    kind: RunKind = RunKind.RUN,
    *,
    objectives: Mapping[str, Direction] | None = None,
    commands: Mapping[str, str] | None = None,
) -> RunStarted:
    """This driver begins."""
    return RunStarted(
        time=time.time(),
        run=config.name,
        recipe=config.experiment,
        dataset=dataset_ref(config.dataset.name, dataset),
        config=config.to_json(),
        user=_user(),
        commit=commit(),
        command=shlex.join(["had", *sys.argv[1:]]),
        kind=kind,
        objectives=objectives or {},
        commands=commands or {},
    )


def sequence_started(config: RunConfig, sequence: SequenceSpec, trial: str = "") -> SequenceStarted:
    """A sequence is wanted.

    Args:
        config: with the settings of the trial, where it belongs to one.
        trial: label of that trial.
    """
    return SequenceStarted(
        time=time.time(),
        run=config.name,
        sequence=id_of(sequence, trial),
        method=sequence.method,
        order=sequence.order,
        seed=sequence.seed,
        label=trial,
        trial=trial,
        params=_params(config, sequence),
    )


def stage_reused(
    run: str, sequence: SequenceSpec, stage: StageSpec, store: Store, trial: str = ""
) -> StageReused:
    """A sequence has a stage that was trained for another one."""
    history = read_history(store, stage.key) or []
    return StageReused(
        time=time.time(),
        run=run,
        stage=_ref(sequence, stage, trial),
        rows={spec.split: row_of(spec, store) or {} for spec in stage.evals},
        evals={spec.split: spec.key for spec in stage.evals},
        curves=of_history((epoch["terms"], epoch.get("scores", {})) for epoch in history),
        pictures=tuple(
            PictureRef(task=task, key=spec.key, file=file)
            for spec in stage.evals
            for task, file in _pictures(spec, store).items()
        ),
    )


def _pictures(spec: EvalSpec, store: Store) -> Mapping[str, str]:
    """Task -> file of an evaluation."""
    manifest = store.manifest(ArtifactKind.EVAL, spec.key)
    return manifest["pictures"] if manifest else {}


def sequence_finished(
    run: str,
    sequence: SequenceSpec,
    result: SequenceResult,
    end: End,
    message: str = "",
    trial: str = "",
) -> SequenceFinished:
    """A sequence ends: FINISHED where all its rows are there, else as ``end`` says."""
    done = all(result.r_matrix[stage.position - 1] for stage in sequence.stages)
    return SequenceFinished(
        time=time.time(),
        run=run,
        sequence=id_of(sequence, trial),
        end=End.FINISHED if done else end,
        summary=_summary(result) if done else {},
        message="" if done else message,
    )


def _summary(result: SequenceResult) -> dict[str, float | None]:
    """The numbers of a whole sequence; the rarer ones only where there are any."""
    rare = {"delta_m_plain_pct": result.delta_m_plain_pct, "plasticity": result.plasticity}
    return {
        "delta_m_pct": result.delta_m_pct,
        "forgetting": result.forgetting,
        "bwt": result.bwt,
        "mean_rank": result.mean_rank,
        **{name: value for name, value in rare.items() if value is not None},
    }


def id_of(sequence: SequenceSpec, trial: str = "") -> str:
    return sequence_id(sequence.method, sequence.order, sequence.seed, trial)


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


def _ref(sequence: SequenceSpec, stage: StageSpec, trial: str) -> StageRef:
    return StageRef(
        sequence=id_of(sequence, trial),
        key=stage.key,
        parent=stage.fit.parent.key if stage.fit.parent else None,
        position=stage.position,
        tasks=stage.fit.config.new_tasks,
    )


def _params(config: RunConfig, sequence: SequenceSpec) -> dict[str, Scalar]:
    """Settings worth a column in MLflow's table."""
    from had_core.canonical import to_plain

    own = sequence.stages[-1].fit.config.method  # of a rerun, whose stages have many settings
    method = dict(config.methods).get(sequence.method, own)
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
    if sequence.method != method.name:  # a label, which MLflow shows as the method
        params["method_name"] = method.name
    return params | method_params(to_plain(method))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        return ""
