from __future__ import annotations

import threading

import pytest
from queue_conformance import QueueConformance

from orchestrator.execution.messages import Closed, Grant, Outcome, StageWork, Status
from orchestrator.execution.queue import LocalQueue


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
