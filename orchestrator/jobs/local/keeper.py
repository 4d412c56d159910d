"""The process that a local cluster lives and dies with: ``python -m ...keeper FOLDER N CPUS PORT``.

It starts the head and the other nodes as its children, writes the state file once all of them are
there, and waits. On SIGTERM, or when the head dies, it takes everything down. Should it be killed
itself, the kernel ends its children; ``had cluster down`` sweeps what is left.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.execution.environment import environment, private_environment
from orchestrator.execution.scratch import scratch_folder
from orchestrator.jobs.local.processes import MARK
from orchestrator.jobs.local.state import LocalCluster, hold_lock, write_state

_log = logging.getLogger("orchestrator.jobs.keeper")
_LOOPBACK = "127.0.0.1"
_OBJECT_STORE_BYTES = 80 * 2**20  # Ray's least is 75 MiB; weights travel through the store
_LOOK_EVERY_S = 2.0
_HEAD_SETTINGS = {
    "prestart_worker_first_driver": False,
    "enable_metrics_collection": False,
    # By default workers are so nice that any other load starves them.
    "worker_niceness": 0,
}


def keep(folder: Path, nodes: int, cpus: int, port: int) -> None:
    """Until someone sends SIGTERM."""
    lock = hold_lock(folder)
    if lock is None:
        raise SystemExit("another keeper has this folder")
    stop = threading.Event()
    with (
        lock,
        scratch_folder() as scratch,
        environment(_environment(scratch)),
        _nodes(scratch, nodes, cpus, port) as cluster,
    ):
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        write_state(folder, _state(cluster, scratch, nodes, cpus))
        while not stop.wait(_LOOK_EVERY_S):
            if not cluster.head_node.remaining_processes_alive():
                _log.error("a process of the head ended: the cluster goes down")
                break


def _environment(scratch: Path) -> dict[str, str]:
    return {
        **private_environment(scratch),
        # Jobs run with the interpreter of this cluster, whatever the shell would find.
        "HAD_PYTHON": sys.executable,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


@contextmanager
def _nodes(scratch: Path, nodes: int, cpus: int, port: int) -> Iterator[Any]:
    """Head and other nodes, every port of them on the loopback interface."""
    from ray._private.utils import write_ray_address
    from ray.cluster_utils import Cluster

    temporary = scratch / "r"
    (temporary / "ray").mkdir(parents=True)  # Ray's helper writes there without asking
    common: dict[str, Any] = {
        "node_ip_address": _LOOPBACK,
        "num_cpus": cpus,
        "num_gpus": 0,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
    cluster = Cluster()
    try:
        cluster.add_node(
            **common,
            node_name="node-0",
            temp_dir=str(temporary),
            include_dashboard=True,
            dashboard_host=_LOOPBACK,
            dashboard_port=port,
            # Any free one: Ray's own choice is the same for every cluster on a machine, and the
            # second one there would take no jobs.
            dashboard_agent_listen_port=0,
            _system_config=_HEAD_SETTINGS,
        )
        # Where the job supervisor looks, so that it does not pick another cluster of this machine.
        write_ray_address(cluster.gcs_address, str(temporary))
        for number in range(1, nodes):
            # A folder of its own: a node unpacks a job's code again when its first task comes, and
            # in a common folder that deletes the code under the feet of those who run it.
            own = str(scratch / str(number))
            cluster.add_node(**common, node_name=f"node-{number}", temp_dir=own)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


def _state(cluster: Any, scratch: Path, nodes: int, cpus: int) -> LocalCluster:
    return LocalCluster(
        id=os.environ[MARK],
        pid=os.getpid(),
        address=f"http://{cluster.webui_url}",
        gcs=cluster.gcs_address,
        token_path=str(scratch / "token"),
        nodes=nodes,
        cpus=cpus,
        scratch=str(scratch),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    keep(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:5]))
