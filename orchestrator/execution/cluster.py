"""Starting, joining and leaving Ray.

A private local cluster listens on the loopback interface only, wants a token that lives in a file
only its owner can read, keeps everything it writes in one scratch folder, and ends with its driver:
Ray's reaper ends the processes when the driver is killed, the next start sweeps the folder.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from had_core.errors import BadInput
from orchestrator.execution.environment import (
    QUIET_RAY,
    SHIPPED,
    environment,
    file_of,
    private_environment,
)
from orchestrator.execution.joining import check_joinable
from orchestrator.execution.placement import ClusterSettings, Resources, placed
from orchestrator.execution.scratch import scratch_folder
from orchestrator.signals import handler_kept

__all__ = ["Cluster", "ClusterSettings", "check_cluster", "connect", "placed", "usable_cpus"]

_log = logging.getLogger(__name__)
_LEAVING_S = 20.0
_LOOPBACK = "127.0.0.1"
_OBJECT_STORE_BYTES = 100 * 2**20  # weights travel through the store, not through Ray


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Attributes:
        settings: as given, ``lanes`` and ``threads`` decided.
        scratch: folder or URI for what Ray Train writes; nothing in it is ever read again.
        private: whether this process started it.
    """

    settings: ClusterSettings
    scratch: str
    private: bool


@contextlib.contextmanager
def connect(
    settings: ClusterSettings,
    shared_scratch: str | None = None,
    *,
    most_lanes: int | None = None,
) -> Iterator[Cluster]:
    """Start a private cluster or join the one at ``settings.address``; leave it at the end.

    Args:
        shared_scratch: folder or URI that every node of a joined cluster can write.
        most_lanes: more would have nothing to do; for ``settings.lanes`` None.

    Raises:
        BadInput: it cannot be had, or has no room for the lanes.
    """
    if settings.address is None:
        with _private_cluster(settings) as scratch, _messages_to_log():
            settings = placed(settings, _resources(), most_lanes=most_lanes)
            yield Cluster(settings, scratch, private=True)
        return
    with _joined_cluster(settings.address), _messages_to_log():
        settings = _placed_beside_others(settings, most_lanes)
        yield Cluster(settings, shared_scratch or tempfile.gettempdir(), private=False)


def check_cluster(address: str) -> None:
    """Raise BadInput where the Ray cluster at ``address`` cannot be joined; starts nothing."""
    with environment(QUIET_RAY):
        check_joinable(address)


def _placed_beside_others(settings: ClusterSettings, most_lanes: int | None) -> ClusterSettings:
    """Others may be using the cluster; what those who have just left held is free in a moment."""
    deadline = time.monotonic() + _LEAVING_S
    while True:
        placed(settings, _resources())  # what it could never place is refused at once
        try:
            return placed(settings, _resources(), _free_resources(), most_lanes)
        except BadInput:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


@contextlib.contextmanager
def _private_cluster(settings: ClusterSettings) -> Iterator[str]:
    cpus = settings.cpus or usable_cpus()
    if not settings.gpu:  # only Ray knows how many GPUs there are
        placed(settings, [{"CPU": float(cpus)}])  # before the seconds that a start costs
    with scratch_folder() as scratch, environment(private_environment(scratch)):
        import ray

        with handler_kept(signal.SIGTERM):  # Ray's own would end the program at once
            ray.init(
                address="local",
                num_cpus=cpus,
                num_gpus=settings.gpus if settings.gpu else 0,
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                _node_ip_address=_LOOPBACK,
                _temp_dir=str(
                    scratch / "r"
                ),  # Ray opens its folder to everyone; ours around it is shut
                _system_config={
                    "prestart_worker_first_driver": False,
                    "enable_metrics_collection": False,
                    # By default workers are so nice that any other load starves them.
                    "worker_niceness": 0,
                },
            )
        _dismiss_monitors()
        try:
            yield str(scratch / "train")
        finally:
            ray.shutdown()


def _dismiss_monitors() -> None:
    """Ray starts them always. Nothing is autoscaled here and nobody is sent logs, both import for
    seconds beside the lanes' start, and at the end Ray waits a whole second for the first one."""
    worker: Any = importlib.import_module("ray._private.worker")
    node = worker._global_node
    node.kill_monitor(check_alive=False)
    node.kill_log_monitor(check_alive=False)


@contextlib.contextmanager
def _joined_cluster(address: str) -> Iterator[None]:
    import ray

    with environment(QUIET_RAY):
        head = check_joinable(address)
        try:
            with handler_kept(signal.SIGTERM):
                ray.init(
                    address=head,
                    log_to_driver=False,
                    logging_level=logging.WARNING,
                    runtime_env=_shipped_code(),
                )
        except (ConnectionError, RuntimeError) as error:
            raise BadInput(f"cluster.address={address} cannot be joined: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _messages_to_log() -> Iterator[None]:
    """Ray prints what happens in the cluster to stdout, where a command's result belongs."""
    worker: Any = importlib.import_module("ray._private.worker")
    original = worker.print_to_stdstream

    def log(data: Mapping[str, Any], ignore_prefix: bool) -> None:
        for line in data["lines"]:
            _log.info("%s: %s", data["pid"], line)

    worker.print_to_stdstream = log
    try:
        yield
    finally:
        worker.print_to_stdstream = original


def _resources() -> list[Resources]:
    """Of every living node."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _free_resources() -> list[Resources]:
    from ray._private.state import available_resources_per_node

    return list(available_resources_per_node().values())


def usable_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def _shipped_code() -> dict[str, Any]:
    """Nodes of a joined cluster get this version of the code, wherever they run; a job's nodes
    have got it already."""
    if os.environ.get(SHIPPED):
        return {}
    import had_core
    import orchestrator

    modules = [str(Path(file_of(package)).parent) for package in (orchestrator, had_core)]
    return {"py_modules": modules}
