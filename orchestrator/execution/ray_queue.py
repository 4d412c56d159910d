"""The queue as a Ray actor: one per driver, without a CPU, gone when its driver is gone.

Only JSON crosses the border. The actor restarts for ever with an empty state: its waiters find
their stages unknown and submit them again, lanes keep what they execute (``policy``), the driver
sees the new incarnation in ``poll`` and tells again what it had told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.execution.messages import (
    Answer,
    Idle,
    Lease,
    Outcome,
    StageProgress,
    StageWork,
    from_json,
    to_json,
)
from orchestrator.execution.policy import DEFAULT_MAX_ATTEMPTS
from orchestrator.execution.queue import PATIENCE_S, Done, Poll, QueueState, Wait

_CONCURRENT = 10_000  # every waiting lane and waiter is one call; they cost next to nothing
_QUIET_S = 3.0  # lanes report a few times a second, if their steps are short


class _QueueActor:
    """QueueState behind JSON, in one thread: calls take turns, and wait without holding it."""

    def __init__(self, max_attempts: int, patience_s: float) -> None:
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        self._state = QueueState(max_attempts, _QUIET_S if restarted else 0.0)
        self._patience_s = patience_s
        self._changed = asyncio.Condition()

    async def next(self, lane: str, done: list[str]) -> str:
        told = (from_json(done[0]), from_json(done[1])) if done else None
        answer = self._state.next(lane, told)
        if isinstance(answer, Idle):
            await self._tell()
            asked, quiet_s = self._state.asked(lane), self._state.quiet_s()
            # Nobody wakes those who wait for the end of the quiet time.
            patience_s = min(self._patience_s, quiet_s) if quiet_s > 0 else self._patience_s
            await self._until(self._state.can_answer, patience_s)
            answer = self._state.next_after(lane, asked)
        await self._tell()
        return to_json(answer)

    async def progress(self, lease: str, progress: str) -> bool:
        result = self._state.progress(from_json(lease), from_json(progress))
        await self._tell()
        return result

    async def finish(self, lease: str, outcome: str) -> bool:
        result = self._state.finish(from_json(lease), from_json(outcome))
        await self._tell()
        return result

    async def lost(self, lane: str, message: str, traceback: str) -> bool:
        result = self._state.lost(lane, message, traceback)
        await self._tell()
        return result

    async def submit(self, waiter: str, works: list[str], sealed: list[str]) -> str:
        told = self._state.submit(waiter, [from_json(work) for work in works], sealed)
        await self._tell()
        return told

    async def drop(self, waiter: str) -> None:
        self._state.drop(waiter)
        await self._tell()

    async def wait(self, keys: list[str], wait_s: float) -> str:
        await self._until(lambda: self._state.has_ended(keys), wait_s)
        wait = self._state.wait(keys)
        return json.dumps(
            {
                "incarnation": wait.incarnation,
                "ended": [to_json(outcome) for outcome in wait.ended.values()],
                "open": wait.open,
                "unknown": sorted(wait.unknown),
            }
        )

    async def cancel(self) -> None:
        self._state.cancel()
        await self._tell()

    async def close(self) -> None:
        self._state.close()
        await self._tell()

    async def poll(self, cursor: int, wait_s: float) -> str:
        state = self._state
        poll, seen = state.poll(cursor), state.news()
        if not poll.events and wait_s:
            await self._until(lambda: state.news() != seen or state.is_over(), wait_s)
            poll = state.poll(cursor)
        return json.dumps(
            {
                "incarnation": poll.incarnation,
                "cursor": poll.cursor,
                "events": [to_json(event) for event in poll.events],
                "progress": [to_json(progress) for progress in poll.progress],
                "open": poll.open,
            }
        )

    async def _until(self, condition: Callable[[], bool], wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s), self._changed:
                await self._changed.wait_for(condition)

    async def _tell(self) -> None:
        """Something may have happened; everyone who waits looks whether it did."""
        async with self._changed:
            self._changed.notify_all()


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
        # Beside its driver: no other node can take it away. Soft, Ray would place it elsewhere.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {
            "num_cpus": 0,
            "max_concurrency": _CONCURRENT,
            "max_restarts": -1,
            "max_task_retries": -1,
            "scheduling_strategy": here,
        }
        return cls(actor.options(**options).remote(max_attempts, patience_s))

    def __reduce__(self) -> tuple[type[RayQueue], tuple[ActorHandle[Any]]]:
        return RayQueue, (self._actor,)  # what was told before is of no use elsewhere

    def next(self, lane: str, done: Done | None = None) -> Answer:
        told = [to_json(part) for part in done] if done else []
        answer: Answer = from_json(_get(self._actor.next.remote(lane, told)))
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

    def submit(self, waiter: str, works: Sequence[StageWork], sealed: Collection[str] = ()) -> str:
        raw = [to_json(work) for work in works]
        return str(_get(self._actor.submit.remote(waiter, raw, list(sealed))))

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
