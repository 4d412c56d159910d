"""A file system for the store that stops its own process at chosen writes, and helpers around it.

Enumerate every write point of a scenario::

    log = writes_of(scenario, root)                         # runs it once to the end
    for moment in Moment:
        points = differing_points(log, moment)
        fs = KillingFs(LocalFs(str(root)), points, moment)
        for left in deaths(lambda: scenario(fs), root, folder):
            ...                                             # reopen, check, run again, compare

``scenario`` takes a ``StoreFs``; ``Store(fs)`` makes a store of it. One forked child runs it and is
stopped (SIGSTOP) at every point, and what is on the disk then is copied. That is what SIGKILL would
leave: all threads stand still, and no handler, ``finally`` or buffer gets a chance. So n points
cost one run and not n of them; when the copies are looked at, the child is gone.
"""

from __future__ import annotations

import enum
import os
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from orchestrator.store import LocalFs, StoreFs
from orchestrator.store.fs import temporary_beside

T = TypeVar("T")
Scenario = Callable[[StoreFs], object]
Undo = Callable[[], None]


class Moment(enum.Enum):
    """When the process stops: before the write, half-way through it, or right after it."""

    BEFORE = "before"
    WITHIN = "within"
    AFTER = "after"


@dataclass
class KillingFs:
    """Wraps another file system, logs what changes it, and stops its process at chosen writes.

    Attributes:
        point: 0-based number of the write, or of several; None only logs.
        log: ``"<operation> <path>"`` of every write that has begun.
    """

    inner: StoreFs
    point: int | Collection[int] | None = None
    moment: Moment = Moment.BEFORE
    log: list[str] = field(default_factory=list)

    @property
    def root(self) -> str:
        return self.inner.root

    def read(self, path: str) -> bytes:
        return self.inner.read(path)

    def size(self, path: str) -> int | None:
        return self.inner.size(path)

    def names(self, folder: str) -> list[str]:
        return self.inner.names(folder)

    def write(self, path: str, data: bytes, *, durable: bool = True) -> None:
        self._step(
            f"write {path}",
            lambda: self.inner.write(path, data, durable=durable),
            self._torn(path, data),
        )

    def create_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> bool:
        return self._step(
            f"create {path}",
            lambda: self.inner.create_if_absent(path, data, durable=durable),
            self._torn(path, data),
        )

    def delete(self, path: str) -> None:
        self._step(f"delete {path}", lambda: self.inner.delete(path), self._half_deleted(path))

    def move(self, source: str, target: str) -> bool:
        return self._step(
            f"move {source}",
            lambda: self.inner.move(source, target),
            lambda: _nothing,  # a rename has no half
        )

    def _step(self, what: str, act: Callable[[], T], half: Callable[[], Undo]) -> T:
        here = self._is_point(len(self.log))
        self.log.append(what)
        if here and self.moment is not Moment.AFTER:
            undo = half() if self.moment is Moment.WITHIN else _nothing
            stop()
            undo()
        result = act()
        if here and self.moment is Moment.AFTER:
            stop()
        return result

    def _is_point(self, number: int) -> bool:
        return number in self.point if isinstance(self.point, Collection) else number == self.point

    def _torn(self, path: str, data: bytes) -> Callable[[], Undo]:
        """Half of the bytes under a temporary name: what a killed atomic write leaves."""

        def half() -> Undo:
            torn = temporary_beside(path)
            self.inner.write(torn, data[: len(data) // 2])
            return lambda: self.inner.delete(torn)

        return half

    def _half_deleted(self, path: str) -> Callable[[], Undo]:
        """A folder loses its first half; one file is gone or not."""

        def half() -> Undo:
            names = self.inner.names(path)
            for name in names[: (len(names) + 1) // 2]:
                self.inner.delete(f"{path}/{name}")
            return _nothing  # the whole deletion comes next

        return half


def _nothing() -> None:
    """Nothing to undo."""


def stop() -> None:
    """Stand still, all threads, until whoever follows ``stops_of`` this process goes on."""
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # this thread here, and now


def writes_of(scenario: Scenario, root: Path) -> list[str]:
    """Run to the end in this process; the writes it takes."""
    fs = KillingFs(LocalFs(str(root)))
    scenario(fs)
    return fs.log


def differing_points(log: Sequence[str], moment: Moment) -> list[int]:
    """Points of a logged run at which dying at ``moment`` leaves a disk that no other moment does.

    Before a write the disk is as it was after the one before; half of a rename is no rename.
    """
    if moment is Moment.BEFORE:
        return [0]
    halves = [point for point, line in enumerate(log) if not line.startswith("move ")]
    return halves if moment is Moment.WITHIN else list(range(len(log)))


def deaths(scenario: Callable[[], object], root: Path, folder: Path) -> list[Path]:
    """What the death of a process at each of its stops leaves of ``root``, in order.

    Args:
        scenario: runs in a forked child, and stops there.
        folder: a new one, for the copies.
    """
    left: list[Path] = []
    for _ in stops_of(scenario):
        left.append(folder / str(len(left)))
        shutil.copytree(root, left[-1])
    return left


def stops_of(function: Callable[[], object]) -> Iterator[None]:
    """Run ``function`` in a forked child; yields whenever that has stopped itself.

    The child goes on with the next iteration, and is killed where it stands if there is none.
    """
    pid = start_child(function)
    try:
        while os.WIFSTOPPED(status := os.waitpid(pid, os.WUNTRACED)[1]):
            yield
            os.kill(pid, signal.SIGCONT)
    except BaseException:  # the caller's
        os.kill(pid, signal.SIGKILL)
        join_child(pid)
        raise
    assert os.waitstatus_to_exitcode(status) == 0


def run_in_child(function: Callable[[], object]) -> int:
    """Exit status of a forked child, as ``subprocess`` gives it: 0, 1 for an exception, -signal."""
    return join_child(start_child(function))


def start_child(function: Callable[[], object]) -> int:
    """Pid of a forked child that runs ``function`` and leaves without Python's own exit."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def join_child(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
