"""Counting a journal line by line gives what decoding it gives."""

from __future__ import annotations

import pytest
from made_up_sweep import MadeUpSweep

from orchestrator.tracking.driver_record import announce
from orchestrator.tracking.events import (
    End,
    RunFinished,
    RunStarted,
    SequenceStarted,
    StageFinished,
    StageReused,
    TrialStarted,
)
from orchestrator.tracking.journal import Journal, JournalReader
from orchestrator.tracking.mentions import mentions
from orchestrator.tracking.tally import tally


@pytest.fixture
def append(tmp_path):
    def write(*events, run="made-up"):
        journal = Journal(tmp_path, run)
        journal.append(*events)
        journal.close()

    return write


def of(events, *kinds):
    return [event for event in events if isinstance(event, kinds)]


def test_counts_are_those_of_the_decoded_events(tmp_path, append):
    append(*MadeUpSweep(orders=3).whole(4))
    events = JournalReader.open(tmp_path, "made-up").events()
    found = tally(tmp_path, "made-up")
    trained = {event.stage.key for event in of(events, StageFinished)}
    assert found.trained == trained != set()
    assert found.reused == {event.stage.key for event in of(events, StageReused)} - trained
    assert len(found.sequences) == len({e.sequence for e in of(events, SequenceStarted)})
    assert len(found.trials) == len(of(events, TrialStarted)) == 4
    assert (found.kind, found.state) == ("sweep", "finished")
    assert found.started == of(events, RunStarted)[0].time


def started(time, run="r"):
    return RunStarted(time=time, run=run, recipe="x")


def test_the_state_is_that_of_the_last_driver(tmp_path, append):
    assert tally(tmp_path, "r").state == "new"
    append(started(1.0), run="r")
    assert tally(tmp_path, "r").state == "killed"
    append(RunFinished(time=2.0, run="r", end=End.FAILED), run="r")
    assert tally(tmp_path, "r").state == "failed"
    append(started(3.0), run="r")
    assert (tally(tmp_path, "r").state, tally(tmp_path, "r").ended) == ("killed", None)
    announce(tmp_path, "r", "sqlite:///x", 3.0)
    assert tally(tmp_path, "r").state == "running"
    append(RunFinished(time=4.0, run="r", end=End.FINISHED), run="r")
    assert tally(tmp_path, "r").state == "finished"


def test_a_damaged_segment_is_left_out(tmp_path, append):
    append(started(1.0), run="r")
    append(RunFinished(time=2.0, run="r", end=End.FINISHED), run="r")
    for path in (tmp_path / "journal" / "r").glob("*.jsonl"):
        if b"RunFinished" in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"finished", b"failed  "))
    assert tally(tmp_path, "r").state == "killed"


def test_mentions_are_the_events_of_one_stage(tmp_path, append):
    append(*MadeUpSweep(orders=2).whole(2))
    append(started(1.0, "other"), run="other")
    events = JournalReader.open(tmp_path, "made-up").events()
    key = of(events, StageReused)[0].stage.key
    found = list(mentions(tmp_path, key))
    assert {event.stage.key for event in of(found, StageReused)} >= {key}
    expected = [e for e in of(events, StageReused) if e.stage.key == key]
    assert [e for e in of(found, StageReused) if e.stage.key == key] == expected
    assert list(mentions(tmp_path, "f" * 64)) == []
