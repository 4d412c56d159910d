"""Whole runs on two Ray Train workers: kills, cancellation, divergence, resume."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from processes import alive, descendants, train_workers, wait_until
from stages import RUN, attempts, rows, tree_of, weights, worker_on
from thread_parallel import on_ranks

from had_core.methods import HadConfig, NaiveConfig
from orchestrator.execution.cluster import ClusterSettings
from orchestrator.execution.driver import Placement, run_on_cluster, survey
from orchestrator.execution.messages import (
    FailureKind,
    LaneFault,
    Lease,
    StageProgress,
    Status,
)
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.tree import PrefixTree
from orchestrator.store import Store
from orchestrator.tracking.events import EpochEnded, StageFinished
from orchestrator.tracking.journal import Journal, JournalReader

_PATIENCE_S = 480.0  # 30 s on an idle machine; a build machine may be ten times slower
EPOCHS, STEPS = 20, 3  # 24 images less 10 %, three slices, batches of 2: 3 steps an epoch


@pytest.fixture(scope="module")
def tree(micro_dataset) -> PrefixTree:
    """semantic - (naive depth | had depth) on two workers."""
    return tree_of(
        micro_dataset, order=("semantic", "depth"), workers=2, epochs=EPOCHS, batch_size=2
    )


@pytest.fixture(scope="module")
def whole(tree, micro_dataset, tmp_path_factory) -> Store:
    """The uninterrupted run in the same numerics class, its two ranks being threads.

    Sums of two addends do not depend on their order, so gloo and threads give the same bits.
    """
    import torch

    torch.set_num_threads(1)
    store = Store.open(tmp_path_factory.mktemp("whole"))
    for work in survey(tree, store, RUN).works:
        on_ranks(
            2,
            lambda parallel, work=work: worker_on(micro_dataset, store, parallel=parallel).run(
                Lease(work.key, "threads", 1), work, lambda progress: True
            ),
        )
    return store


@pytest.fixture
def run(cluster_of, micro_dataset):
    def execute(tree, store, on_event=None, **changes):
        placement = Placement(micro_dataset.path)
        return run_on_cluster(
            tree,
            store,
            RUN,
            placement,
            cluster_of(**changes),
            on_event=on_event,
            journal=Journal(store.uri, RUN),
        )

    return execute


def check_like_uninterrupted(tree, store: Store, whole: Store) -> None:
    assert weights(tree, store) == weights(tree, whole)
    assert rows(tree, store) == rows(tree, whole)
    for key, told in attempts(tree, store).items():
        assert sum(attempt["steps"] for attempt in told) == EPOCHS * STEPS
        ends = [a["from_epoch"] - 1 + a["steps"] // STEPS for a in told]
        assert [a["from_epoch"] - 1 for a in told] == [0, *ends[:-1]], "an epoch was repeated"
        assert store.partial(key).read() is None
    events = JournalReader.open(store.uri, RUN).events()
    for node in tree:
        epochs = {e.epoch for e in events if isinstance(e, EpochEnded) and e.key == node.key}
        assert epochs == set(range(1, EPOCHS + 1))
        assert any(isinstance(e, StageFinished) and e.stage.key == node.key for e in events)


def test_ctrl_c_then_a_killed_worker_then_the_end(tree, whole, run, tmp_path, ctrl_c):
    store = Store.open(tmp_path / "store")
    pressed, killed, faults = [], [], []

    def press(event):
        if isinstance(event, StageProgress) and event.epoch >= 2 and not pressed:
            pressed.append(event)
            ctrl_c()

    result = run(tree, store, press)
    assert result.interrupted and pressed
    assert {o.status for o in result.outcomes.values()} == {Status.CANCELLED}
    root = tree.roots[0].key
    assert store.partial(root).read() is not None

    def kill(event):
        if isinstance(event, LaneFault):
            faults.append(event)
        running = isinstance(event, StageProgress) and event.position == 2 and not killed
        if running and 2 <= event.epoch < EPOCHS:
            killed.append(event.key)
            os.kill(train_workers()[-1], signal.SIGKILL)

    result = run(tree, store, kill)
    assert not result.failed
    assert [fault.key for fault in faults] == killed
    check_like_uninterrupted(tree, store, whole)
    told = attempts(tree, store)
    assert len(told[root]) == 2
    assert len(told[killed[0]]) == 2


def test_a_killed_engine_costs_no_step(tree, whole, run, tmp_path):
    """The lane goes on with the stage that it executes, the new queue takes that over."""
    store = Store.open(tmp_path / "store")
    killed, faults = [], []

    def kill(event):
        if isinstance(event, LaneFault):
            faults.append(event)
        if isinstance(event, StageProgress) and event.epoch >= 2 and not killed:
            below = descendants(os.getpid())
            killed.extend(pid for pid, c in below.items() if c.startswith("ray::_QueueActor"))
            os.kill(killed[0], signal.SIGKILL)

    result = run(tree, store, kill)
    assert len(killed) == 1 and not faults
    assert set(result.outcomes) == {node.key for node in tree} and not result.failed
    assert {len(told) for told in attempts(tree, store).values()} == {1}
    check_like_uninterrupted(tree, store, whole)


def test_a_diverged_stage_leaves_the_lane_alive(micro_dataset, run, tmp_path):
    """Both ranks agree on the step; what does not depend on it is trained by the same group."""
    store = Store.open(tmp_path / "store")
    diverging = tree_of(
        micro_dataset, methods=[NaiveConfig()], order=("depth", "normal"), workers=2, lr=1e30
    )
    healthy = tree_of(
        micro_dataset, methods=[HadConfig()], order=("semantic",), workers=2, epochs=1
    )
    tree = PrefixTree.of([*diverging.sequences, *healthy.sequences])
    faults = []
    result = run(tree, store, lambda e: faults.append(e) if isinstance(e, LaneFault) else None)
    kinds = {o.key: o.failure.kind for o in result.failed}
    first, second = (stage.key for stage in diverging.sequences[0].stages)
    assert kinds == {first: FailureKind.NON_FINITE, second: FailureKind.PARENT}
    assert result.outcomes[first].failure.step is not None
    assert "Traceback" in result.outcomes[first].failure.traceback
    assert result.outcomes[healthy.roots[0].key].status is Status.SEALED
    assert faults == []


def test_two_lanes_share_a_tree(micro_dataset, run, tmp_path):
    tree = tree_of(micro_dataset, order=("semantic", "depth"), epochs=1)
    store = Store.open(tmp_path / "store")
    result = run(tree, store, lanes=2, workers=1)
    assert {o.status for o in result.outcomes.values()} == {Status.SEALED}


# The driver is killed ---------------------------------------------------------------------------

DRIVER = """
import functools, os, sys
from pathlib import Path
from deadly_worker import Target, open_deadly
from had_core.data import ShardDataset
from orchestrator.execution.cluster import ClusterSettings, connect
from orchestrator.execution.driver import Placement, run_on_cluster
from orchestrator.execution.worker import WorkerSettings
from orchestrator.store import Store
from stages import RUN, tree_of

data, root, workers, epochs, what, after = sys.argv[1:7]
tree = tree_of(
    ShardDataset.open(Path(data)),
    order=("semantic", "depth"), workers=2, epochs=int(epochs), batch_size=2,
)
store = Store.open(root)
settings = WorkerSettings(store=root, dataset=data)
target = Target(os.getpid(), workers, what, after == "after")
make = functools.partial(open_deadly, settings, target)
with connect(ClusterSettings(cpus=2, workers=2, threads=1)) as cluster:
    print(cluster.scratch, flush=True)
    run_on_cluster(tree, store, RUN, Placement(Path(data)), cluster, make_runner=make)
"""


@pytest.mark.parametrize(
    ("what", "after"),
    [("create partial/{root}/000003", "after"), ("create fit/{root}/SEAL", "after")],
    ids=["mid-stage", "between the fit's seal and its evaluation"],
)
def test_the_same_run_again_after_the_driver_was_killed(
    what, after, tree, whole, run, micro_dataset, tmp_path
):
    store = Store.open(tmp_path / "store")
    root = tree.roots[0].key
    point = what.format(root=f"{root[:2]}/{root}")
    here = Path(__file__).resolve().parents
    path = os.pathsep.join([str(here[2]), str(here[1] / "support")])
    folder = tmp_path / "workers"
    folder.mkdir()
    arguments = [micro_dataset.path, tmp_path / "store", folder, EPOCHS, point, after]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *map(str, arguments)],
        cwd=tmp_path,  # any folder will do
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        scratch = Path(driver.stdout.readline().strip()).parent  # Ray has started, no lane has
        below = descendants(driver.pid)
        driver.wait(_PATIENCE_S)
    finally:
        driver.kill()
    assert driver.wait() == -signal.SIGKILL
    core = [pid for pid, c in below.items() if "gcs_server" in c or "raylet/raylet" in c]
    workers = [int(file.name) for file in folder.iterdir()]
    assert len(core) == 2 and len(workers) == 2, below
    assert wait_until(lambda: not any(map(alive, [*workers, *core])), 60), "Ray outlives its driver"

    # All of Ray's own folders go before the resume; the run may not need them.
    assert scratch.name.startswith("had-ray-") and scratch.parent == Path(tempfile.gettempdir())
    shutil.rmtree(scratch, ignore_errors=True)  # a driver that started since may have swept it
    assert not scratch.exists()
    sealed_before = store.is_sealed(ArtifactKind.FIT, root)
    found = store.partial(root).read()
    assert found is not None

    result = run(tree, store)
    assert not result.failed
    check_like_uninterrupted(tree, store, whole)
    if sealed_before:
        assert result.outcomes[root].steps_run == 0
    else:
        assert result.outcomes[root].steps_run == (EPOCHS - 3) * STEPS


def test_a_killed_drivers_folder_is_swept_by_the_next_start(session_cluster, tmp_path):
    """The session's own cluster holds its lock; a folder whose lock is free goes."""
    from orchestrator.execution.scratch import scratch_folder, short_root

    root = short_root()
    orphan = Path(tempfile.mkdtemp(prefix="had-ray-", dir=root))
    (orphan / "owner").touch()
    with scratch_folder():
        assert not orphan.exists()
        assert Path(session_cluster.scratch).parent.exists()


def test_more_workers_than_the_cluster_has(session_cluster):
    from had_core.errors import BadInput
    from orchestrator.execution.cluster import _resources, placed

    with pytest.raises(BadInput, match="wants 3 CPUs, there are 2"):
        placed(ClusterSettings(workers=3), _resources())
