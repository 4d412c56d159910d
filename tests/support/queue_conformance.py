"""What every StageQueue promises; run over the local queue and over the actor.

A test module subclasses ``QueueConformance`` and defines a fixture ``queue``: a fresh queue with
``patience_s=0.2`` and two attempts a stage.
"""

from __future__ import annotations

import threading
import time

from orchestrator.execution.messages import (
    Closed,
    Failure,
    FailureKind,
    Grant,
    Idle,
    LaneFault,
    Lease,
    Outcome,
    StageLeased,
    StageProgress,
    StageWork,
    Status,
)


def progress(lease: Lease, step: int = 1) -> StageProgress:
    return StageProgress(
        key=lease.key,
        lane=lease.lane,
        attempt=lease.attempt,
        position=1,
        tasks=("depth",),
        method="had",
        order=("depth", "normal"),
        epoch=1,
        epochs=2,
        step=step,
        steps_per_epoch=3,
        terms={"new/depth": 0.5},
    )


def tell_until(queue, lease: Lease, expected: bool) -> bool:
    """The answer to progress may come one call late."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if queue.progress(lease, progress(lease)) is expected:
            return True
        time.sleep(0.02)
    return False


class QueueConformance:
    works = (StageWork("a", None, {"fit": [1, None]}), StageWork("b", "a"))

    def test_work_flows_from_submit_to_outcome(self, queue):
        queue.submit("w", self.works)
        queue.close()
        for key in "ab":
            grant = queue.next("l")
            assert isinstance(grant, Grant)
            assert grant.lease == Lease(key, "l", 1)
            assert grant.work in self.works
            assert queue.finish(grant.lease, Outcome(key, Status.SEALED, trained=True))
        assert queue.next("l") == Closed()
        poll = queue.poll(0)
        assert poll.open == 0
        assert [type(event) for event in poll.events] == [StageLeased, Outcome] * 2
        assert queue.poll(poll.cursor).events == ()

    def test_who_follows_hears_at_once_that_nothing_more_will_come(self, queue):
        assert queue.poll(0).open == 0  # it works now, an actor too
        closing = threading.Timer(0.1, queue.close)
        closing.start()
        began = time.monotonic()
        assert queue.poll(0, 60).events == ()
        assert time.monotonic() - began < 30
        closing.join()
        assert queue.poll(0, 60).events == ()  # closed long ago
        assert time.monotonic() - began < 30

    def test_a_report_may_come_with_the_next_question(self, queue):
        queue.submit("w", [*self.works, StageWork("c", "b")])
        first = queue.next("l").lease
        second = queue.next("l", (first, Outcome("a", Status.SEALED, trained=True))).lease
        assert second == Lease("b", "l", 1)
        assert queue.wait(["a"]).ended["a"].trained
        queue.next("l", (first, Outcome("a", Status.SEALED)))  # stale; and b was lost with it
        assert LaneFault("l", "b", "it asked for work again") in queue.poll(0).events

    def test_a_report_is_heard_while_its_lane_waits(self, queue):
        queue.submit("w", self.works[:1])
        lease = queue.next("l").lease
        heard = []
        thread = threading.Thread(target=lambda: heard.append(queue.wait(["a"], 60)))
        thread.start()
        assert queue.next("l", (lease, Outcome("a", Status.SEALED))) == Idle()
        thread.join(30)
        assert set(heard[0].ended) == {"a"}

    def test_idle_comes_after_the_patience_and_not_before(self, queue):
        started = time.monotonic()
        assert queue.next("l") == Idle()
        assert 0.15 <= time.monotonic() - started < 120

    def test_a_waiting_lane_wakes_when_work_comes(self, queue):
        answers = []

        def ask():
            while not answers or answers[-1] == Idle():
                answers.append(queue.next("l"))

        thread = threading.Thread(target=ask)
        thread.start()
        queue.submit("w", self.works[:1])
        thread.join(20)
        assert not thread.is_alive()
        assert isinstance(answers[-1], Grant)

    def test_progress_is_the_newest_and_ends_with_the_stage(self, queue):
        queue.submit("w", self.works)
        lease = queue.next("l").lease
        for step in (1, 2, 3):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:  # fire and forget: tell it until it is seen
                queue.progress(lease, progress(lease, step))
                if [p.step for p in queue.poll(0).progress] == [step]:
                    break
            assert queue.poll(0).progress == (progress(lease, step),)
        queue.finish(lease, Outcome("a", Status.SEALED))
        assert queue.poll(0).progress == ()

    def test_a_dropped_stage_is_told_to_stop(self, queue):
        queue.submit("w", self.works)
        lease = queue.next("l").lease
        assert tell_until(queue, lease, True)
        queue.cancel()
        assert tell_until(queue, lease, False)
        assert queue.finish(lease, Outcome("a", Status.CANCELLED))
        poll = queue.poll(0)
        assert poll.open == 0
        ended = {e.key: e.status for e in poll.events if isinstance(e, Outcome)}
        assert ended == {"a": Status.CANCELLED, "b": Status.CANCELLED}

    def test_a_lost_lane_is_a_fault_and_a_retry(self, queue):
        queue.submit("w", self.works)
        first = queue.next("l").lease
        assert queue.lost("l", "killed", "")
        second = queue.next("l").lease
        assert (second.key, second.attempt) == ("a", 2)
        assert not queue.finish(first, Outcome("a", Status.SEALED))
        assert queue.lost("l", "ValueError", "Traceback ...")
        events = queue.poll(0).events
        assert LaneFault("l", "a", "killed") in events
        failed = {e.key: e.failure for e in events if isinstance(e, Outcome)}
        assert failed["a"].kind is FailureKind.ERROR
        assert failed["a"].traceback == "Traceback ..."
        assert failed["b"].kind is FailureKind.PARENT

    def test_a_lane_that_cannot_start_is_given_up(self, queue):
        assert queue.lost("l", "no module", "")
        assert not queue.lost("l", "no module", "")

    def test_failure_details_arrive(self, queue):
        queue.submit("w", self.works[:1])
        lease = queue.next("l").lease
        failure = Failure(FailureKind.NON_FINITE, "nan", "Traceback", 2, 7, "new/depth")
        queue.finish(lease, Outcome("a", Status.FAILED, failure=failure, steps_run=7))
        outcome = queue.poll(0).events[-1]
        place = StageWork("a", None)  # the spec stays behind
        assert outcome == Outcome("a", Status.FAILED, False, 7, 0.0, 1, failure, place)

    def test_poll_waits_for_news(self, queue):
        queue.submit("w", self.works[:1])
        assert queue.poll(0, 0.05).events == ()
        timer = threading.Timer(0.1, lambda: queue.next("l"))
        timer.start()
        assert len(queue.poll(0, 600).events) == 1
        timer.join()

    def test_two_waiters_share_a_stage(self, queue):
        queue.submit("one", self.works[:1])
        queue.submit("two", self.works[:1])
        lease = queue.next("l").lease
        queue.drop("one")
        assert tell_until(queue, lease, True)
        queue.drop("two")
        assert tell_until(queue, lease, False)

    def test_what_is_sealed_is_not_granted(self, queue):
        queue.submit("w", self.works, {"a"})
        assert queue.next("l").lease.key == "b"

    # Waiters ------------------------------------------------------------------------------------

    def test_wait_answers_with_what_ended(self, queue):
        works = [StageWork(key, None, sequence=f"s-{key}") for key in ("a", "b", "c", "d")]
        queue.submit("w", works, {"d"})
        leases = {lease.key: lease for lease in (queue.next(lane).lease for lane in "lmn")}
        assert queue.wait({"a", "b"}).ended == {}
        assert queue.wait({"a", "b"}).open == 2
        queue.finish(leases["a"], Outcome("a", Status.SEALED, trained=True, steps_run=3))
        queue.finish(leases["b"], Outcome("b", Status.SEALED))
        wait = queue.wait({"a", "b", "c", "d"}, 20)
        assert set(wait.ended) == {"a", "b", "d"} and wait.open == 1 and not wait.unknown
        assert {o.status for o in wait.ended.values()} == {Status.SEALED}
        assert [wait.ended[key].trained for key in "abd"] == [True, False, False]
        assert [wait.ended[key].sequence for key in "abd"] == ["s-a", "", ""]
        assert wait.incarnation == queue.poll(0).incarnation

    def test_wait_wakes_its_waiter(self, queue):
        queue.submit("w", self.works)
        lease = queue.next("l").lease
        heard = []
        thread = threading.Thread(target=lambda: heard.append(queue.wait(["a", "b"], 60)))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive() and not heard
        queue.finish(lease, Outcome("a", Status.SEALED))
        thread.join(30)
        assert not thread.is_alive()
        assert set(heard[0].ended) == {"a"} and heard[0].open == 1

    def test_wait_gives_up_after_its_time(self, queue):
        queue.submit("w", self.works)
        wait = queue.wait(["a", "b"], 0.1)
        assert (wait.ended, wait.open) == ({}, 2)

    def test_wait_names_what_was_never_submitted_at_once(self, queue):
        queue.submit("w", self.works[:1])
        wait = queue.wait(["a", "elsewhere"], 60)
        assert (wait.ended, wait.open, wait.unknown) == ({}, 1, {"elsewhere"})

    def test_a_failure_reaches_every_waiter_with_its_traceback(self, queue):
        queue.submit("one", self.works)
        queue.submit("two", self.works)
        heard = {}

        def listen(name):
            heard[name] = queue.wait(["a"], 60).ended["a"]

        threads = [threading.Thread(target=listen, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        lease = queue.next("l").lease
        failure = Failure(FailureKind.NON_FINITE, "nan", "Traceback", 2, 7, "new/depth")
        queue.finish(lease, Outcome("a", Status.FAILED, failure=failure))
        for thread in threads:
            thread.join(30)
        assert [heard[name].failure for name in ("one", "two")] == [failure, failure]
        assert queue.wait(["b"], 60).ended["b"].failure.kind is FailureKind.PARENT

    def test_cancelling_reaches_every_waiter(self, queue):
        queue.submit("one", self.works)
        queue.cancel()
        ended = queue.wait(["a", "b"], 60).ended
        assert {key: outcome.status for key, outcome in ended.items()} == {
            "a": Status.CANCELLED,
            "b": Status.CANCELLED,
        }
