"""What is known about the local cluster: one file in a folder that only its owner can read.

``cluster.json`` is written once everything is up and removed with it; a lock beside it is held by
the keeper, so that a keeper that was killed is told from one that lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from had_core.canonical import to_plain
from had_core.decode import decode
from had_core.errors import BadInput
from had_core.paths import expanded

STATE_FILE = "cluster.json"
LOG_FILE = "keeper.log"
_LOCK_FILE = "lock"


@dataclass(frozen=True)
class LocalCluster:
    """A local cluster that is up.

    Attributes:
        id: drawn for this cluster; every process of it has it in its environment.
        pid: of the keeper.
        address: of the dashboard, which serves the Jobs API.
        gcs: where drivers join it (cluster.address).
        token_path: file with the token.
        nodes, cpus: raylets, and CPUs that each offers.
        scratch: what Ray writes; goes with the cluster.
    """

    id: str
    pid: int
    address: str
    gcs: str
    token_path: str
    nodes: int
    cpus: int
    scratch: str


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """HAD_CLUSTER_STATE, or a folder of this user's state."""
    named = environment.get("HAD_CLUSTER_STATE")
    if named:
        return expanded(named).absolute()
    root = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(root) / "had-cluster"


def make_folder(folder: Path) -> None:
    """The folder, for its owner only; one that is there stays as it is.

    Raises:
        BadInput: it cannot be made, or others may write it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise BadInput(
            f"the state folder {folder} cannot be used ({error.strerror}): name another with "
            "--state"
        ) from None
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadInput(
            f"the state folder {folder} is not allowed: one that belongs to this user and that "
            "nobody else can write"
        )


def read_state(folder: Path) -> LocalCluster | None:
    """The cluster, None where there is none; one whose keeper is dead is still told."""
    try:
        raw = json.loads((folder / STATE_FILE).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder / STATE_FILE} cannot be read: {error}") from None
    return decode(LocalCluster, raw, at=str(folder / STATE_FILE))


def write_state(folder: Path, cluster: LocalCluster) -> None:
    """Whole or not at all; for its owner only."""
    temporary = folder / f".{STATE_FILE}.{os.getpid()}"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(to_plain(cluster), indent=1))
    os.replace(temporary, folder / STATE_FILE)


def forget(folder: Path) -> None:
    """Nothing is left in the folder; the folder goes where it is empty."""
    for name in (STATE_FILE, LOG_FILE, _LOCK_FILE):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def hold_lock(folder: Path) -> IO[str] | None:
    """The keeper's lock, held until the file is closed; None where another process has it."""
    handle = (folder / _LOCK_FILE).open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        return None
    return handle


def is_kept(folder: Path) -> bool:
    """Whether a keeper lives."""
    if not (folder / _LOCK_FILE).exists():
        return False
    lock = hold_lock(folder)
    if lock is None:
        return True
    lock.close()
    return False
