"""Proof, before anything is trained, that every node of a cluster works on the same store and data.

A folder of the same path on two machines need not be the same folder: without a shared file system
every node would train into a store of its own. So one task on every node, in three rounds::

    driver writes a nonce  ─>  every node reads it, looks at the data, writes its own
                           ─>  every node reads what every other wrote

A node without the store fails at its first read and leaves nothing behind there. What the rounds
find is judged here by pure functions; the shell around them is ``prove_shared``.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from had_core.errors import BadInput

_PATIENCE_S = 300.0  # a node may have to fetch the code and start a worker first
_SLOW_DISK_S = 5.0  # a network file system may show a new file late
_SAME_EVERYWHERE = ("torch", "numpy", "pyarrow")
DRIVER = "driver"


@dataclass(frozen=True)
class Node:
    """A node of the cluster, and how it is called in messages."""

    id: str
    name: str
    ip: str

    @property
    def shown(self) -> str:
        return self.ip if self.name in ("", self.ip) else f"{self.name} ({self.ip})"


@dataclass(frozen=True)
class Places:
    """What every node must see alike.

    Attributes:
        store: absolute folder or URI.
        dataset: folder of shards.
        fingerprint: the data set's, as the driver sees it.
        versions: of the libraries that compute, as the driver has them.
    """

    store: str
    dataset: str
    fingerprint: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Finding:
    """What a node saw; ``problem`` is the rest of a sentence that begins with the node."""

    node: Node
    problem: str = ""


Task = Callable[[Node], str]
"""Executed on one node; returns the problem it found, empty for none."""


def prove_shared(store: str, dataset: Path) -> None:
    """Every node of the connected cluster, or a refusal that names node and path.

    Raises:
        BadInput: a node reads another store, cannot write it, sees other data or has other
            versions of what computes.
    """
    from had_core.data import DatasetManifest

    nodes = alive_nodes()
    fingerprint = DatasetManifest.read(dataset).fingerprint
    places = Places(store, str(dataset.resolve()), fingerprint, versions())
    meeting = Meeting(store, secrets.token_hex(8))
    try:
        meeting.arrive(DRIVER)
        refuse(_on_every_node(nodes, functools.partial(look, places, meeting.name)))
        everyone = tuple(node.id for node in nodes)
        refuse(_on_every_node(nodes, functools.partial(meet, places, meeting.name, everyone)))
        missing = meeting.missing(everyone)
        refuse([Finding(n, _not_shared(store) if n.id in missing else "") for n in nodes])
    finally:
        meeting.clear()


def alive_nodes() -> list[Node]:
    """The nodes of the connected cluster, the head first, then by name."""
    import ray

    found = [node for node in ray.nodes() if node["Alive"]]
    found.sort(key=lambda node: "node:__internal_head__" not in node["Resources"])
    return [Node(n["NodeID"], n.get("NodeName", ""), n["NodeManagerAddress"]) for n in found]


def versions() -> dict[str, str]:
    """What this process would compute with."""
    from orchestrator.execution.provenance import versions as installed

    return {name: version for name, version in installed().items() if name in _SAME_EVERYWHERE}


def refuse(findings: Sequence[Finding]) -> None:
    """Raise for the first problem, saying how many nodes are concerned.

    Raises:
        BadInput: there is one.
    """
    broken = [finding for finding in findings if finding.problem]
    if not broken:
        return
    more = f" (and {len(broken) - 1} more of {len(findings)} nodes)" if len(broken) > 1 else ""
    raise BadInput(f"node {broken[0].node.shown} {broken[0].problem}{more}")


# On a node --------------------------------------------------------------------------------------


def look(places: Places, meeting: str, node: Node) -> str:
    """First round: the driver's nonce, the data, the versions; then this node's own nonce."""
    place = Meeting(places.store, meeting)
    if place.missing([DRIVER]):
        return _not_shared(places.store)
    problem = _data_problem(places) or _version_problem(places)
    if problem:
        return problem
    try:
        place.arrive(node.id)
    except BadInput as error:
        return f"cannot write the store {places.store}: {error}"
    return ""


def meet(places: Places, meeting: str, everyone: Sequence[str], node: Node) -> str:
    """Second round: what all the others wrote."""
    missing = Meeting(places.store, meeting).missing(everyone)
    return _not_shared(places.store) if missing else ""


def _not_shared(store: str) -> str:
    return (
        f"does not see the store {store} that the driver writes: store.root names a folder that "
        "every node shares"
    )


def _data_problem(places: Places) -> str:
    from had_core.data import DatasetManifest
    from had_core.errors import CorruptArtifact

    folder = Path(places.dataset)
    try:
        manifest = DatasetManifest.read(folder)
    except (BadInput, CorruptArtifact) as error:
        return f"does not see the data set {folder}: {error}"
    if manifest.fingerprint != places.fingerprint:
        return (
            f"sees other data in {folder}: fingerprint {manifest.fingerprint[:12]}, the driver "
            f"has {places.fingerprint[:12]}"
        )
    for split in manifest.splits.values():
        for shard in split.shards:
            if not (folder / shard.file).is_file():
                return f"does not see the shard {folder / shard.file}"
    return ""


def _version_problem(places: Places) -> str:
    mine = versions()
    for name, version in places.versions.items():
        if mine.get(name) != version:
            return (
                f"has {name} {mine.get(name, 'not')} installed, the driver {version}: the same on "
                "every node, or results differ by where they were computed"
            )
    return ""


class Meeting:
    """A folder in the store's scratch where the driver and every node leave a file."""

    def __init__(self, store: str, name: str) -> None:
        from orchestrator.store.local_fs import LocalFs

        self.name = name
        self._fs, self._folder = LocalFs(store), f"scratch/preflight-{name}"

    def arrive(self, who: str) -> None:
        self._fs.write(f"{self._folder}/{who}", self.name.encode())

    def missing(self, expected: Sequence[str]) -> set[str]:
        """Who has left no file with this meeting's name in it; looks again before it says so."""
        deadline = time.monotonic() + _SLOW_DISK_S
        while True:
            missing = {who for who in expected if not self._has(who)}
            if not missing or time.monotonic() > deadline:
                return missing
            time.sleep(0.5)

    def clear(self) -> None:
        self._fs.delete(self._folder)

    def _has(self, who: str) -> bool:
        try:
            return self._fs.read(f"{self._folder}/{who}") == self.name.encode()
        except OSError:
            return False


# The shell --------------------------------------------------------------------------------------


def _execute(task: Task, node: Node) -> str:
    return task(node)


def _on_every_node(nodes: Sequence[Node], task: Task) -> list[Finding]:
    """The task on every node at once, without a CPU; a node that does not answer is a finding."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote: Any = ray.remote(num_cpus=0, max_retries=0)(_execute)
    replies = {
        node.id: remote.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(task, node)
        for node in nodes
    }
    ray.wait(list(replies.values()), num_returns=len(replies), timeout=_PATIENCE_S)
    findings = []
    for node in nodes:
        try:
            problem = str(ray.get(replies[node.id], timeout=0.1))
        except GetTimeoutError:
            problem = f"did not answer within {_PATIENCE_S:.0f} s"
        except RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            problem = f"could not look at the store: {lines[-1]}"
        findings.append(Finding(node, problem))
    return findings
