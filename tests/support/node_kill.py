"""A run on a cluster of several nodes, of which one is killed: the one that executes a stage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ORDER = ("semantic", "depth")

DRIVER = """
import contextlib, json, os, signal, sys
from pathlib import Path
from ray.cluster_utils import Cluster
from processes import descendants
from had_core.data import ShardDataset
from had_core.methods import NaiveConfig
from orchestrator.execution.cluster import ClusterSettings, connect
from orchestrator.execution.driver import Placement, run_on_cluster
from orchestrator.execution.messages import LaneFault, StageProgress
from orchestrator.store import Store
from stages import RUN, tree_of

data, root, epochs, position, epoch = *sys.argv[1:3], *map(int, sys.argv[3:6])
tree = tree_of(
    ShardDataset.open(Path(data)), methods=[NaiveConfig()], order=("semantic", "depth"),
    epochs=epochs, batch_size=2,
)
arguments = {"num_gpus": 0, "object_store_memory": 100 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **arguments})
nodes = [cluster.add_node(num_cpus=1, **arguments) for _ in range(2)]
told = {"killed": [], "faults": []}

def hear(event):
    if isinstance(event, LaneFault):
        told["faults"].append(event.key)
    if told["killed"] or not isinstance(event, StageProgress):
        return
    if (event.position, event.epoch) >= (position, epoch):
        told["killed"].append(event.key)
        below = {node: descendants(node.all_processes["raylet"][0].process.pid) for node in nodes}
        (victim,) = [node for node, found in below.items()
                     if any("RayTrainWorker" in name for name in found.values())]
        # A node's processes die at once; Ray's workers outlive their raylet for a second or more.
        for pid in below[victim]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        cluster.remove_node(victim, allow_graceful=False)

try:
    with connect(ClusterSettings(address=cluster.address, threads=1)) as joined:
        store = Store.open(root)
        result = run_on_cluster(tree, store, RUN, Placement(Path(data)), joined, on_event=hear)
finally:
    cluster.shutdown()
told["failed"] = [outcome.failure.message for outcome in result.failed]
print(json.dumps(told), flush=True)
"""


def drive(dataset: Path, store: Path, epochs: int, position: int, epoch: int) -> dict[str, Any]:
    """Two stages of so many epochs; the node dies at this epoch of the stage at ``position``.

    Returns ``killed`` and ``faults`` (keys of stages) and ``failed`` (messages).
    """
    here = Path(__file__).resolve().parents
    arguments = [str(dataset), str(store), *map(str, (epochs, position, epoch))]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here[2]), str(here[0])])},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
