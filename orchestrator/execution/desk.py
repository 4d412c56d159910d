"""Rank 0's dealings with the store and the journal while one stage is executed.

Order of writes, so that a kill at any point loses nothing that was finished::

    partial (every epoch) > journal to disk > MEMORY > FIT > EVALs > StageFinished > no partial

A stage with a partial is therefore unfinished business, even where all its artefacts are sealed:
whoever comes next journals its end and clears the partial.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from had_core.canonical import to_plain
from had_core.errors import CorruptArtifact
from had_core.progress import EpochRecord, FitProgress
from had_core.tensors import to_bytes
from orchestrator.execution import formats
from orchestrator.execution.messages import StageWork
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import EvalSpec, StageSpec
from orchestrator.tracking.events import (
    EpochEnded,
    Event,
    PictureRef,
    StageFinished,
    StageRef,
    StageStarted,
)
from orchestrator.tracking.params import method_params

if TYPE_CHECKING:
    from had_core.stage import FitResult
    from orchestrator.store import Claim, Store
    from orchestrator.tracking.journal import Journal

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One execution of a fit, as the manifest lists it; what a killed one did after its last
    finished epoch is not counted, it was lost.

    Attributes:
        from_epoch: first epoch it ran, 1-based.
        steps: optimiser steps of the epochs it finished.
    """

    attempt: int
    from_epoch: int
    steps: int


class Desk:
    """One execution of one stage, seen from rank 0.

    Args:
        attempt: of the lease; executions before this driver count as well, from the partial.
        provenance: what every manifest records: numerics, versions, commit.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        work: StageWork,
        stage: StageSpec,
        attempt: int,
        provenance: Mapping[str, Any],
    ) -> None:
        self.stage, self.attempt = stage, attempt
        self._store, self._journal, self._work = store, journal, work
        self._provenance = provenance
        self._partial = store.partial(stage.key)
        self._before: tuple[Attempt, ...] = ()
        self._numerics: tuple[Mapping[str, Any], ...] = ()  # different ones of all executions
        self._epoch, self._steps = 0, 0  # finished before this execution
        self._history: tuple[EpochRecord, ...] = ()
        self._owned = False  # trained here, or its training here was never brought to an end
        self._claim: Claim | None = None

    # Claims -------------------------------------------------------------------------------------

    def claim(self) -> bool:
        """Whether the stage may be executed here: no other driver's worker does. Complete stages
        need no claim."""
        if self._claim is None and not self._is_complete():
            self._claim = self._store.claims.take(self.stage.key)
            return self._claim is not None
        return True

    def release(self) -> None:
        """Others may execute the stage, if there is anything left of it."""
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _is_complete(self) -> bool:
        sealed = self._store.is_sealed(ArtifactKind.FIT, self.stage.key)
        if not sealed or self.needs_memory() or self.missing_evals():
            return False
        return self._partial.read() is None

    # Before -------------------------------------------------------------------------------------

    def net(self) -> bytes | None:
        """The sealed net of this fit, None where it has to be trained."""
        return formats.read_file(self._store, ArtifactKind.FIT, self.stage.key, formats.NET)

    def parent_net(self) -> bytes | None:
        parent = self.stage.fit.parent
        if parent is None:
            return None
        return formats.read_file(self._store, ArtifactKind.FIT, parent.key, formats.NET)

    def parent_memory(self) -> bytes | None:
        memory = self.stage.fit.parent_memory
        if memory is None:
            return None
        return formats.read_file(self._store, ArtifactKind.MEMORY, memory.key, formats.MEMORY)

    def needs_memory(self) -> bool:
        memory = self.stage.memory
        return memory is not None and not self._store.is_sealed(ArtifactKind.MEMORY, memory.key)

    def missing_evals(self) -> list[int]:
        """Indices of the evaluations that are not sealed."""
        return [
            index
            for index, spec in enumerate(self.stage.evals)
            if not self._store.is_sealed(ArtifactKind.EVAL, spec.key)
        ]

    def partial(self) -> bytes | None:
        """State after the last finished epoch of an earlier execution."""
        found = self._partial.read()
        if found is None:
            return None
        self._owned = True
        raw, meta = found
        try:
            progress = FitProgress.from_bytes(raw)
            self._before = tuple(Attempt(**entry) for entry in meta["attempts"])
            self._numerics = tuple(meta["numerics"])
        except (CorruptArtifact, KeyError, TypeError) as error:
            _log.warning("partial of stage %s is not used: %s", self.stage.key[:12], error)
            return None
        self._epoch, self._history = progress.epoch, progress.history
        self._steps = progress.history[-1].steps if progress.history else 0
        if self._before:
            self.attempt = max(self.attempt, self._before[-1].attempt + 1)
        return raw

    def announce(self) -> None:
        """Journal that training begins (again)."""
        self._owned = True
        config = self.stage.fit.config
        self._append(
            StageStarted(
                time=time.time(),
                run=self._work.run,
                stage=self._ref(),
                attempt=self.attempt,
                epochs=config.train.epochs,
                first_epoch=self._epoch + 1,
                params={
                    "method": config.method.name,
                    "seed": config.seed,
                    "lr": config.train.lr,
                    "batch_size": config.train.batch_size,
                    **method_params(to_plain(config.method)),
                },
            )
        )
        for record in self._history:  # a killed worker may have kept its last ones to itself
            self._append(self._ended(record))

    # During -------------------------------------------------------------------------------------

    def save_epoch(
        self,
        record: EpochRecord,
        progress: Callable[[], FitProgress],
        system: Mapping[str, float] | None = None,
    ) -> None:
        """Make an epoch durable before the next one begins.

        Args:
            system: what the machine did meanwhile.
        """
        attempts = [asdict(attempt) for attempt in self._attempts(record.steps)]
        meta = {"attempts": attempts, "numerics": list(self._all_numerics())}
        self._partial.write(progress().to_bytes(), meta)
        self._append(self._ended(record, system))

    def _ended(self, record: EpochRecord, system: Mapping[str, float] | None = None) -> EpochEnded:
        return EpochEnded(
            time=time.time(),
            run=self._work.run,
            sequence=self._work.sequence,
            key=self.stage.key,
            attempt=self.attempt,
            epoch=record.epoch,
            steps=record.steps,
            images=record.images,
            seconds=record.seconds,
            terms=record.terms,
            scores=record.scores,
            system=system or {},
        )

    def _attempts(self, steps_so_far: int) -> tuple[Attempt, ...]:
        mine = Attempt(self.attempt, self._epoch + 1, steps_so_far - self._steps)
        return (*self._before, mine) if mine.steps else self._before

    def _all_numerics(self) -> tuple[Mapping[str, Any], ...]:
        """How it was computed: more than one entry where a resume changed that half-way."""
        train = self.stage.fit.config.train
        mine = {**self._provenance["numerics"], "teacher_cache": train.teacher_cache.value}
        return self._numerics if mine in self._numerics else (*self._numerics, mine)

    # After --------------------------------------------------------------------------------------

    def seal_memory(self, result: FitResult) -> None:
        """Before the fit: a sealed fit is then never without its memory."""
        memory = self.stage.memory
        if memory is not None:
            files = {formats.MEMORY: to_bytes(result.memory)}
            manifest = {"fit": self.stage.key, "method": memory.method.name, **self._provenance}
            self._store.seal(ArtifactKind.MEMORY, memory.key, files, manifest)

    def seal_fit(self, result: FitResult, data: Mapping[str, Any]) -> bytes | None:
        """Seal the trained net; the other writer's net where that one was first and differs.

        Args:
            data: what the net was trained on, so that it can be used without (``trained_on``).
        """
        self._journal.flush()
        net = to_bytes(result.state)
        history = json.dumps([asdict(record) for record in result.history]).encode()
        steps = result.history[-1].steps if result.history else 0
        manifest = {
            "spec": self.stage.fit.to_json(),
            "run": self._work.run,
            "sequence": self._work.sequence,
            "attempts": [asdict(attempt) for attempt in self._attempts(steps)],
            "steps": steps,
            "seconds": sum(record.seconds for record in result.history),
            "teacher_seconds": result.teacher_seconds,
            "mixed_numerics": len(self._all_numerics()) > 1,
            "data": data,
            **self._provenance,
        }
        files = {formats.NET: net, formats.HISTORY: history}
        winner = self._store.seal(ArtifactKind.FIT, self.stage.key, files, manifest)
        sealed = winner.read(formats.NET)
        return None if sealed == net else sealed

    def seal_eval(
        self,
        spec: EvalSpec,
        row: Mapping[str, Mapping[str, float]],
        pictures: Mapping[str, bytes],
        seconds: float,
    ) -> None:
        """Seal a row of R, which took ``seconds`` to compute, and one PNG a task."""
        names = {task: f"{task}.png" for task in pictures}
        files = {formats.ROW: formats.row_to_bytes(spec.split, row)}
        files |= {names[task]: raw for task, raw in pictures.items()}
        manifest = {
            "fit": self.stage.key,
            "split": spec.split,
            "split_fingerprint": spec.split_fingerprint,
            "pictures": names,
            "seconds": seconds,
            **self._provenance,
        }
        self._store.seal(ArtifactKind.EVAL, spec.key, files, manifest)

    def pause(self) -> None:
        """The stage stops before its end; what it told so far is kept."""
        self._journal.flush()

    def close(self, seconds: float, steps_run: int) -> bool:
        """Journal the end and clear the partial; whether this run trained the stage."""
        if self._owned:
            self._append(self._finished(seconds, steps_run))
            self._partial.clear()
        return self._owned

    def _finished(self, seconds: float, steps_run: int) -> StageFinished:
        fit = self._store.load(ArtifactKind.FIT, self.stage.key)
        numerics = dict(fit.manifest["numerics"]) if fit is not None else {}
        rows: dict[str, formats.Row] = {}
        evals: dict[str, str] = {}
        pictures: list[PictureRef] = []
        for spec in self.stage.evals:
            sealed = self._store.load(ArtifactKind.EVAL, spec.key)
            if sealed is None:
                continue
            rows[spec.split] = formats.row_from_bytes(sealed.read(formats.ROW))
            evals[spec.split] = spec.key
            for task, file in sealed.manifest["pictures"].items():
                pictures.append(PictureRef(task=task, key=spec.key, file=file))
        return StageFinished(
            time=time.time(),
            run=self._work.run,
            stage=self._ref(),
            attempt=self.attempt,
            rows=rows,
            evals=evals,
            pictures=tuple(pictures),
            seconds=seconds,
            steps_run=steps_run,
            numerics=numerics,
        )

    def _ref(self) -> StageRef:
        return StageRef(
            sequence=self._work.sequence,
            key=self.stage.key,
            parent=self._work.parent,
            position=self.stage.position,
            tasks=self._work.tasks,
        )

    def _append(self, event: Event) -> None:
        self._journal.append(event)
