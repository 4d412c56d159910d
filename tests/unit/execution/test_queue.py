from __future__ import annotations

import threading
import time

import pytest
from queue_conformance import QueueConformance, progress

from orchestrator.execution import queue as module
from orchestrator.execution.messages import (
    Closed,
    Grant,
    Idle,
    Lease,
    Outcome,
    StageLeased,
    StageWork,
    Status,
)
from orchestrator.execution.queue import LocalQueue, QueueState


class TestLocalQueue(QueueConformance):
    @pytest.fixture
    def queue(self):
        return LocalQueue(max_attempts=2, patience_s=0.2)


def test_many_lanes_execute_everything_once():
    queue = LocalQueue()
    works = [
        StageWork(f"{i}.{k}", f"{i}.{k - 1}" if k else None) for i in range(10) for k in range(4)
    ]
    queue.submit("w", works)
    queue.close()
    done: list[str] = []

    def lane(name: str) -> None:
        while not isinstance(answer := queue.next(name), Closed):
            if isinstance(answer, Grant):
                done.append(answer.lease.key)
                queue.finish(answer.lease, Outcome(answer.lease.key, Status.SEALED))

    threads = [threading.Thread(target=lane, args=(f"l{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == sorted(work.key for work in works)


@pytest.fixture
def clock(monkeypatch):
    """Time stands still unless a test moves it."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def time_ns(self):
            return int(self.now * 1e9)

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_queue_that_lost_its_state_sends_nobody_away_and_gives_nothing_twice(clock):
    state = QueueState(quiet_s=3.0)
    state.close()  # the driver was about to; its stages come a moment later
    assert state.next("idle") == Idle()
    assert not state.can_answer()
    busy = Lease("a", "busy", 1)
    assert state.progress(busy, progress(busy))
    state.submit("w", [StageWork("a", None), StageWork("b", None)], ())
    assert state.next("idle") == Idle()
    clock.now += 3
    assert state.can_answer()
    assert state.next("idle").lease.key == "b"
    assert state.finish(busy, Outcome("a", Status.SEALED))


def test_cursors_of_an_earlier_incarnation_are_before_all_events(clock):
    before = QueueState()
    before.submit("w", [StageWork(str(n), None) for n in range(50)], ())
    for n in range(50):
        before.next(f"l{n}")
    cursor = before.poll(0).cursor
    clock.now += 1
    after = QueueState()
    after.submit("w", [StageWork("a", None)], ())
    after.next("l")
    poll = after.poll(cursor)
    assert [type(event) for event in poll.events] == [StageLeased]
    assert after.poll(poll.cursor).events == ()


def test_heard_events_are_forgotten():
    queue = LocalQueue()
    cursor = 0
    for n in range(100):
        queue.submit(f"w{n}", [StageWork(str(n), None)])
        lease = queue.next("l").lease
        queue.finish(lease, Outcome(lease.key, Status.SEALED))
        queue.drop(f"w{n}")
        cursor = queue.poll(cursor).cursor
    queue.poll(cursor)
    assert len(queue._state._events) == 0
    assert len(list(queue._state._policy._stages)) == 0


def test_a_call_of_a_lane_that_died_takes_no_stage():
    """Its new workers ask, too; one of the two calls is answered by nobody."""
    queue = LocalQueue(patience_s=60)
    answers = {}

    def ask(call):
        answers[call] = queue.next("l")

    threads = [threading.Thread(target=ask, args=(call,)) for call in ("dead", "new")]
    for asked, thread in enumerate(threads, 1):
        thread.start()
        while queue._state.asked("l") < asked:
            time.sleep(0.001)
    queue.submit("w", [StageWork("a", None)])
    threads[1].join(20)
    assert answers["new"].lease == Lease("a", "l", 1)
    queue.finish(answers["new"].lease, Outcome("a", Status.SEALED))
    queue.close()  # so that the other call is answered at once
    threads[0].join(20)
    assert answers["dead"] == Idle()
