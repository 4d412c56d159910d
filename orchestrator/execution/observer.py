"""What a running fit tells: progress to the queue, epochs to the journal, state to the store."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from had_core.progress import EpochRecord, FitProgress, SilentObserver
from orchestrator.execution.messages import StageProgress
from orchestrator.execution.runner import Tell

_INTERVAL_S = 0.25  # between two reports
_WINDOW_S = 5.0  # over which images per second are averaged

SaveEpoch = Callable[[EpochRecord, Callable[[], FitProgress]], None]


class Reporter(SilentObserver):
    """Rank 0's observer.

    Args:
        start: progress before the first step; its ``epoch`` is the last one that is finished.
        images_per_step: global batch.
        save: called after every epoch, before the next one begins.
    """

    def __init__(
        self,
        start: StageProgress,
        images_per_step: int,
        tell: Tell,
        save: SaveEpoch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = start
        self._images_per_step = images_per_step
        self._tell = tell
        self._save = save
        self._clock = clock
        self._steps = 0
        self._place = start.epoch, start.step, start.steps_per_epoch
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._told_at = -float("inf")
        self._wanted = True
        self._report()

    def on_step(self, epoch: int, step: int, steps_per_epoch: int) -> None:
        self._steps += 1
        self._place = epoch, step, steps_per_epoch
        if self._clock() - self._told_at >= _INTERVAL_S:
            self._report()

    def on_epoch(self, record: EpochRecord, progress: Callable[[], FitProgress]) -> None:
        self._save(record, progress)
        self._now = replace(self._now, terms=dict(record.terms))
        self._report()

    def cancelled(self) -> bool:
        return not self._wanted

    def _report(self) -> None:
        self._told_at = self._clock()
        epoch, step, steps_per_epoch = self._place
        self._now = replace(
            self._now,
            epoch=epoch,
            step=step,
            steps_per_epoch=steps_per_epoch,
            images_per_s=self._speed(self._told_at),
        )
        self._wanted = self._tell(self._now) and self._wanted

    def _speed(self, now: float) -> float:
        self._marks.append((now, self._steps))
        while len(self._marks) > 2 and now - self._marks[0][0] > _WINDOW_S:
            self._marks.popleft()
        then, steps = self._marks[0]
        return self._images_per_step * (self._steps - steps) / (now - then) if now > then else 0.0
