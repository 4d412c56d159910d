"""No deadlock: a session has room for all that it will ever hold, or is refused at once."""

from __future__ import annotations

import functools
import itertools

import pytest

from had_core.errors import BadInput
from orchestrator.execution.driver import Backlog
from orchestrator.execution.messages import StageWork
from orchestrator.execution.placement import (
    ClusterSettings,
    Placement,
    placed,
    require_place_for_trials,
)

SHARE = 0.001  # of the head's resource, for one trial


@functools.cache
def always_fits(cpus: tuple[int, ...], workers: int, threads: int) -> bool:
    """Whether all workers find a node, wherever the scheduler puts each of them."""
    if workers == 0:
        return True
    nodes = [n for n, free in enumerate(cpus) if free >= threads]
    if not nodes:
        return False
    return all(
        always_fits((*cpus[:n], cpus[n] - threads, *cpus[n + 1 :]), workers - 1, threads)
        for n in nodes
    )


def test_the_simulation_sees_what_gets_stuck():
    assert always_fits((2,), 2, 1)
    assert not always_fits((2,), 3, 1)
    assert not always_fits((1, 1), 1, 2)


def sweep_completes(settings: ClusterSettings, cpus: tuple[int, ...], head: float, trials: int):
    """Whether a sweep with so many trials at a time comes to its end.

    Lanes hold their workers' CPUs from beginning to end; a trial holds its share of the head until
    its stages are executed; more trials than the head has room for begin later.
    """
    assert settings.lanes and settings.threads
    if not always_fits(cpus, settings.lanes * settings.workers, settings.threads):
        return False  # a lane waits for ever, and the trials for it
    waiting, running = 3 * trials, 0
    while waiting:
        running = min(waiting, trials, int(head / SHARE + 1e-9))
        if running == 0:
            return False
        waiting -= running  # the lanes execute what they want
    return True


CLUSTERS = [(1,), (2,), (4,), (1, 1), (2, 2), (1, 2, 1)]
LANES, WORKERS, THREADS = (None, 1, 2, 3, 4), (1, 2), (None, 1, 2)


@pytest.mark.parametrize("foreign", [False, True], ids=["own", "foreign"])
@pytest.mark.parametrize("cpus", CLUSTERS)
def test_every_sweep_completes_or_is_refused_at_once(cpus, foreign):
    refused = completed = 0
    in_use = itertools.product(*(range(n + 1) for n in cpus)) if foreign else [(0,) * len(cpus)]
    for used, lanes, workers, threads in itertools.product(in_use, LANES, WORKERS, THREADS):
        settings = ClusterSettings(lanes=lanes, workers=workers, threads=threads)
        left = tuple(n - u for n, u in zip(cpus, used, strict=True))
        nodes = [{"CPU": float(n)} for n in cpus]
        free = [{"CPU": float(n)} for n in left] if foreign else None
        try:
            decided = placed(settings, nodes, free)
        except BadInput as error:
            refused += 1
            assert str(error).startswith("cluster.lanes=")
            least = (lanes or 1) * workers
            assert not always_fits(left, least, threads or 1), f"{settings} fits {left}: {error}"
            continue
        completed += 1
        assert decided.lanes == (lanes or decided.lanes)
        assert decided.threads == (threads or decided.threads)
        for trials in (1, 2, 3, 8, 64, 5000):
            assert sweep_completes(decided, left, 1.0, trials)
        if lanes is None:  # one lane more would not fit
            more = (decided.lanes + 1) * workers
            assert not always_fits(left, more, decided.threads)
            assert decided.threads == (threads or 1)
    assert refused and completed


@pytest.mark.parametrize(("free", "refused"), [(0.0, True), (0.0005, True), (SHARE, False)])
def test_a_head_without_any_room_for_trials_is_refused(free, refused):
    if refused:
        with pytest.raises(BadInput, match="no place for a trial: each holds"):
            require_place_for_trials("node:__internal_head__", free, SHARE)
    else:
        require_place_for_trials("node:__internal_head__", free, SHARE)
    settings = ClusterSettings(lanes=1, threads=1)
    assert sweep_completes(settings, (1,), free, 4) == (not refused)


@pytest.mark.parametrize(("gib", "lanes"), [(20.0, 10), (1.0, 1), (500.0, 64)])
def test_lanes_fit_into_the_memory_too(gib, lanes):
    nodes = [{"CPU": 64.0, "memory": gib * 2**30}]
    assert placed(ClusterSettings(lanes=None), nodes).lanes == lanes


def test_no_lane_without_anything_to_do():
    nodes = [{"CPU": 8.0}]
    assert placed(ClusterSettings(lanes=None), nodes, most_lanes=3).lanes == 3
    assert placed(ClusterSettings(lanes=4), nodes, most_lanes=3).lanes == 4  # as asked


def test_what_others_use_is_named():
    with pytest.raises(BadInput, match="wants 4 CPUs, 1 are free now"):
        placed(ClusterSettings(lanes=4), [{"CPU": 4.0}], [{"CPU": 1.0}])
    with pytest.raises(BadInput, match="wants 5 CPUs, there are 4"):
        placed(ClusterSettings(lanes=5), [{"CPU": 4.0}], [{"CPU": 1.0}])


def test_inline_takes_lanes_null(tmp_path):
    Placement(tmp_path, ClusterSettings(lanes=None), inline=True)


def test_the_width_of_a_backlog_is_what_can_run_at_the_same_time():
    parents = {"a": None, "b": "a", "c": "a", "d": "c", "e": None}
    works = tuple(StageWork(key, parent) for key, parent in parents.items())
    assert Backlog(works, frozenset()).width == 3
    assert Backlog(works, frozenset("abce")).width == 1
    assert Backlog(works, frozenset("abcde")).width == 0
