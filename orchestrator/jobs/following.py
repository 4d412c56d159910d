"""Following a job: its log becomes the display and the output of a command here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from orchestrator.jobs.client import ConnectionLost, JobsApi
from orchestrator.jobs.job import Job
from orchestrator.jobs.wire import Call, Result, decode_line, play

_IDLE_S = 10.0
_LAST_WORDS_S = 20.0  # for a log to end once its job has
_RECONNECTS = 6
_END_LOOKS = 60
_RAYS_OWN = ("Running entrypoint for job ", "Runtime env is setting up.")


class Output(Protocol):
    """Where a followed job shows up here."""

    def note(self, text: str) -> None:
        """A line of the job's log before its result."""
        ...

    def result(self, document: Any) -> None:
        """The command's JSON document."""
        ...

    def table(self, text: str) -> None:
        """A line of what the command printed for people, after its result."""
        ...


class LogClock:
    """The time at which the log was written: what is played back took as long as it took.

    It goes on by itself while nothing comes, so that a display that is followed live lives.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at, self._heard = 0.0, clock()

    def __call__(self) -> float:
        return self._at + self._clock() - self._heard

    def hear(self, at: float) -> None:
        """This was written then."""
        self._at, self._heard = at, self._clock()


class Replay:
    """Turns lines of a log into calls on a display and output, in order."""

    def __init__(self, display: Any, output: Output, clock: LogClock | None = None) -> None:
        self._display, self._output = display, output
        self._clock = clock or LogClock()
        self._rest = ""
        self._ended = False

    def feed(self, text: str) -> None:
        """A piece of the log of any length."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(line)

    def close(self) -> None:
        """The log is at its end."""
        if self._rest:
            self._line(self._rest)
            self._rest = ""

    def _line(self, line: str) -> None:
        message = decode_line(line.rstrip("\r"))
        if isinstance(message, Call):
            self._clock.hear(message.at)
            play(message, self._display)
        elif isinstance(message, Result):
            self._ended = True
            self._output.result(message.document)
        elif isinstance(message, str) and not _is_rays_own(message):
            if self._ended:
                self._output.table(message)
            else:
                self._output.note(message)


def follow(
    api: JobsApi,
    job: Job,
    replay: Replay,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Job:
    """Until the job has ended and its log with it; a lost connection is tried again for a while.

    Returns:
        The job as it ended; its ``status`` is the exit status to return.

    Raises:
        ConnectionLost: the cluster does not come back.
    """
    seen, lost = 0, 0
    while True:
        offset = 0
        try:
            for text in _texts(api, job.id, clock):
                fresh = text[max(0, seen - offset) :]
                offset += len(text)
                seen, lost = max(seen, offset), 0
                replay.feed(fresh)
            ended = _ended(api, job.id, sleep)
            replay.close()
            return ended
        except ConnectionLost:
            lost += 1
            if lost > _RECONNECTS:
                raise
            sleep(min(2.0**lost, 30.0))


def _texts(api: JobsApi, job_id: str, clock: Callable[[], float]) -> Iterator[str]:
    """The log from its beginning; ends with it, or soon after the job where nothing tells."""
    dead_since: float | None = None
    for text in api.tail(job_id, _IDLE_S):
        if text is not None:
            yield text
            continue
        if api.get(job_id).state.lives:
            continue
        dead_since = clock() if dead_since is None else dead_since
        if clock() - dead_since > _LAST_WORDS_S:
            return


def _ended(api: JobsApi, job_id: str, sleep: Callable[[float], None]) -> Job:
    """The job's end is written down a moment after its log has ended."""
    for _ in range(_END_LOOKS):
        job = api.get(job_id)
        if not job.state.lives:
            return job
        sleep(0.5)
    raise ConnectionLost(f"the log of job {job_id} ended before the job did")


def _is_rays_own(line: str) -> bool:
    """What Ray writes into every job's log."""
    return any(text in line for text in _RAYS_OWN)
