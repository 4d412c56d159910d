"""The queue as a Ray actor: one per driver, without a CPU, gone when its driver is gone.

Only JSON crosses the border. The actor restarts for ever with an empty state; its driver sees the
new incarnation in ``poll`` and submits everything again, and finishes of lost leases are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import ray
from ray.actor import ActorHandle

from orchestrator.execution.messages import (
    Answer,
    Lease,
    Outcome,
    StageProgress,
    StageWork,
    from_json,
    to_json,
)
from orchestrator.execution.policy import DEFAULT_MAX_ATTEMPTS
from orchestrator.execution.queue import PATIENCE_S, LocalQueue, Poll, Wait

_THREADS = 64  # every waiting lane, every waiter and the driver's poll hold one


class _QueueActor:
    """LocalQueue behind JSON."""

    def __init__(self, max_attempts: int, patience_s: float) -> None:
        self._queue = LocalQueue(max_attempts, patience_s)

    def next(self, lane: str) -> str:
        return to_json(self._queue.next(lane))

    def progress(self, lease: str, progress: str) -> bool:
        return self._queue.progress(from_json(lease), from_json(progress))

    def finish(self, lease: str, outcome: str) -> bool:
        return self._queue.finish(from_json(lease), from_json(outcome))

    def lost(self, lane: str, message: str, traceback: str) -> bool:
        return self._queue.lost(lane, message, traceback)

    def submit(self, waiter: str, works: list[str], sealed: list[str]) -> None:
        self._queue.submit(waiter, [from_json(work) for work in works], sealed)

    def drop(self, waiter: str) -> None:
        self._queue.drop(waiter)

    def wait(self, keys: list[str], wait_s: float) -> str:
        wait = self._queue.wait(keys, wait_s)
        return json.dumps(
            {
                "incarnation": wait.incarnation,
                "ended": [to_json(outcome) for outcome in wait.ended.values()],
                "open": wait.open,
                "unknown": sorted(wait.unknown),
            }
        )

    def cancel(self) -> None:
        self._queue.cancel()

    def close(self) -> None:
        self._queue.close()

    def poll(self, cursor: int, wait_s: float) -> str:
        poll = self._queue.poll(cursor, wait_s)
        return json.dumps(
            {
                "incarnation": poll.incarnation,
                "cursor": poll.cursor,
                "events": [to_json(event) for event in poll.events],
                "progress": [to_json(progress) for progress in poll.progress],
                "open": poll.open,
            }
        )


class RayQueue:
    """A StageQueue whose state lives in the actor; may be sent to other processes."""

    def __init__(self, actor: ActorHandle[Any]) -> None:
        self._actor: Any = actor  # Ray's stubs know no methods of other actors
        self._told: Any = None  # reference to a reply that is on its way
        self._go_on = True
        self._lease: Lease | None = None

    @classmethod
    def start(
        cls, max_attempts: int = DEFAULT_MAX_ATTEMPTS, patience_s: float = PATIENCE_S
    ) -> RayQueue:
        """A fresh actor, owned by this driver."""
        actor: Any = ray.remote(_QueueActor)
        options = {"max_concurrency": _THREADS, "max_restarts": -1, "max_task_retries": -1}
        return cls(actor.options(num_cpus=0, **options).remote(max_attempts, patience_s))

    def __reduce__(self) -> tuple[type[RayQueue], tuple[ActorHandle[Any]]]:
        return RayQueue, (self._actor,)  # what was told before is of no use elsewhere

    def next(self, lane: str) -> Answer:
        answer: Answer = from_json(_get(self._actor.next.remote(lane)))
        return answer

    def progress(self, lease: Lease, progress: StageProgress) -> bool:
        """Fire and forget: answers with the newest reply that has arrived for this lease."""
        if lease != self._lease:
            self._lease, self._told, self._go_on = lease, None, True
        if self._told is not None:
            done, _ = ray.wait([self._told], timeout=0)
            if not done:
                return self._go_on
            self._go_on = bool(_get(self._told))
        self._told = self._actor.progress.remote(to_json(lease), to_json(progress))
        return self._go_on

    def finish(self, lease: Lease, outcome: Outcome) -> bool:
        return bool(_get(self._actor.finish.remote(to_json(lease), to_json(outcome))))

    def lost(self, lane: str, message: str, traceback: str = "") -> bool:
        return bool(_get(self._actor.lost.remote(lane, message, traceback)))

    def submit(self, waiter: str, works: Sequence[StageWork], sealed: Collection[str] = ()) -> None:
        raw = [to_json(work) for work in works]
        _get(self._actor.submit.remote(waiter, raw, list(sealed)))

    def drop(self, waiter: str) -> None:
        _get(self._actor.drop.remote(waiter))

    def wait(self, keys: Collection[str], wait_s: float = 0.0) -> Wait:
        raw = json.loads(_get(self._actor.wait.remote(sorted(keys), wait_s)))
        ended: list[Outcome] = [from_json(outcome) for outcome in raw["ended"]]
        return Wait(
            incarnation=raw["incarnation"],
            ended={outcome.key: outcome for outcome in ended},
            open=raw["open"],
            unknown=frozenset(raw["unknown"]),
        )

    def cancel(self) -> None:
        _get(self._actor.cancel.remote())

    def close(self) -> None:
        _get(self._actor.close.remote())

    def poll(self, cursor: int, wait_s: float = 0.0) -> Poll:
        raw = json.loads(_get(self._actor.poll.remote(cursor, wait_s)))
        return Poll(
            incarnation=raw["incarnation"],
            cursor=raw["cursor"],
            events=tuple(from_json(event) for event in raw["events"]),
            progress=tuple(from_json(progress) for progress in raw["progress"]),
            open=raw["open"],
        )

    def kill(self) -> None:
        """End the actor for good."""
        ray.kill(self._actor, no_restart=True)


def _get(reference: Any) -> Any:
    return ray.get(reference)
