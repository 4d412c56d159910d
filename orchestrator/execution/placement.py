"""Where stages execute: the settings, and whether a cluster has room for them. Pure, no Ray.

What holds CPUs (or GPUs) is the workers of the lanes, each on one node, from the start of a session
to its end. Trials, the queue and the lanes' controllers hold none. So a cluster either has room for
all workers now, and then nothing ever waits for a place, or it is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from had_core.errors import BadInput

Resources = Mapping[str, float]
"""Of one node, e.g. ``{"CPU": 2.0, "GPU": 1.0, "memory": 4e9}``."""

# Torch, a data set's pages and a small net; keeps a machine of many cores from filling its memory.
_BYTES_PER_WORKER = 2 * 2**30


@dataclass(frozen=True)
class ClusterSettings:
    """Where lanes run.

    Attributes:
        address: ``host:port`` of a running cluster; None starts a private one on this machine.
        cpus: CPUs that a private cluster offers; None for all of this machine.
        gpus: GPUs that a private cluster offers; None for all of this machine.
        lanes: Ray Train runs side by side; each executes one stage at a time. None: what fits.
        workers: ranks of a lane; they split every global batch.
        threads: CPUs and torch threads of one worker. None shares out what there is, which is 1
            where ``lanes`` is None.
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


def placed(
    settings: ClusterSettings,
    nodes: Sequence[Resources],
    free: Sequence[Resources] | None = None,
    most_lanes: int | None = None,
) -> ClusterSettings:
    """The settings with ``lanes`` and ``threads`` decided, once it is certain that all have room.

    Args:
        nodes: resources of every node.
        free: what of them nobody else uses; None where nobody does.
        most_lanes: more would have nothing to do; for ``lanes`` None.

    Raises:
        BadInput: there is no room, and the lanes would wait for ever; names what is wanted and what
            there is.
    """
    _require_room(settings, nodes, "there are {:g}")
    if free is not None:
        _require_room(settings, free, "{:g} are free now")
        nodes = free
    lanes = settings.lanes or _lanes_that_fit(settings, nodes, most_lanes)
    return replace(settings, lanes=lanes, threads=_threads(settings, nodes, lanes))


def _require_room(settings: ClusterSettings, nodes: Sequence[Resources], there_are: str) -> None:
    lanes = settings.lanes or 1
    workers = lanes * settings.workers
    threads = _threads(settings, nodes, lanes)
    what = f"cluster.lanes={lanes} x cluster.workers={settings.workers}"
    with_threads = f"{what} x cluster.threads={threads}"
    cpus, gpus = _total(nodes, "CPU"), _total(nodes, "GPU")
    if workers * threads > cpus:
        raise BadInput(f"{with_threads} wants {workers * threads} CPUs, {there_are.format(cpus)}")
    if _room(nodes, threads) < workers:
        raise BadInput(
            f"{with_threads} wants {workers} workers, the nodes have room for "
            f"{_room(nodes, threads)} of {threads} CPUs each"
        )
    if settings.gpu and workers > gpus:
        raise BadInput(f"{what} wants {workers} GPUs, {there_are.format(gpus)}")


def _threads(settings: ClusterSettings, nodes: Sequence[Resources], lanes: int) -> int:
    """Of one worker: as many as every worker can have, unless the settings say."""
    if settings.threads is not None or settings.lanes is None:
        return settings.threads or 1
    workers = lanes * settings.workers
    most = int(_total(nodes, "CPU") // workers)
    return next((t for t in range(most, 1, -1) if _room(nodes, t) >= workers), 1)


def _lanes_that_fit(settings: ClusterSettings, nodes: Sequence[Resources], most: int | None) -> int:
    workers = _room(nodes, settings.threads or 1)
    if settings.gpu:
        workers = min(workers, int(_total(nodes, "GPU")))
    lanes = workers // settings.workers
    if all("memory" in node for node in nodes):
        held = sum(int(node["memory"] // _BYTES_PER_WORKER) for node in nodes)
        lanes = min(lanes, held // settings.workers)
    return max(1, min(lanes, most or lanes))


def _room(nodes: Sequence[Resources], threads: int) -> int:
    """Workers that fit: a worker's CPUs are on one node."""
    return sum(int(node.get("CPU", 0.0) // threads) for node in nodes)


def _total(nodes: Sequence[Resources], name: str) -> float:
    return sum(node.get(name, 0.0) for node in nodes)


def require_place_for_trials(node: str, free: float, share: float) -> None:
    """A trial holds a small share of one node, and no CPU: any number of them then runs in turn.

    Args:
        node: name of the node's resource.
        free: what of it nobody uses.

    Raises:
        BadInput: not even one trial could ever begin.
    """
    if free < share:
        raise BadInput(
            f"the cluster has no place for a trial: each holds {share:g} of the resource {node}, "
            f"of which {free:g} is free"
        )


@dataclass(frozen=True)
class Placement:
    """Where a run's stages execute.

    Attributes:
        dataset: folder of the data set, on every node.
        cluster: lanes, workers, threads.
        inline: in this process instead of on Ray; one lane, one worker.
        device: ``cpu`` or ``cuda``.
        sample_every: seconds between looks at the load of a worker's machine; 0 for none.
    """

    dataset: Path
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    inline: bool = False
    device: str = "cpu"
    sample_every: float = 0.0

    def __post_init__(self) -> None:
        lanes = self.cluster.lanes or 1
        if self.inline and lanes * self.cluster.workers > 1:
            raise BadInput(
                f"cluster.lanes={lanes} x cluster.workers={self.cluster.workers} is "
                "not allowed inline: 1 x 1"
            )
