from __future__ import annotations

import pytest
from stages import RUN, execute, rows, tree_of, weights

from had_core.errors import BadInput
from had_core.methods import NaiveConfig
from orchestrator.execution.cluster import ClusterSettings
from orchestrator.execution.driver import Placement, run_tree, survey
from orchestrator.execution.messages import (
    FailureKind,
    StageLeased,
    StageProgress,
    Status,
)
from orchestrator.store import Store
from orchestrator.tracking.events import EpochEnded, StageFailed
from orchestrator.tracking.journal import Journal, JournalReader

pytestmark = pytest.mark.integration


def place(dataset, sample_every=0.0, **cluster) -> Placement:
    settings = ClusterSettings(threads=1, **cluster)
    return Placement(dataset.path, settings, inline=True, sample_every=sample_every)


def test_a_tree_runs_to_the_end_and_again_does_nothing(pair, finished, micro_dataset, store):
    heard = []
    sampled = place(micro_dataset, sample_every=0.01)
    result = run_tree(pair, store, RUN, sampled, on_event=heard.append)
    ended = [e for e in JournalReader.open(store.uri, RUN).events() if isinstance(e, EpochEnded)]
    assert all(event.system["process_memory_usage_megabytes"] > 0 for event in ended) and ended
    assert weights(pair, store) == weights(pair, finished)
    assert rows(pair, store) == rows(pair, finished)
    assert set(result.outcomes) == {node.key for node in pair}
    assert all(o.trained and o.status is Status.SEALED for o in result.outcomes.values())
    assert (result.reused, result.failed, result.interrupted) == (frozenset(), (), False)
    leases = [event.lease.key for event in heard if isinstance(event, StageLeased)]
    assert sorted(leases) == sorted(result.outcomes)
    assert {e.key for e in heard if isinstance(e, StageProgress)} <= set(leases)
    for node in pair:
        assert node.parent is None or leases.index(node.parent) < leases.index(node.key)

    heard.clear()
    again = run_tree(pair, store, RUN, place(micro_dataset), on_event=heard.append)
    assert again.reused == {node.key for node in pair}
    assert (again.outcomes, heard) == ({}, [])


def test_a_shared_stage_is_trained_once_and_named_after_its_first_sequence(pair, finished):
    backlog = survey(pair, finished, RUN)
    assert len(backlog.works) == 3
    root = backlog.works[0]
    assert (root.method, root.sequence) == ("naive", "naive:semantic>depth:s0")
    assert [work.parent for work in backlog.works] == [None, root.key, root.key]


def test_a_label_tells_a_trials_sequences_apart(pair, store):
    named = [work.sequence for work in survey(pair, store, RUN, "t0007").works]
    assert all(sequence.endswith(":s0:t0007") for sequence in named)
    plain = [work.sequence for work in survey(pair, store, RUN).works]
    assert [f"{sequence}:t0007" for sequence in plain] == named


def test_a_worker_that_raises_is_tried_again_then_fails_with_its_traceback(
    pair, micro_dataset, store, monkeypatch
):
    calls = []

    def broken(*args, **kwargs):
        calls.append(1)
        raise ZeroDivisionError("in the fit")

    monkeypatch.setattr("orchestrator.execution.worker.fit", broken)
    journal = Journal(store.uri, RUN)
    result = run_tree(pair, store, RUN, place(micro_dataset), journal=journal)
    root = result.outcomes[pair.roots[0].key]
    assert len(calls) == 3
    assert root.failure.kind is FailureKind.ERROR
    assert "ZeroDivisionError: in the fit" in root.failure.traceback
    kinds = {o.key: o.failure.kind for o in result.failed}
    assert sorted(kinds.values(), key=str) == [
        FailureKind.ERROR,
        FailureKind.PARENT,
        FailureKind.PARENT,
    ]
    told = [e for e in JournalReader.open(store.uri, RUN).events() if isinstance(e, StageFailed)]
    mine = [e for e in told if e.stage.key == root.key]
    assert [(e.attempt, e.final) for e in mine] == [(1, False), (2, False), (3, False), (3, True)]


def test_an_error_that_passes_costs_nothing_but_time(
    pair, finished, micro_dataset, store, monkeypatch
):
    from orchestrator.execution import worker

    original, calls = worker.fit, []

    def flaky(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the network went away")
        return original(*args, **kwargs)

    monkeypatch.setattr(worker, "fit", flaky)
    result = run_tree(pair, store, RUN, place(micro_dataset))
    assert result.failed == ()
    assert weights(pair, store) == weights(pair, finished)


def test_bad_data_folder_is_one_sentence(pair, store, tmp_path):
    with pytest.raises(BadInput, match="nowhere"):
        run_tree(pair, store, RUN, Placement(tmp_path / "nowhere", inline=True))


def test_inline_is_one_worker(micro_dataset):
    with pytest.raises(BadInput, match=r"cluster\.workers=2 is not allowed inline"):
        place(micro_dataset, workers=2)


def test_ctrl_c_stops_between_epochs_and_the_same_call_goes_on(
    micro_dataset, store, tmp_path, ctrl_c
):
    tree = tree_of(micro_dataset, methods=[NaiveConfig()], order=("semantic", "depth"), epochs=6)
    pressed = []

    def press(event):
        if isinstance(event, StageProgress) and event.epoch >= 2 and not pressed:
            pressed.append(event)
            ctrl_c()

    result = run_tree(tree, store, RUN, place(micro_dataset), on_event=press)
    assert result.interrupted
    assert {o.status for o in result.outcomes.values()} == {Status.CANCELLED}
    assert store.partial(tree.roots[0].key).read() is not None

    result = run_tree(tree, store, RUN, place(micro_dataset))
    first = result.outcomes[tree.roots[0].key]
    assert first.status is Status.SEALED
    assert first.steps_run < 6 * 2
    other = Store.open(tmp_path / "other")
    execute(tree, micro_dataset, other)
    assert weights(tree, store) == weights(tree, other)
