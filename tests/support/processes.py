"""Looking at processes through /proc, for tests that kill some of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def parent_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]
    return None if state in "ZX" else int(parent)


def descendants(pid: int) -> dict[int, str]:
    """Living processes below ``pid`` and how they call themselves; one that is ending has no name
    any more and is left out."""
    parents = {
        int(p.name): parent_of(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit()
    }
    found: dict[int, str] = {}
    grown = {pid}
    while grown:
        grown = {child for child, parent in parents.items() if parent in grown}
        found.update({child: command for child in grown if (command := command_of(child))})
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def train_workers(pid: int | None = None) -> list[int]:
    """Ray Train workers that this process (or ``pid``) started, in order of their pids."""
    below = descendants(pid or os.getpid())
    return sorted(p for p, command in below.items() if command.startswith("ray::RayTrainWorker"))


def alive(pid: int) -> bool:
    return parent_of(pid) is not None


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(every)
    return condition()


def listening(pids: set[int]) -> set[str]:
    """Addresses on which these processes accept TCP connections, as hexadecimal of /proc/net."""
    sockets = set()
    for pid in pids:
        try:
            handles = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for handle in handles:
            try:
                target = os.readlink(handle)
            except OSError:
                continue
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1].rpartition(":")[0])
    return found
