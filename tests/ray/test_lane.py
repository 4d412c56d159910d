"""Lanes by themselves: accidents of a worker group, with stages that train nothing."""

from __future__ import annotations

import functools
import os
import signal

import pytest
from noop_runner import NoopSettings, open_noop
from processes import descendants, listening

from orchestrator.execution.messages import (
    FailureKind,
    LaneFault,
    Outcome,
    StageWork,
    Status,
)


@pytest.fixture
def run(session_cluster):
    """Execute works on a fresh lane; everything that happened, and the lane."""
    from orchestrator.execution.lane import RayLane
    from orchestrator.execution.ray_queue import RayQueue

    queues = []

    def execute(works, make_runner, max_attempts=2):
        queue = RayQueue.start(max_attempts)
        queues.append(queue)
        queue.submit("w", works)
        queue.close()
        lane = RayLane("lane-0", queue, make_runner, session_cluster)
        lane.start()
        lane.join(240)
        assert not lane.alive
        return list(queue.poll(0).events), lane

    yield execute
    for queue in queues:
        queue.kill()


def test_ray_leaves_sigterm_to_the_command(session_cluster):
    """Its own handler would end the program in the middle of a stage."""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_private_cluster_listens_on_loopback_alone_and_wants_a_token(session_cluster):
    import ray

    below = set(descendants(os.getpid()))
    assert len(below) >= 4
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    addresses = listening(below | {os.getpid()})
    assert addresses and addresses <= loopback
    assert os.environ["RAY_AUTH_MODE"] == "token"
    token = os.environ["RAY_AUTH_TOKEN_PATH"]
    assert os.stat(token).st_mode & 0o077 == 0
    assert os.stat(os.path.dirname(token)).st_mode & 0o077 == 0
    assert ray.get_runtime_context().get_node_id()


def test_a_private_cluster_runs_without_rays_monitors(session_cluster):
    """The autoscaler's costs a second of every command's end."""
    commands = descendants(os.getpid()).values()
    assert any("raylet" in command for command in commands)
    assert not [command for command in commands if "monitor.py" in command]


def test_short_stages_are_not_reported(session_cluster):
    """Ray Train takes a report every two seconds and lets the next one wait."""
    from orchestrator.execution.lane import _report

    outcome = Outcome("key", Status.SEALED, trained=True)
    _report(outcome, 3.9)  # outside of a lane a report is an error
    with pytest.raises(RuntimeError):
        _report(outcome, 4.1)


def test_a_lane_survives_killed_and_raising_and_diverging_stages(run, tmp_path, capfd):
    """One group start, and one more for each broken group: kill 1, raise 2."""
    works = [
        StageWork("first", None),
        StageWork("killed", "first"),
        StageWork("after killed", "killed"),
        StageWork("diverged", "first"),
        StageWork("after diverged", "diverged"),
        StageWork("raising", "first"),
        StageWork("after raising", "raising"),
    ]
    settings = NoopSettings(
        ledger=str(tmp_path), kill="killed", diverge="diverged", raise_="raising"
    )
    events, lane = run(works, functools.partial(open_noop, settings))
    assert lane.error is None
    ended = {e.key: e for e in events if isinstance(e, Outcome)}
    sealed = {key for key, outcome in ended.items() if outcome.status is Status.SEALED}
    assert sealed == {"first", "killed", "after killed"}
    assert ended["killed"].attempts == 2
    kinds = {key: ended[key].failure.kind for key in ended if key not in sealed}
    assert kinds == {
        "diverged": FailureKind.NON_FINITE,
        "after diverged": FailureKind.PARENT,
        "raising": FailureKind.ERROR,
        "after raising": FailureKind.PARENT,
    }
    assert "RuntimeError: stage raising raises" in ended["raising"].failure.traceback
    assert "noop_runner.py" in ended["raising"].failure.traceback
    faults = [(e.key, bool(e.traceback)) for e in events if isinstance(e, LaneFault)]
    assert sorted(faults) == [("killed", False), ("raising", True), ("raising", True)]
    assert capfd.readouterr().out == "", "stdout belongs to the command's result"
    executed = sorted(path.name for path in tmp_path.iterdir())
    assert executed == sorted(
        f"{key}.{attempt}.{rank}"
        for key, attempts in [
            *[("first", 1), ("after killed", 1), ("diverged", 1)],
            *[("killed", 2), ("raising", 2)],
        ]
        for attempt in range(1, attempts + 1)
        for rank in (0, 1)
    )


def _cannot_start(parallel):
    raise ModuleNotFoundError("No module named 'elsewhere'")


def test_a_lane_that_cannot_start_is_an_error_and_no_hang(run):
    import sys

    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        events, lane = run([StageWork("a", None)], _cannot_start)
    finally:
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert lane.error is not None
    faults = [e for e in events if isinstance(e, LaneFault)]
    assert len(faults) == 2
    assert all("No module named 'elsewhere'" in fault.traceback for fault in faults)
