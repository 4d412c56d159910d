"""The processes of one local cluster, found by what only they have in their environment.

Ray's processes start others, some in sessions of their own and some that outlive their parent for a
while. All of them inherit one variable whose value was drawn for this cluster, so that taking it
down can wait for exactly them, and end exactly them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "HAD_CLUSTER_ID"


def of_cluster(identity: str, proc: Path = Path("/proc")) -> set[int]:
    """Living processes of the cluster, this one left out."""
    wanted = f"{MARK}={identity}".encode()
    found = set()
    for folder in proc.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            variables = (folder / "environ").read_bytes().split(b"\0")
            if wanted in variables and not _is_zombie(folder):
                found.add(int(folder.name))
    return found


def wait_until_gone(identity: str, patience_s: float) -> set[int]:
    """Who is still there afterwards."""
    deadline = time.monotonic() + patience_s
    while True:
        left = of_cluster(identity)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def end_all(identity: str, patience_s: float = 10.0) -> None:
    """Give what is left some seconds to go by itself, then kill it."""
    for pid in wait_until_gone(identity, patience_s):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    wait_until_gone(identity, patience_s)


def _is_zombie(folder: Path) -> bool:
    return (folder / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
