"""Processes that can be told apart across machines and reboots, and whether they still run."""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process.

    Attributes:
        boot: identity of the machine's boot and of the process namespace; pids mean something only
            inside it.
        started: start time of the process in clock ticks since boot; tells a reused pid apart.
    """

    host: str
    boot: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> Process:
        pid = os.getpid()
        return cls(socket.gethostname(), boot_id(), pid, start_ticks(pid) or 0)

    def runs(self) -> bool | None:
        """Whether it still does; None where that cannot be seen from here."""
        if (self.host, self.boot) != (socket.gethostname(), boot_id()):
            return None
        return start_ticks(self.pid) == self.started


@functools.cache
def boot_id() -> str:
    """Boot id and pid namespace of this process; empty parts where the system has neither."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Start time of a process (field 22 of proc(5) stat); 0 without /proc, None if it is gone."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return 0
        return 0
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(fields[18])
