"""Where stages execute: the settings, and whether a cluster has room for them. Pure, no Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from had_core.errors import BadInput


@dataclass(frozen=True)
class ClusterSettings:
    """Where lanes run.

    Attributes:
        address: ``host:port`` of a running cluster; None starts a private one on this machine.
        cpus: CPUs that a private cluster offers; None for all of this machine.
        gpus: GPUs that a private cluster offers; None for all of this machine.
        lanes: Ray Train runs side by side; each executes one stage at a time. None for as many as
            fit, of one thread a worker where ``threads`` says nothing else.
        workers: ranks of a lane; they split every global batch.
        threads: CPUs and torch threads of one worker; None shares out what there is.
        gpu: whether each worker holds a GPU.
    """

    address: str | None = None
    cpus: int | None = None
    gpus: int | None = None
    lanes: int | None = 1
    workers: int = 1
    threads: int | None = None
    gpu: bool = False

    def __post_init__(self) -> None:
        for name in ("lanes", "workers", "threads", "cpus"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"cluster.{name}={value} is not allowed: 1 or more")


def placed(settings: ClusterSettings, nodes: Sequence[Mapping[str, float]]) -> ClusterSettings:
    """The settings with lanes and threads decided, once everything is certain to have its place.

    Args:
        nodes: resources of every node, e.g. ``[{"CPU": 2.0}]``.

    Raises:
        BadInput: the cluster could never place it, and would wait for ever; names what is wanted
            and what there is.
    """
    if settings.lanes is None:
        threads = settings.threads or 1
        lanes = _room(nodes, threads) // settings.workers
        if settings.gpu:
            lanes = min(lanes, int(sum(n.get("GPU", 0.0) for n in nodes)) // settings.workers)
        settings = replace(settings, lanes=max(1, lanes), threads=threads)
    workers = (settings.lanes or 1) * settings.workers
    cpus = sum(node.get("CPU", 0.0) for node in nodes)
    threads = settings.threads or next(
        (t for t in range(int(cpus // workers), 1, -1) if _room(nodes, t) >= workers), 1
    )
    what = f"cluster.lanes={settings.lanes} x cluster.workers={settings.workers}"
    with_threads = f"{what} x cluster.threads={threads}"
    if workers * threads > cpus:
        raise BadInput(f"{with_threads} wants {workers * threads} CPUs, there are {cpus:g}")
    if _room(nodes, threads) < workers:
        raise BadInput(
            f"{with_threads} wants {workers} workers, the nodes have room for "
            f"{_room(nodes, threads)} of {threads} CPUs each"
        )
    gpus = sum(node.get("GPU", 0.0) for node in nodes)
    if settings.gpu and workers > gpus:
        raise BadInput(f"{what} wants {workers} GPUs, there are {gpus:g}")
    return replace(settings, threads=threads)


def _room(nodes: Sequence[Mapping[str, float]], threads: int) -> int:
    """Workers that fit: a worker's CPUs are on one node."""
    return sum(int(node.get("CPU", 0.0) // threads) for node in nodes)


@dataclass(frozen=True)
class Placement:
    """Where a run's stages execute.

    Attributes:
        dataset: folder of the data set, on every node.
        cluster: lanes, workers, threads.
        inline: in this process instead of on Ray; one lane, one worker.
        device: ``cpu`` or ``cuda``.
    """

    dataset: Path
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    inline: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        ranks = (self.cluster.lanes or 1) * self.cluster.workers
        if self.inline and ranks > 1:
            raise BadInput(
                f"cluster.lanes={self.cluster.lanes} x cluster.workers={self.cluster.workers} is "
                "not allowed inline: 1 x 1"
            )
