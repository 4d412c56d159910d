"""The processes of one local cluster, found by what they inherit.

Ray's processes start others, some in sessions of their own and some that outlive their parent for a
while. All of them get one variable whose value was drawn for this cluster; some of Ray's then write
their title over it, so their descent counts as well. Taking a cluster down looks who is there,
waits for exactly these, and ends exactly these.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

MARK = "HAD_CLUSTER_ID"


@dataclass(frozen=True)
class Process:
    """A process, told from a later one of the same number by when it began."""

    pid: int
    began: int

    def lives(self, proc: Path = Path("/proc")) -> bool:
        found = _look(proc / str(self.pid))
        return found is not None and found.process == self


@dataclass(frozen=True)
class _Seen:
    process: Process
    parent: int
    marks: bytes


def of_cluster(identity: str, proc: Path = Path("/proc")) -> set[Process]:
    """Living processes of the cluster, this one left out: what has its mark, and all below them."""
    wanted = f"{MARK}={identity}".encode()
    seen = [look for folder in proc.iterdir() if (look := _look(folder)) is not None]
    found = {look.process.pid for look in seen if wanted in look.marks.split(b"\0")}
    while grown := {look.process.pid for look in seen if look.parent in found} - found:
        found |= grown
    return {look.process for look in seen if look.process.pid in found - {os.getpid()}}


def wait_until_gone(processes: Set[Process], patience_s: float) -> set[Process]:
    """Who is still there afterwards."""
    deadline = time.monotonic() + patience_s
    while True:
        left = {process for process in processes if process.lives()}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def end_all(processes: Set[Process], patience_s: float = 10.0) -> None:
    """Give them some seconds to go by themselves, then kill what is left."""
    for process in wait_until_gone(processes, patience_s):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGKILL)
    wait_until_gone(processes, patience_s)


def _look(folder: Path) -> _Seen | None:
    """What ``/proc`` tells of a process that lives and is ours to read."""
    if not folder.name.isdigit():
        return None
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        marks = (folder / "environ").read_bytes()
    except OSError:
        return None
    if fields[0] in ("Z", "X"):
        return None
    return _Seen(Process(int(folder.name), int(fields[19])), int(fields[1]), marks)
