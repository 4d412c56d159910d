"""From a request to sequences of stages. Stages with a common past are one object, keyed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from had_core.configs import NetConfig, Norm, SlicingConfig, TrainConfig, require
from had_core.errors import BadInput
from had_core.fit_config import FitConfig
from had_core.methods.base import MethodConfig, StageShape
from orchestrator.plan.bulk import no_collection
from orchestrator.plan.specs import EvalSpec, FitSpec, MemorySpec, SequenceSpec, StageSpec

# The data set's split that each evaluation split takes its images from.
_IMAGES_OF = {"test": "test", "val": "train"}


@dataclass(frozen=True)
class PlanRequest:
    """What to plan: one method with one setting, over orders and seeds.

    Attributes:
        method: as the user wrote it; every stage gets its effective form.
        orders: each a sequence of different tasks, not longer than ``slicing.slices``.
        fingerprints: of the data set's splits, by name (``train``, ``test``).
        workers: processes that share the global batch.
        eval_splits: what every stage is scored on, ``test`` or ``val``.
        label: what the sequences call the method; empty for its name. It enters no key.

    Raises:
        BadInput: a value that no stage could be trained or scored with; names the key.
    """

    method: MethodConfig
    orders: tuple[tuple[str, ...], ...]
    seeds: tuple[int, ...]
    net: NetConfig
    train: TrainConfig
    slicing: SlicingConfig
    fingerprints: Mapping[str, str]
    workers: int = 1
    eval_splits: tuple[str, ...] = ("test",)
    label: str = ""

    def __post_init__(self) -> None:
        require(self.workers >= 1, "workers", self.workers, "1 or more")
        require(bool(self.seeds), "seeds", "[]", "at least one")
        require(bool(self.orders), "orders", "[]", "at least one")
        for order in self.orders:
            _check_order(order, self.slicing)
        for split in self.eval_splits:
            require(split in _IMAGES_OF, "eval_splits", split, " or ".join(_IMAGES_OF))
        for split in {"train", *(_IMAGES_OF[split] for split in self.eval_splits)}:
            require(split in self.fingerprints, "dataset", "?", f"one with a {split} split")
        if "val" in self.eval_splits:
            require(
                self.slicing.val_fraction > 0,
                "data.val_fraction",
                self.slicing.val_fraction,
                "above 0 where the validation part is scored",
            )


def _check_order(order: tuple[str, ...], slicing: SlicingConfig) -> None:
    if not order or len(set(order)) < len(order):
        raise BadInput(f"order={list(order)} is not allowed: at least one task, each named once")
    require(
        slicing.slices >= len(order),
        "data.slices",
        slicing.slices,
        f"{len(order)} or more, one for each task of the order",
    )


def expand(request: PlanRequest) -> tuple[SequenceSpec, ...]:
    """One sequence for every order and seed; orders vary fastest."""
    stages = _Stages(request)
    name = request.label or request.method.name
    with no_collection():
        return tuple(
            SequenceSpec(name, order, seed, stages.of(order, seed))
            for seed in request.seeds
            for order in request.orders
        )


class _Stages:
    """Makes each stage once: all orders of 8 tasks want 322,560, of which 109,600 differ."""

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._made: dict[tuple[object, ...], StageSpec] = {}
        self._methods: dict[frozenset[str], MethodConfig] = {}

    def of(self, order: tuple[str, ...], seed: int) -> tuple[StageSpec, ...]:
        stages: list[StageSpec] = []
        for shape in self._request.method.shape(order):
            parent = None if shape.parent is None else stages[shape.parent]
            # Made parents are never dropped, so an id names one for good.
            past = (seed, id(parent) if parent else None, shape.tasks, shape.views, shape.row)
            stage = self._made.get(past)
            if stage is None:
                stage = self._made[past] = self._make(shape, parent, seed)
            stages.append(stage)
        return tuple(stages)

    def _make(self, shape: StageShape, parent: StageSpec | None, seed: int) -> StageSpec:
        request = self._request
        method = self._effective(shape)
        before = parent.memory if parent else None
        fit = FitSpec(
            parent=parent.fit if parent else None,
            config=FitConfig(
                tasks=shape.tasks,
                views=shape.views,
                method=method,
                net=request.net,
                train=request.train,
                slicing=request.slicing,
                seed=seed,
            ),
            data_fingerprint=request.fingerprints["train"],
            worker_batch=worker_batch(request.net, request.train, method, request.workers),
            parent_memory=before if method.reads_memory else None,
        )
        # Kept after the last stage too: a task may be appended to a finished order.
        memory = MemorySpec(fit, request.method, before) if request.method.keeps_memory else None
        evals = tuple(
            EvalSpec(fit, split, request.fingerprints[_IMAGES_OF[split]])
            for split in request.eval_splits
        )
        return StageSpec(fit, evals, memory, shape.row)

    def _effective(self, shape: StageShape) -> MethodConfig:
        """The method at this stage; which tasks are old decides it, not their order."""
        new = shape.new_tasks
        old = [task for task in shape.tasks if task not in new]
        known = frozenset(old)
        if known not in self._methods:
            self._methods[known] = self._request.method.effective(sorted(old))
        return self._methods[known]


def worker_batch(
    net: NetConfig, train: TrainConfig, method: MethodConfig, workers: int
) -> int | None:
    """Images a worker sees at once, where some arithmetic stays inside a worker, else None."""
    if net.norm is not Norm.BATCH and not method.pools_worker_batch:
        return None
    batch, rest = divmod(train.batch_size, workers)
    require(
        rest == 0,
        "train.batch_size",
        train.batch_size,
        f"a multiple of the {workers} workers, because "
        + ("net.norm=batch" if net.norm is Norm.BATCH else f"method {method.name}")
        + " works on each worker's own batch",
    )
    return batch
