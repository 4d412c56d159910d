"""One real cluster in a process of its own, and toy sweeps on it: do they end, or are they refused?

    python cluster_drive.py '{"cpus": 2, "cases": [{"lanes": 1, "workers": 2, ...}]}'

Prints one line of JSON for each case: ``{"refused": "..."}``, ``{"hangs": true}`` or
``{"trials": [...], "stages": N}``. With ``foreign`` the cluster is one that the sweep joins, whose
CPUs are in use but for ``free``. With ``preflight`` false nothing is checked beforehand.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from toy_sweep import LAMBDA, ToyProblem, ToyRunner

from had_core.data.rooms import RoomsConfig, build
from had_core.errors import BadInput
from orchestrator.execution import cluster as cluster_module
from orchestrator.execution.cluster import Cluster, ClusterSettings, connect
from orchestrator.execution.messages import Event, Outcome
from orchestrator.execution.placement import Placement
from orchestrator.execution.session import Session, engine_session
from orchestrator.search.settings import Choice, Sampler, SearchConfig
from orchestrator.store import Store


def sweep(cluster: Cluster, max_concurrent: int, folder: Path) -> dict[str, Any]:
    """Two trials of 15 stages, of which 3 are shared."""
    from orchestrator.search.study import open_study
    from orchestrator.search.tuner import run_tuner

    settings = SearchConfig(
        trials=2,
        space={LAMBDA: Choice((1.0, 2.0))},
        sampler=Sampler.GRID,
        max_concurrent=max_concurrent,
    )
    own = Path(tempfile.mkdtemp(dir=folder))
    study = open_study(settings, f"sqlite:///{own}/study.db", "toy")
    trained: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, Outcome) and event.trained:
            trained.append(event.key)

    place = placement(cluster, folder)
    runner = functools.partial(ToyRunner, sealed=str(own))
    with engine_session(Store.open(folder), place, cluster, make_runner=runner) as session:

        def run() -> None:
            try:
                run_tuner(
                    settings,
                    study,
                    ToyProblem(),
                    session.queue,
                    cluster.scratch,
                    lambda event: None,
                    lambda: False,
                )
            finally:
                session.close()

        thread = threading.Thread(target=run)
        thread.start()
        session.watch(note)
        thread.join()
    assert len(trained) == len(set(trained))
    return {"trials": [trial.state.name for trial in study.trials], "stages": len(trained)}


def hangs(cluster: Cluster, folder: Path, wait_s: float) -> dict[str, Any]:
    """Whether no stage was so much as begun after this time."""
    place = placement(cluster, folder)
    with (
        contextlib.suppress(_EnoughError),
        engine_session(Store.open(folder), place, cluster, make_runner=ToyRunner) as session,
    ):
        plan = ToyProblem().plan("t0000", {LAMBDA: 1.0})
        session.submit("t0000", plan.works)
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and not _began(session):
            time.sleep(0.5)
        began = _began(session)
        raise _EnoughError
    return {"hangs": not began}


def placement(cluster: Cluster, folder: Path) -> Placement:
    """With some data: a cluster that is joined has to show that it sees them."""
    dataset = folder / "rooms"
    if not dataset.exists():
        build(dataset, RoomsConfig(seed=0, train=4, test=2, height=16, width=24))
    return Placement(dataset, cluster.settings)


class _EnoughError(Exception):
    """Nobody waits for lanes that never start."""


def _began(session: Session) -> bool:
    return bool(session.queue.poll(0).events)


def execute(case: dict[str, Any], settings: ClusterSettings, folder: Path) -> dict[str, Any]:
    wishes = {name: case[name] for name in ("lanes", "workers", "threads") if name in case}
    began = time.monotonic()
    try:
        with connect(replace(settings, **wishes), str(folder / "scratch")) as cluster:
            if "hangs_for_s" in case:
                return hangs(cluster, folder, case["hangs_for_s"])
            return sweep(cluster, case.get("max_concurrent", 2), folder)
    except BadInput as error:
        return {"refused": str(error), "seconds": time.monotonic() - began}


@contextlib.contextmanager
def started_by_somebody_else(cpus: int, free: int) -> Iterator[str]:
    """A cluster of one node of which others use all but ``free`` CPUs; its address."""
    import ray
    from ray.cluster_utils import Cluster as RayCluster

    arguments = {"num_cpus": cpus, "num_gpus": 0, "object_store_memory": 100 * 2**20}
    others = RayCluster(initialize_head=True, head_node_args=arguments)
    try:
        if free < cpus:
            ray.init(address=others.address, namespace="others", log_to_driver=False)

            @ray.remote(num_cpus=cpus - free, lifetime="detached")  # type: ignore[untyped-decorator]
            class Busy:
                def ready(self) -> bool:
                    return True

            busy = Busy.options(name="busy").remote()
            ray.get(busy.ready.remote())
            ray.shutdown()
        yield others.address
    finally:
        others.shutdown()


def main(told: dict[str, Any]) -> None:
    if not told.get("preflight", True):
        decided = {"lanes": 1, "threads": 1}

        def as_asked(settings: ClusterSettings, *args: Any, **more: Any) -> ClusterSettings:
            wanted = {n: getattr(settings, n) or value for n, value in decided.items()}
            return replace(settings, **wanted)

        cluster_module.placed = as_asked
    cpus, free = told["cpus"], told.get("free")
    with tempfile.TemporaryDirectory(prefix="had-drive-") as folder:
        run = functools.partial(execute, folder=Path(folder))
        if free is None:
            for case in told["cases"]:
                print(json.dumps(run(case, ClusterSettings(cpus=cpus))), flush=True)
            return
        with started_by_somebody_else(cpus, free) as address:
            for case in told["cases"]:
                print(json.dumps(run(case, ClusterSettings(address=address))), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
