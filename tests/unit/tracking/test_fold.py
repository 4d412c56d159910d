"""Records depend on what happened, not on the order in which it was heard of."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.tracking.events import (
    Direction,
    End,
    Event,
    RunKind,
    RunStarted,
    SequenceStarted,
    StageStarted,
    TrialState,
)
from orchestrator.tracking.fold import Fold
from orchestrator.tracking.journal import Entry
from orchestrator.tracking.records import RunRecord


def _entries(events: list[Event]) -> list[Entry]:
    return [Entry(event, f"w-{number:06d}.jsonl", 0) for number, event in enumerate(events)]


def _fold(*batches: list[Entry], forgetful: bool = False) -> dict[str, RunRecord]:
    def reread(names: Iterable[str]) -> list[Entry]:
        return [entry for batch in batches for entry in batch if entry.segment in set(names)]

    fold = Fold("j", "run", reread if forgetful else None)
    records: dict[str, RunRecord] = {}
    for batch in batches:
        fold.add(batch)
        new = fold.changed()
        records.update({record.uid: record for record in new})
        for record in new:
            assert record.parent is None or record.parent in records, "parents come first"
            fold.settle(record.uid)
    return records


def _stage(events: list[Event], name: str) -> RunRecord:
    (record,) = [r for r in _fold(_entries(events)).values() if r.name == name]
    return record


@given(st.randoms(use_true_random=False), st.integers(1, 6), st.booleans(), st.booleans())
@settings(max_examples=60)
def test_any_order_and_any_batches_give_the_same_records(
    demo_events: list[Event],
    sweep_events: list[Event],
    rng: random.Random,
    parts: int,
    swept: bool,
    forgetful: bool,
) -> None:
    """Also where what is over and shown was forgotten and has to be read again."""
    entries = _entries(sweep_events if swept else demo_events)
    wanted = _fold(entries)
    rng.shuffle(entries)
    cuts = sorted(rng.sample(range(1, len(entries)), parts - 1))
    batches = [entries[a:b] for a, b in zip([0, *cuts], [*cuts, len(entries)], strict=True)]
    assert _fold(*batches, forgetful=forgetful) == wanted


@pytest.fixture(scope="module")
def sweep_events(request: pytest.FixtureRequest) -> list[Event]:
    story = request.getfixturevalue("new_story")()
    story.sweep_started()
    for number, state in enumerate((TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE)):
        trial = story.trial_started(number)
        name = story.sequence_started("had", ("depth", "normal"), trial=trial)
        first, second = (story.ref(name, n, f"{n}{number}" * 32, None) for n in (1, 2))
        story.trained(first)
        story.trial_scored(trial, 1, running=1.0)
        if state is TrialState.PRUNED:
            story.stage_started(second)  # dropped in the middle
            story.trial_finished(trial, state)
            continue
        story.trained(second)
        story.sequence_finished(name, delta_m_pct=1.0 + number)
        if number == 2:
            story.run_finished(End.KILLED)
            story.run_started(kind=RunKind.SWEEP, objectives={"mean": Direction.MAXIMIZE})
        story.trial_finished(trial, state, mean=1.0 + number)
    story.trial_started(3)
    story.run_files(**{"results.parquet": "sweeps/x/results.parquet"})
    story.run_finished(End.KILLED)
    return list(story.events)


@pytest.fixture(scope="module")
def demo_events(request: pytest.FixtureRequest) -> list[Event]:
    story = request.getfixturevalue("new_story")()
    story.run_started()
    had = story.sequence_started("had", ("depth", "normal"))
    naive = story.sequence_started("naive", ("depth", "normal"))
    first = story.ref(had, 1, "1" * 64, None)
    story.stage_started(first)
    story.epoch(first, 1)
    story.run_finished(End.KILLED)
    story.run_started()
    story.stage_started(first, attempt=2)
    story.epoch(first, 1, attempt=2)
    story.epoch(first, 2, attempt=2)
    story.stage_finished(first, attempt=2)
    story.stage_reused(story.ref(naive, 1, "1" * 64, None))
    story.trained(story.ref(had, 2, "2" * 64, "1" * 64))
    story.sequence_finished(had, delta_m=1.0)
    broken = story.ref(naive, 2, "3" * 64, "1" * 64)
    story.stage_started(broken)
    story.stage_failed(broken)
    story.sequence_finished(naive, End.FAILED)
    story.run_finished(End.FAILED)
    return list(story.events)


def test_each_epoch_counts_once_as_it_was_first_recorded(demo_events: list[Event]) -> None:
    record = _stage(demo_events, "1 depth")
    rates = [(p.step, p.time_ms) for p in record.points if p.key == "images_per_s"]
    assert [step for step, _ in rates] == [1, 2]
    first = demo_events[4]
    assert rates[0][1] == round(first.time * 1000)
    assert record.tags["had.attempts"] == "2"


def test_failure_and_its_reason(demo_events: list[Event]) -> None:
    records = _fold(_entries(demo_events))
    failed = {r.name: r.tags.get("had.message") for r in records.values() if r.status == "FAILED"}
    assert failed == {"2 normal": "a loss is not finite", "naive depth>normal s0": None}


def test_a_failed_attempt_that_is_tried_again_still_runs(story: Any) -> None:
    story.run_started()
    name = story.sequence_started("had", ("depth",))
    ref = story.ref(name, 1, "1" * 64, None)
    story.stage_started(ref)
    story.stage_failed(ref, final=False)
    assert _stage(story.events, "1 depth").status == "RUNNING"
    story.stage_failed(ref, attempt=2, final=True)
    assert _stage(story.events, "1 depth").status == "FAILED"
    story.stage_started(ref, attempt=3)
    assert _stage(story.events, "1 depth").status == "RUNNING"


def test_sealed_but_killed_before_its_end_was_journalled(story: Any) -> None:
    """The next driver finds the stage sealed; it was trained here, so its run is the full one."""
    story.run_started()
    name = story.sequence_started("had", ("depth",))
    ref = story.ref(name, 1, "1" * 64, None)
    story.stage_started(ref)
    story.epoch(ref, 1)
    story.run_finished(End.KILLED)
    story.run_started()
    story.stage_reused(ref)
    record = _stage(story.events, "1 depth")
    assert (record.status, record.tags["had.reused"]) == ("FINISHED", "false")
    assert any(point.key == "test/depth/abs_err" for point in record.points)


def test_running_it_all_again_changes_no_stage(demo_events: list[Event], story: Any) -> None:
    before = _fold(_entries(demo_events))
    story.clock = demo_events[-1].time + 1000
    story.run_started()
    had = story.sequence_started("had", ("depth", "normal"))
    story.stage_reused(story.ref(had, 1, "1" * 64, None))
    story.stage_reused(story.ref(had, 2, "2" * 64, "1" * 64))
    story.sequence_finished(had, delta_m=1.0)
    story.run_finished()
    after = _fold(_entries([*demo_events, *story.events]))
    assert after.keys() == before.keys()
    changed = {record.name for uid, record in after.items() if record != before[uid]}
    assert changed == {"had depth>normal s0"}
    sequence = next(record for record in after.values() if record.name == "had depth>normal s0")
    old = before[sequence.uid]
    assert (sequence.points, sequence.start_ms) == (old.points, old.start_ms)


def test_a_lost_start_of_a_sequence_does_not_lose_its_stages(demo_events: list[Event]) -> None:
    rest = [e for e in demo_events if not isinstance(e, (SequenceStarted, RunStarted))]
    records = _fold(_entries(rest))
    assert {r.name for r in records.values() if r.parent is None} == {
        "had:depth>normal:s0",
        "naive:depth>normal:s0",
    }
    rest = [e for e in demo_events if not isinstance(e, StageStarted)]
    assert _stage(rest, "1 depth").status == "FINISHED"


def test_undefined_values_are_left_out(new_story: Callable[..., Any]) -> None:
    story = new_story()
    story.rows = lambda ref: {"test": {"depth": {"abs_err": None, "rel_err": 1.0}}}
    story.run_started()
    name = story.sequence_started("had", ("depth",))
    story.trained(story.ref(name, 1, "1" * 64, None))
    keys = {point.key for point in _stage(story.events, "1 depth").points}
    assert "test/depth/rel_err" in keys
    assert "test/depth/abs_err" not in keys


def test_a_stage_of_several_tasks(new_story: Callable[..., Any]) -> None:
    """Joint training: one stage learns every task."""
    story = new_story()
    story.run_started()
    name = story.sequence_started("joint", ("depth", "normal"))
    ref = story.ref(name, 2, "1" * 64, None)
    object.__setattr__(ref, "tasks", ("depth", "normal"))
    story.trained(ref)
    record = _stage(story.events, "2 depth+normal")
    assert record.model is not None
    assert record.model.name == "depth>normal 11111111"
