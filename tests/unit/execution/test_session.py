from __future__ import annotations

import threading
import time

import pytest
from fake_lane import FakeLane, seal_all
from queue_conformance import progress

from had_core.errors import BadInput
from orchestrator.execution.messages import (
    Failure,
    FailureKind,
    LaneFault,
    Lease,
    Outcome,
    StageLeased,
    StageWork,
    Status,
)
from orchestrator.execution.placement import Placement
from orchestrator.execution.queue import LocalQueue
from orchestrator.execution.session import Session, inline_session
from orchestrator.execution.watch import LanesFailed
from orchestrator.store import Store
from orchestrator.tracking.events import StageFailed
from orchestrator.tracking.journal import Journal, JournalReader

WORKS = (StageWork("a", None), StageWork("b", "a"), StageWork("c", "a"))


def session_of(queue, *lanes):
    session = Session(queue, lanes)
    session.start()
    return session


def run_all(session, works=WORKS):
    wants = session.submit("w", works)
    session.close()
    session.watch()
    return wants.ended


def test_a_dead_lane_leaves_its_stage_to_the_others():
    queue, taken = LocalQueue(), threading.Event()

    def dies():
        queue.next("one")
        taken.set()
        raise RuntimeError("controller died")

    def works():
        taken.wait(10)  # so that the other one takes the first stage
        seal_all(queue, "two")()

    ended = run_all(session_of(queue, FakeLane("one", dies), FakeLane("two", works)))
    assert {o.status for o in ended.values()} == {Status.SEALED}
    assert ended["a"].attempts == 2


@pytest.mark.parametrize("closed", [True, False])
def test_without_any_lane_there_is_an_error_and_no_hang(closed):
    def dies():
        raise RuntimeError("cannot start its workers")

    session = session_of(LocalQueue(), FakeLane("one", dies))
    if closed:  # else stages may come at any time, and there is nobody to execute them
        session.submit("w", WORKS)
        session.close()
    with pytest.raises(LanesFailed, match="cannot start its workers"):
        session.watch()


def test_a_lanes_bad_input_is_raised_as_such():
    def refuses():
        raise BadInput("dataset nowhere is not there")

    session = session_of(LocalQueue(), FakeLane("one", refuses))
    with pytest.raises(BadInput, match="nowhere"):
        session.watch()


class Restarting:
    """A queue whose state is gone when a test says so."""

    def __init__(self):
        self.inner, self.old = LocalQueue(), None

    def restart(self):
        self.inner, self.old = LocalQueue(), self.inner

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_a_restarted_queue_hears_everything_again():
    """The actor died: its state is gone, its lanes go on asking."""
    queue = Restarting()
    ready = threading.Event()

    def script():
        lease: Lease = queue.next("one").lease
        ready.set()
        while queue.old is None:
            time.sleep(0.01)
        assert not queue.finish(lease, Outcome(lease.key, Status.SEALED))  # nobody knows it
        seal_all(queue, "one")()

    def restart():
        ready.wait(10)
        time.sleep(0.05)  # a few polls
        queue.restart()

    thread = threading.Thread(target=restart)
    thread.start()
    ended = run_all(session_of(queue, FakeLane("one", script)))
    thread.join()
    assert set(ended) == {"a", "b", "c"}


# An open-ended queue ----------------------------------------------------------------------------


def in_thread(function):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_watch_goes_on_until_it_is_told_to_close():
    queue = LocalQueue()
    session = session_of(queue, FakeLane("one", seal_all(queue, "one")))
    heard, results = [], []

    def trials():
        for number in range(3):
            queue.submit(f"t{number}", [StageWork(f"s{number}", None)])
            assert queue.wait([f"s{number}"], 10).ended
            queue.drop(f"t{number}")
            time.sleep(0.05)  # nothing is open, for longer than a poll: the search thinks
        results.append(session.open)
        session.close()

    thread = in_thread(trials)
    assert session.watch(heard.append) is False
    thread.join(10)
    assert results == [0]
    assert [e.key for e in heard if isinstance(e, Outcome)] == ["s0", "s1", "s2"]


def test_after_a_restart_the_session_is_as_closed_as_before():
    queue = Restarting()
    gate = threading.Event()

    def script():
        gate.wait(10)
        seal_all(queue, "one")()

    session = session_of(queue, FakeLane("one", script))
    wants = session.submit("w", WORKS)
    session.close()

    def restart():
        time.sleep(0.05)
        queue.restart()
        time.sleep(0.1)
        gate.set()

    thread = in_thread(restart)
    session.watch()
    thread.join(10)
    assert set(wants.ended) == {"a", "b", "c"}


def test_ctrl_c_cancels_once_and_tells_the_caller(ctrl_c):
    queue = LocalQueue()
    told = []

    def script():
        lease = queue.next("one").lease
        while queue.progress(lease, progress(lease)):
            time.sleep(0.02)
        queue.finish(lease, Outcome(lease.key, Status.CANCELLED))
        seal_all(queue, "one")()

    session = session_of(queue, FakeLane("one", script))
    wants = session.submit("w", WORKS)

    def press(event):
        if isinstance(event, StageLeased):
            ctrl_c()

    assert session.watch(press, on_interrupt=lambda: told.append(1)) is True
    assert told == [1]
    assert {key: o.status for key, o in wants.ended.items()} == dict.fromkeys(
        "abc", Status.CANCELLED
    )


def test_farewell_ends_what_is_open():
    queue = LocalQueue()
    lane = FakeLane("one", seal_all(queue, "one"))
    session = session_of(queue, lane)
    session.farewell()
    assert not lane.alive


def test_after_an_exception_an_inline_lane_is_told_to_end(tmp_path, micro_dataset):
    place = Placement(micro_dataset.path, inline=True)
    with pytest.raises(ZeroDivisionError), inline_session(Store.open(tmp_path), place) as session:
        (lane,) = session._lanes
        raise ZeroDivisionError
    lane.join(30)
    assert not lane.alive and lane.error is None


def test_failures_are_journalled_with_their_place(tmp_path):
    """Also of stages that never ran, and of stages that others than the driver submitted."""
    queue = LocalQueue(max_attempts=2)
    calls = []

    def script():
        while len(calls) < 2:
            queue.next("one")
            calls.append(queue.lost("one", "killed", "Traceback: x"))
        seal_all(queue, "one")()

    store = Store.open(tmp_path)
    session = session_of(queue, FakeLane("one", script))
    works = [
        StageWork("a", None, run="r", sequence="s1", position=1, tasks=("depth",)),
        StageWork("b", "a", run="r", sequence="s2", position=2, tasks=("normal",)),
    ]
    queue.submit("trial", works)
    session.close()
    heard = []
    journal = Journal(store.uri, "r")
    session.watch(heard.append, journal)
    journal.close()
    told = [e for e in JournalReader.open(store.uri, "r").events() if isinstance(e, StageFailed)]
    assert [(e.stage.key, e.stage.sequence, e.attempt, e.final) for e in told] == [
        ("a", "s1", 1, False),
        ("a", "s1", 2, False),
        ("a", "s1", 2, True),
        ("b", "s2", 0, True),
    ]
    assert [e.traceback for e in heard if isinstance(e, LaneFault)] == ["Traceback: x"] * 2
    failure = next(e.failure for e in heard if isinstance(e, Outcome))
    assert failure == Failure(
        FailureKind.ERROR, "the workers of one were lost: killed", "Traceback: x"
    )
