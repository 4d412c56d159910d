"""A store that looks as if runs had filled it, without any training: real specs, made-up numbers.

``run`` plans one lifelong run as the planner does, seals every stage that is not sealed yet under
its real key, and journals the whole as driver and workers would.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from had_core.configs import NetConfig, SlicingConfig, TrainConfig
from had_core.methods import HadConfig, MethodConfig
from orchestrator.config import RunConfig
from orchestrator.config.schema import ClusterConfig, DatasetConfig, StoreConfig, TrackingConfig
from orchestrator.execution import formats
from orchestrator.plan import ArtifactKind, PlanRequest, SequenceSpec, StageSpec, expand
from orchestrator.plan.numerics import NumericsClass
from orchestrator.store import Store
from orchestrator.tracking.events import (
    End,
    Event,
    RunFinished,
    RunStarted,
    SequenceFinished,
    SequenceStarted,
    StageFinished,
    StageRef,
    StageReused,
    StageStarted,
    sequence_id,
)
from orchestrator.tracking.journal import Journal

FINGERPRINTS = {"train": "a" * 64, "test": "b" * 64}
METRICS = {
    "edge_occlusion": ("iou", "bce"),
    "depth": ("abs_err", "rel_err"),
    "normal": ("mean_deg", "median_deg"),
    "semantic": ("miou", "pixel_acc"),
}
NUMERICS = NumericsClass(workers=1, threads=1, device="cpu", torch="2.13.0", cpu_capability="AVX2")


class MadeUpStore:
    """Runs in a store below ``root``, one second after the other."""

    def __init__(self, root: Path) -> None:
        self.store = Store.open(root)
        self._clock = 1_700_000_000.0
        # Key -> weights and further entries of the manifest, of stages whose net is to be a net.
        self.nets: dict[str, tuple[bytes, dict[str, Any]]] = {}

    def run(
        self,
        name: str,
        *,
        method: MethodConfig | None = None,
        orders: Sequence[Sequence[str]] = (("semantic", "depth", "normal"),),
        seeds: Sequence[int] = (0,),
        train: TrainConfig | None = None,
        net: NetConfig | None = None,
        end: End | None = End.FINISHED,
    ) -> list[SequenceSpec]:
        """One run from its beginning to its end (no end where ``end`` is None)."""
        config = self.config(name, method or HadConfig(), orders, seeds, train or TrainConfig())
        config = replace(config, net=net or NetConfig())
        sequences = expand(request(config))
        self.store.runs.create(name, config.to_json())
        events: list[Event] = [
            RunStarted(**self._now(name), recipe="made-up", config=config.to_json())
        ]
        for sequence in sequences:
            events += self._sequence(name, sequence)
        if end is not None:
            events.append(RunFinished(**self._now(name), end=end))
        journal = Journal(self.store.uri, name)
        journal.append(*events)
        journal.close()
        return sequences

    def config(
        self,
        name: str,
        method: MethodConfig,
        orders: Sequence[Sequence[str]],
        seeds: Sequence[int],
        train: TrainConfig,
    ) -> RunConfig:
        tasks = tuple(orders[0])
        return RunConfig(
            name=name,
            recipe="made-up",
            dataset=DatasetConfig("rooms", "/data/rooms", tasks),
            tasks=tasks,
            orders=tuple(tuple(order) for order in orders),
            method=method,
            reference=None,
            net=NetConfig(),
            train=train,
            slicing=SlicingConfig(slices=len(tasks)),
            seeds=tuple(seeds),
            cluster=ClusterConfig(),
            store=StoreConfig(self.store.uri),
            tracking=TrackingConfig(),
        )

    def _sequence(self, run: str, spec: SequenceSpec) -> list[Event]:
        name = sequence_id(spec.method, spec.order, spec.seed)
        events: list[Event] = [
            SequenceStarted(
                **self._now(run),
                sequence=name,
                method=spec.method,
                order=spec.order,
                seed=spec.seed,
            )
        ]
        for stage in spec.stages:
            events += self._stage(run, name, stage)
        summary = {"delta_m_pct": -1.5, "forgetting": 0.25}
        events.append(
            SequenceFinished(**self._now(run), sequence=name, end=End.FINISHED, summary=summary)
        )
        return events

    def _stage(self, run: str, sequence: str, stage: StageSpec) -> list[Event]:
        new = tuple(view.task for view in stage.fit.config.views)
        parent = stage.fit.parent.key if stage.fit.parent else None
        ref = StageRef(
            sequence=sequence, key=stage.key, parent=parent, position=stage.position, tasks=new
        )
        rows = {each.split: row_of(each.tasks, stage.position) for each in stage.evals}
        evals = {each.split: each.key for each in stage.evals}
        if self.store.is_sealed(ArtifactKind.FIT, stage.key):
            return [StageReused(**self._now(run), stage=ref, rows=rows, evals=evals)]
        started = StageStarted(**self._now(run), stage=ref, attempt=1, epochs=2)
        self.seal(run, sequence, stage)
        numerics = asdict(NUMERICS)
        return [
            started,
            StageFinished(
                **self._now(run),
                stage=ref,
                attempt=1,
                rows=rows,
                evals=evals,
                seconds=2.5,
                steps_run=8,
                numerics=numerics,
            ),
        ]

    def seal(self, run: str, sequence: str, stage: StageSpec) -> None:
        """The artefacts of one stage, with files of a few bytes unless ``nets`` has others."""
        weights, manifested = self.nets.get(stage.key, (b"weights", {}))
        manifest = {
            "spec": stage.fit.to_json(),
            "run": run,
            "sequence": sequence,
            "attempts": [{"attempt": 1, "from_epoch": 1, "steps": 8}],
            "steps": 8,
            "seconds": 2.5,
            "teacher_seconds": 0.5,
            "mixed_numerics": False,
            "numerics": asdict(NUMERICS),
            "versions": {"torch": "2.13.0+cpu"},
            "commit": "c" * 40,
            **manifested,
        }
        net = {formats.NET: weights, formats.HISTORY: b"[]"}
        self.store.seal(ArtifactKind.FIT, stage.key, net, manifest)
        for each in stage.evals:
            row = row_of(each.tasks, stage.position)
            raw = json.dumps({"split": each.split, "row": row}).encode()
            about = {"fit": stage.key, "split": each.split, "pictures": {}}
            self.store.seal(ArtifactKind.EVAL, each.key, {formats.ROW: raw}, about)

    def _now(self, run: str) -> dict[str, Any]:
        self._clock += 1.0
        return {"time": self._clock, "run": run}


def request(config: RunConfig) -> PlanRequest:
    return PlanRequest(
        method=config.method,
        orders=config.orders,
        seeds=config.seeds,
        net=config.net,
        train=config.train,
        slicing=config.slicing,
        fingerprints=FINGERPRINTS,
    )


def row_of(tasks: Sequence[str], position: int) -> dict[str, dict[str, float]]:
    """Numbers that tell tasks, metrics and rows apart."""
    return {
        task: {name: 10 * position + len(task) + k / 10 for k, name in enumerate(METRICS[task])}
        for task in tasks
    }
