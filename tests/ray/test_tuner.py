"""Sweeps on Ray Tune whose stages train nothing: a thread of this process seals them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from toy_sweep import LAMBDA, ToyProblem, ToyRunner

from orchestrator.search.events import TrialEnd, TrialEnded, TrialScored, TrialStarted
from orchestrator.search.settings import Choice, FloatRange, Pruner, Sampler, SearchConfig

STAGES = 15  # of one setting over all orders of three tasks; 3 of them are shared by all
RANGE = {LAMBDA: FloatRange(0.1, 30.0, log=True)}


def grid(*values: float, **changes) -> SearchConfig:
    space = {LAMBDA: Choice(values)}
    return SearchConfig(trials=len(values), space=space, sampler=Sampler.GRID, **changes)


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def run(session_cluster, url):
    """One life of a sweep: what was said, the study it left, the stages that were executed."""

    def execute(settings, problem=None, *, seconds=0.0, should_stop=None, hear=None):
        from orchestrator.search.study import open_study
        from orchestrator.search.tuner import run_tuner

        said, runner = [], ToyRunner(seconds=seconds)
        study = open_study(settings, url, "toy")

        def on_trial(event):
            said.append(event)
            if hear is not None:
                hear(event)

        with lane_over(runner) as queue:
            run_tuner(
                settings,
                study,
                problem or ToyProblem(),
                queue,
                session_cluster.scratch,
                on_trial,
                (lambda: should_stop(said)) if should_stop else (lambda: False),
            )
        return said, study, runner.ran

    return execute


@contextmanager
def lane_over(runner):
    from orchestrator.execution.inline import InlineLane
    from orchestrator.execution.ray_queue import RayQueue

    queue = RayQueue.start(patience_s=0.5)
    lane = InlineLane("lane", queue, lambda parallel: runner)
    lane.start()
    try:
        yield queue
    finally:
        queue.cancel()
        queue.close()
        lane.join(60)
        queue.kill()


@contextmanager
def no_cpu_left():
    import ray

    @ray.remote(num_cpus=2)
    class Greedy:
        def ready(self):
            return True

    actor = Greedy.remote()
    ray.get(actor.ready.remote())
    yield
    ray.kill(actor)


def ends(said) -> dict[str, TrialEnd]:
    return {event.label: event.state for event in said if isinstance(event, TrialEnded)}


def states(study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_a_sweep_without_a_cpu_shares_stages_and_prints_nothing(run, capfd):
    from orchestrator.search.study import best, distinct_parameters, remaining

    settings = SearchConfig(trials=5, space=RANGE, max_concurrent=2)
    with no_cpu_left():
        said, study, ran = run(settings)
    assert states(study) == ["COMPLETE"] * 5
    assert len(distinct_parameters(study)) == 5
    assert remaining(study, settings) == 0
    # The queue forgets what nobody wants any more; a real plan then finds it sealed in the store.
    shared = set(ran[:3])
    assert len(set(ran)) == 3 + 5 * (STAGES - 3)
    assert {key for key in ran if ran.count(key) > 1} <= shared
    labels = [f"t000{k}" for k in range(5)]
    assert [event.label for event in said if isinstance(event, TrialStarted)] == labels
    for label in labels:
        own = [event for event in said if event.label == label]
        orders = [event.orders_done for event in own if isinstance(event, TrialScored)]
        assert orders == [1, 2, 3, 4, 5, 6]
        assert own[-1].values == (own[-2].value,)
    (found,) = best(study)
    assert found.values == (max(e.values[0] for e in said if isinstance(e, TrialEnded)),)
    assert capfd.readouterr() == ("", ""), "stdout belongs to the command's result"
    said, _, ran = run(settings)
    assert said == [] == ran, "a finished sweep does nothing"


def test_settings_that_fall_behind_are_pruned_and_their_stages_dropped(run):
    settings = grid(3.0, 0.1, 30.0, pruner=Pruner.MEDIAN, pruner_startup_trials=1, max_concurrent=1)
    said, study, ran = run(settings, seconds=0.2)
    assert states(study) == ["COMPLETE", "PRUNED", "PRUNED"]
    assert list(ends(said).values()) == [TrialEnd.COMPLETE, TrialEnd.PRUNED, TrialEnd.PRUNED]
    assert len(ran) < 3 + 3 * (STAGES - 3)


def test_a_failed_stage_and_a_killed_process_end_no_sweep(run, tmp_path):
    problem = ToyProblem(fail_above=5.0, kill_once=str(tmp_path))
    said, study, _ = run(grid(1.0, 10.0, 2.0, max_concurrent=1), problem)
    assert (tmp_path / "killed").exists()
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]
    (failed,) = (e for e in said if isinstance(e, TrialEnded) and e.state is TrialEnd.FAILED)
    assert failed.label == "t0001"
    assert "failed: loss term 'new/x' is not finite" in failed.message
    assert study.trials[1].user_attrs["had.message"] == failed.message


def test_a_stopped_sweep_goes_on_where_it_was(run, url):
    """Stopped from outside, then killed: N settings in the end, none running, none twice."""
    from orchestrator.search.space import distributions
    from orchestrator.search.study import distinct_parameters, open_study

    settings = SearchConfig(trials=4, space=RANGE, max_concurrent=2)
    said, study, _ = run(
        settings, seconds=0.1, should_stop=lambda said: TrialEnd.COMPLETE in ends(said).values()
    )
    assert "RUNNING" not in states(study)
    assert TrialEnd.INTERRUPTED in ends(said).values()
    finished = {t.number: t.params for t in study.trials if t.state.name == "COMPLETE"}
    study.ask(distributions(settings.space))  # and now the driver is killed
    assert "RUNNING" in states(study)
    said, study, _ = run(replace(settings, max_concurrent=1))
    assert "RUNNING" not in states(study) and "WAITING" not in states(study)
    assert states(study).count("COMPLETE") == 4
    assert len(distinct_parameters(study)) == 4
    assert {n: study.trials[n].params for n in finished} == finished
    assert states(open_study(settings, url, "toy")) == states(study)


def test_an_error_of_the_driver_ends_the_sweep_and_leaves_nothing_running(run, url):
    from orchestrator.search.study import open_study

    settings = SearchConfig(trials=3, space=RANGE, max_concurrent=1)

    def broken(event):
        if isinstance(event, TrialEnded):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run(settings, hear=broken)
    assert "RUNNING" not in states(open_study(settings, url, "toy"))


def test_the_benchmark_of_a_sweep_in_short(session_cluster, monkeypatch):
    """Its goal is 1.3; here it only has to be of the same size on a busy machine."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import bench_sweep

    figures = bench_sweep.measure_on(session_cluster.scratch, trials=6, concurrent=2, rounds=1)
    assert figures["ratio"] < 5, figures
