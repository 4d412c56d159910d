from __future__ import annotations

import os
import signal

import pytest
from processes import descendants, wait_until
from queue_conformance import QueueConformance

from orchestrator.execution.messages import Grant, Idle, Outcome, StageWork, Status

pytestmark = pytest.mark.usefixtures("session_cluster")


@pytest.fixture
def queue():
    from orchestrator.execution.ray_queue import RayQueue

    queue = RayQueue.start(max_attempts=2, patience_s=0.2)
    yield queue
    queue.kill()


class TestRayQueue(QueueConformance):
    pass


def test_a_killed_queue_comes_back_empty_under_another_incarnation(queue):
    queue.submit("w", [StageWork("a", None)])
    lease = queue.next("l").lease
    before = queue.poll(0).incarnation
    actors = [p for p, c in descendants(os.getpid()).items() if c.startswith("ray::_QueueActor")]
    assert len(actors) == 1
    os.kill(actors[0], signal.SIGKILL)
    assert wait_until(lambda: queue.poll(0).incarnation != before, 30)
    assert not queue.finish(lease, Outcome("a", Status.SEALED))
    queue.submit("w", [StageWork("a", None)])
    # At first it grants nothing, so that lanes can tell what they execute.
    assert isinstance(queue.next("other"), Idle)
    assert wait_until(lambda: isinstance(queue.next("l"), Grant), 30)
