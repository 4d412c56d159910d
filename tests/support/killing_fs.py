"""A file system for the store that kills its own process at a chosen write, and helpers around it.

Enumerate every write point of a scenario::

    log = writes_of(scenario, root)                         # runs it once to the end
    for moment in Moment:
        for point in differing_points(log, moment):
            assert run_killed(scenario, fresh_root, point, moment)
            ...                                             # reopen, check, run again, compare

``scenario`` takes a ``StoreFs``; ``Store(fs)`` makes a store of it. The kill is SIGKILL, so that no
handler, ``finally`` or buffer gets a chance.
"""

from __future__ import annotations

import enum
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from orchestrator.store import LocalFs, StoreFs
from orchestrator.store.fs import temporary_beside

T = TypeVar("T")
Scenario = Callable[[StoreFs], object]


class Moment(enum.Enum):
    """When the process dies: before the write, half-way through it, or right after it."""

    BEFORE = "before"
    WITHIN = "within"
    AFTER = "after"


@dataclass
class KillingFs:
    """Wraps another file system, logs what changes it, and dies at write number ``point``.

    Attributes:
        point: 0-based number of the write to die at; None only logs.
        log: ``"<operation> <path>"`` of every write that has begun.
    """

    inner: StoreFs
    point: int | None = None
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
            lambda: None,  # a rename has no half
        )

    def _step(self, what: str, act: Callable[[], T], half: Callable[[], None]) -> T:
        here = len(self.log) == self.point
        self.log.append(what)
        if here and self.moment is not Moment.AFTER:
            if self.moment is Moment.WITHIN:
                half()
            _die()
        result = act()
        if here:
            _die()
        return result

    def _torn(self, path: str, data: bytes) -> Callable[[], None]:
        """Half of the bytes under a temporary name: what a killed atomic write leaves."""
        return lambda: self.inner.write(temporary_beside(path), data[: len(data) // 2])

    def _half_deleted(self, path: str) -> Callable[[], None]:
        """A folder loses its first half; one file is gone or not."""

        def half() -> None:
            names = self.inner.names(path)
            for name in names[: (len(names) + 1) // 2]:
                self.inner.delete(f"{path}/{name}")

        return half


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


def run_killed(scenario: Scenario, root: Path, point: int, moment: Moment) -> bool:
    """Run in a child process that dies at ``point``; whether it did."""
    status = run_in_child(lambda: scenario(KillingFs(LocalFs(str(root)), point, moment)))
    return status == -signal.SIGKILL


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


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
