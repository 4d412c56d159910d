from __future__ import annotations

from orchestrator.execution.messages import Grant, Outcome, StageWork, Status
from orchestrator.execution.queue import LocalQueue
from orchestrator.execution.wants import Wants

WORKS = (StageWork("a", None), StageWork("b", "a"), StageWork("c", "b"))


def seal(queue, lane="l"):
    answer = queue.next(lane)
    assert isinstance(answer, Grant)
    queue.finish(answer.lease, Outcome(answer.lease.key, Status.SEALED, trained=True))
    return answer.lease.key


def test_what_ended_is_remembered_and_not_asked_for_again():
    queue = LocalQueue(patience_s=0.1)
    wants = Wants(queue, "w", WORKS, {"a"})
    assert set(wants.wait(["a", "b"])) == {"a"}
    assert not wants.ended["a"].trained
    assert seal(queue) == "b"
    assert set(wants.wait(["a", "b"])) == {"a", "b"}
    assert wants.ended["b"].trained
    assert set(wants.wait(["a", "b"], 60)) == {"a", "b"}  # at once: nothing is pending
    assert wants.sealed == {"a", "b"}


def test_a_queue_that_lost_its_state_is_told_again_what_is_still_wanted():
    queue = LocalQueue(patience_s=0.1)
    wants = Wants(queue, "w", WORKS)
    seal(queue)
    wants.wait(["a", "b", "c"])
    wants._queue = fresh = LocalQueue(patience_s=0.1)
    assert set(wants.wait(["a", "b", "c"], 60)) == {"a"}
    assert [seal(fresh), seal(fresh)] == ["b", "c"]  # not a once more
    assert set(wants.wait(["a", "b", "c"], 60)) == {"a", "b", "c"}


def test_leaving_drops_everything():
    queue = LocalQueue(patience_s=0.1)
    with Wants(queue, "w", WORKS):
        assert queue.poll(0).open == 3
    assert queue.poll(0).open == 0


def test_what_somebody_dropped_for_the_waiter_is_cancelled_and_not_asked_for_again():
    """The driver prunes a trial while it waits."""
    queue = LocalQueue(patience_s=0.1)
    wants = Wants(queue, "w", WORKS)
    seal(queue)
    queue.drop("w")
    ended = wants.wait(["a", "b"], 60)
    assert {key: outcome.status for key, outcome in ended.items()} == dict.fromkeys(
        "ab", Status.CANCELLED
    )
    assert queue.poll(0).open == 0
