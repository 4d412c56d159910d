"""Starting and ending the local cluster from another process."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from had_core.errors import BadInput, HadError
from orchestrator.execution.cluster import usable_cpus
from orchestrator.execution.environment import code_folders
from orchestrator.jobs.local.processes import MARK, end_all, of_cluster
from orchestrator.jobs.local.state import (
    LOG_FILE,
    LocalCluster,
    forget,
    is_kept,
    make_folder,
    read_state,
)

DEFAULT_PORT = 8265
MOST_NODES = 64
_START_S = 240.0  # seconds on an idle machine
_STOP_S = 60.0
_LAST_WORDS = 600


def up(folder: Path, nodes: int, cpus: int | None = None, port: int = DEFAULT_PORT) -> LocalCluster:
    """Start ``nodes`` raylets on this machine and wait until all of them are there.

    Args:
        folder: for the state file; made if it is not there.
        cpus: that each node offers; None shares out this machine's, one at least.
        port: of the dashboard on 127.0.0.1; 0 for any free one.

    Raises:
        BadInput: numbers that are not allowed, a cluster that is up already, a port in use.
        HadError: Ray does not come up.
    """
    each = max(1, usable_cpus() // nodes) if cpus is None and nodes else cpus
    for name, value, most in (("local", nodes, MOST_NODES), ("cpus", each, 1024)):
        if value is None or not 1 <= value <= most:
            raise BadInput(f"--{name}={value} is not allowed: 1 to {most}")
    make_folder(folder)
    known = read_state(folder)
    if is_kept(folder):
        where = f" at {known.address} with {known.nodes} nodes" if known else ""
        raise BadInput(f"a local cluster is up already{where}: had cluster down ends it")
    if known is not None:
        down(folder)
        make_folder(folder)
    return _start(folder, nodes, each or 1, _free_port(port))


def down(folder: Path) -> LocalCluster | None:
    """End the cluster and everything it started; None where there was none.

    Raises:
        HadError: its keeper cannot be ended.
    """
    cluster = read_state(folder)
    if cluster is None:
        if is_kept(folder):
            raise HadError("a local cluster is just starting: try again in a moment")
        return None
    processes = of_cluster(cluster.id)
    if is_kept(folder):
        _end_keeper(folder, cluster)
    end_all(processes | of_cluster(cluster.id))
    scratch = Path(cluster.scratch)
    if scratch.name.startswith("had-ray-"):
        shutil.rmtree(scratch, ignore_errors=True)
    forget(folder)
    return cluster


def _start(folder: Path, nodes: int, cpus: int, port: int) -> LocalCluster:
    identity = secrets.token_hex(16)
    path = [*code_folders(), *filter(None, [os.environ.get("PYTHONPATH")])]
    log = folder / LOG_FILE
    log.unlink(missing_ok=True)
    log.touch(mode=0o600)
    with log.open("wb") as out:
        keeper = subprocess.Popen(
            [
                *(sys.executable, "-m", "orchestrator.jobs.local.keeper"),
                *(str(word) for word in (folder, nodes, cpus, port)),
            ],
            cwd="/",
            env={**_inherited(), MARK: identity, "PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return _await(folder, keeper, identity)
    except BaseException:
        processes = of_cluster(identity)
        keeper.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(_STOP_S)
        end_all(processes | of_cluster(identity))
        if not is_kept(folder):  # by another command that was faster
            forget(folder)
        raise


def _inherited() -> dict[str, str]:
    """The environment without what would lead Ray to another cluster or token."""
    leading = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_JOB_CONFIG_JSON")
    return {k: v for k, v in os.environ.items() if not k.startswith(leading)}


def _await(folder: Path, keeper: subprocess.Popen[bytes], identity: str) -> LocalCluster:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        cluster = read_state(folder)
        if cluster is not None and cluster.id == identity:
            return cluster
        if keeper.poll() is not None:
            words = (folder / LOG_FILE).read_text(errors="replace").strip()[-_LAST_WORDS:]
            raise HadError(f"the local cluster did not come up: {words}")
        time.sleep(0.1)
    raise HadError(f"the local cluster did not come up within {_START_S:.0f} s")


def _end_keeper(folder: Path, cluster: LocalCluster) -> None:
    for number, patience in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, _STOP_S)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(cluster.pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not is_kept(folder):
                return
            time.sleep(0.1)
    raise HadError(f"the local cluster's keeper (process {cluster.pid}) does not end")


def _free_port(port: int) -> int:
    """The port itself if it is free on the loopback interface, any free one for 0."""
    if not 0 <= port <= 65535:
        raise BadInput(f"--port={port} is not allowed: 0 (any free one) to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BadInput(
                f"--port={port} is not allowed ({error.strerror}): another one, or 0 for any free"
            ) from None
        return int(probe.getsockname()[1])
