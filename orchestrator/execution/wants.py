"""What one waiter wants of a queue, in whatever process it lives."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

from orchestrator.execution.messages import Event, Outcome, StageWork, Status
from orchestrator.execution.queue import StageQueue


class Wants:
    """Stages submitted under one name, submitted again where the queue lost its state.

    ::

        with Wants(queue, "t0003", works, sealed) as wants:  # dropped at the end
            while pending := keys - wants.ended.keys():
                wants.wait(pending, 10)

    Args:
        waiter: one name for each waiter; whoever comes back under the same name is the same one.
        works: parents before children; those that are complete in the store too.
        sealed: keys of those that are complete in the store.

    Attributes:
        ended: how every stage ended that is known to have; in the order in which it was heard.
    """

    def __init__(
        self,
        queue: StageQueue,
        waiter: str,
        works: Sequence[StageWork],
        sealed: Collection[str] = (),
    ) -> None:
        self.waiter, self.works = waiter, tuple(works)
        self.ended: dict[str, Outcome] = {}
        self._queue, self._sealed = queue, frozenset(sealed)
        self._keys = frozenset(work.key for work in self.works)
        self.submit()

    @property
    def sealed(self) -> frozenset[str]:
        """Keys that are complete in the store, as far as is known."""
        now = {key for key, outcome in self.ended.items() if outcome.status is Status.SEALED}
        return self._sealed | now

    def submit(self) -> None:
        """Tell the queue (again) what is wanted."""
        self._told = self._queue.submit(self.waiter, self.works, self.sealed)

    def wait(self, keys: Collection[str], wait_s: float = 0.0) -> Mapping[str, Outcome]:
        """How those of these stages ended that have; answers as soon as one more has.

        CANCELLED, too, where somebody dropped them under this waiter's name.

        Args:
            keys: of ``works``. Those that are known to have ended are answered for, not waited for.
            wait_s: at most about this long; ask again.
        """
        pending = {key for key in keys if key not in self.ended}
        if pending:
            wait = self._queue.wait(pending, wait_s)
            self.ended.update(wait.ended)
            if wait.incarnation == self._told:
                self.ended |= {key: Outcome(key, Status.CANCELLED) for key in wait.unknown}
            elif wait.unknown:
                self.submit()
        return {key: self.ended[key] for key in keys if key in self.ended}

    def hear(self, event: Event) -> None:
        """For whoever follows the queue's events: no need to ask for what they tell."""
        if isinstance(event, Outcome) and event.key in self._keys:
            self.ended[event.key] = event

    def drop(self) -> None:
        """Nothing of it is wanted any more; what others share goes on."""
        self._queue.drop(self.waiter)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.drop()
