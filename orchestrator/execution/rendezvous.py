"""Where the workers of a lane meet: at the node's own address, not on every interface.

Torch's meeting place (TCPStore) asks nobody who they are, and as Ray Train sets it up it listens on
all interfaces: on a private cluster, whose every other port is on 127.0.0.1, it would be the one
that a stranger could reach. Here rank 0 opens the port itself, at the address by which Ray knows
its node, and all ranks join as clients.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

import ray
from ray.train._internal.base_worker_group import BaseWorkerGroup
from ray.train.torch import TorchConfig
from ray.train.torch import config as rays

_QUEUE = 1024  # ranks that knock at once
_kept: list[Any] = []  # the store lives as long as its process


@dataclass
class LaneTorchConfig(TorchConfig):
    """Ray's configuration of a process group, with a meeting place of our own."""

    @property
    def backend_cls(self) -> Any:
        return LaneBackend


class LaneBackend(rays._TorchBackend):
    """Ray's backend but for the meeting place."""

    def on_start(self, worker_group: BaseWorkerGroup, backend_config: Any) -> None:
        timeout_s = backend_config.timeout_s
        host, port = worker_group.execute_single(0, open_store, timeout_s)
        worker_group.execute(_point_to, host, port)
        worker_group.execute(rays._set_torch_distributed_env_vars)
        ranks = range(len(worker_group))
        joining: list[Any] = [
            worker_group.execute_single_async(
                rank,
                rays._setup_torch_process_group,
                backend=backend_config.backend,
                world_rank=rank,
                world_size=len(ranks),
                init_method="env://",
                timeout_s=timeout_s,
            )
            for rank in ranks
        ]
        ray.get(joining)


def open_store(timeout_s: float) -> tuple[str, int]:
    """Executed by rank 0: the meeting place, open; its address and port."""
    from datetime import timedelta

    import torch.distributed

    host = ray.util.get_node_ip_address()
    listener = listen_at(host)
    port = int(listener.getsockname()[1])
    store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
        host,
        port,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
        timeout=timedelta(seconds=timeout_s),
    )
    _kept.append(store)
    return host, port


def listen_at(host: str) -> socket.socket:
    """A free port at one address; on every interface where the address is not this machine's own,
    as in a container that is reached through its host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.bind((host, 0))
    except OSError:
        listener.bind(("", 0))
    listener.listen(_QUEUE)
    return listener


def _point_to(host: str, port: int) -> None:
    """Executed by every rank."""
    os.environ.update(
        MASTER_ADDR=host,
        MASTER_PORT=str(port),
        # Nobody opens a second one: rank 0 joins as a client, too.
        TORCHELASTIC_USE_AGENT_STORE="True",
    )
