from __future__ import annotations

from typing import Any

import pytest
from fake_jobs import FakeJobs

from orchestrator.execution.messages import Outcome, Status
from orchestrator.jobs.client import ConnectionLost
from orchestrator.jobs.following import LogClock, Replay, follow
from orchestrator.jobs.job import JobState
from orchestrator.jobs.wire import Call, Result, encode

OUTCOME = Outcome("a" * 64, Status.SEALED, trained=True)
LOG = "\n".join(
    [
        "2026-01-01 00:00:00,000 INFO job_manager.py:1 -- Runtime env is setting up.",
        "Running entrypoint for job x: python",
        "building rooms",
        encode(Call("begin", ("try",), {"to_train": 1, "cached": 0})),
        encode(Call("event", (OUTCOME,))),
        encode(Result({"name": "try"})),
        "the table",
        "",
        "run       try",
    ]
)


class Screen:
    """A display and an output that remember."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.notes: list[str] = []
        self.tables: list[str] = []
        self.document: Any = None

    def begin(self, name: str, **counts: int) -> None:
        self.calls.append((name, counts))

    def event(self, event: Any) -> None:
        self.calls.append(event)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def result(self, document: Any) -> None:
        self.document = document

    def table(self, text: str) -> None:
        self.tables.append(text)


@pytest.fixture
def screen() -> Screen:
    return Screen()


def followed(api: FakeJobs, screen: Screen, **options: Any) -> Any:
    job = api.jobs.get("x") or api.add("x")
    waited: list[float] = []
    return follow(api, job, Replay(screen, screen), sleep=waited.append, **options), waited


def check(screen: Screen) -> None:
    assert screen.calls == [("try", {"to_train": 1, "cached": 0}), OUTCOME]
    assert screen.notes == ["building rooms"]
    assert screen.document == {"name": "try"}
    assert screen.tables == ["the table", "", "run       try"]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_a_log_in_pieces_of_any_length(screen, size):
    api = FakeJobs()
    api.pieces["x"] = [LOG[i : i + size] for i in range(0, len(LOG), size)]
    ended, _ = followed(api, screen)
    assert ended.state is JobState.SUCCEEDED
    check(screen)


def test_a_lost_connection_is_tried_again_and_nothing_is_shown_twice(screen):
    api = FakeJobs()
    api.pieces["x"] = [LOG[:200], ConnectionLost("gone"), LOG[200:300], None, LOG[300:]]
    _, waited = followed(api, screen)
    check(screen)
    assert waited == [2.0]


def test_a_cluster_that_stays_away_is_told(screen):
    api = FakeJobs()
    api.add("x")
    api.gone = True
    with pytest.raises(ConnectionLost):
        followed(api, screen)


def test_silence_of_a_dead_job_is_the_end(screen):
    """A connection that nobody closed: the job is looked after, and left some seconds."""
    api = FakeJobs()
    api.pieces["x"] = ["last words\n", *[None] * 50, "never read\n"]
    api.add("x")
    api.end("x", JobState.FAILED, 3)
    times = iter(range(0, 1000, 10))
    ended, _ = followed(api, screen, clock=lambda: float(next(times)))
    assert ended.status == 3
    assert screen.notes == ["last words"]


def test_a_log_that_ends_before_its_job_is_opened_again(screen):
    """The dashboard was restarted: the tail ends in peace, the job has not."""

    class Restarted(FakeJobs):
        opened = 0

        def tail(self, job_id, idle_s):
            self.opened += 1
            if self.opened == 1:
                yield LOG[:150]
                return
            yield from super().tail(job_id, idle_s)

    api = Restarted()
    api.pieces["x"] = [LOG]
    followed(api, screen)
    check(screen)
    assert api.opened == 2


def test_the_clock_of_a_log_goes_on_by_itself():
    now = [50.0]
    clock = LogClock(lambda: now[0])
    clock.hear(1000.0)
    now[0] = 53.0
    assert clock() == 1003.0
    clock.hear(1100.0)
    assert clock() == 1100.0
