"""The writer beside a driver never disturbs it, and dead drivers are found."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_mlflow import FakeMlflow, snapshot

from orchestrator.tracking import driver_record
from orchestrator.tracking.background import TrackingWriter, close_dead_runs, sync
from orchestrator.tracking.driver_record import announce, driver_of, mark_dead_runs, retire
from orchestrator.tracking.events import End, Event, RunFinished
from orchestrator.tracking.journal import Journal, JournalReader
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.locks import WriterLock
from orchestrator.tracking.mlflow_writer import MlflowWriter


class Away:
    """An MLflow that cannot be reached until it is told to be there."""

    def __init__(self) -> None:
        self.fake = FakeMlflow()
        self.there = False
        self.tries = 0

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self.there:
                self.tries += 1
                raise ConnectionError("http://ada:secret@mlflow.example:5000 does not answer")
            return getattr(self.fake, name)(*args, **kwargs)

        return call


def _append(root: Path, events: list[Event]) -> None:
    journal = Journal(root, events[0].run)
    for event in events:
        journal.append(event)
    journal.close()


def _tracking(root: Path, run: str, client: Any) -> TrackingWriter:
    location = TrackingLocation.of(root)
    writer = MlflowWriter(JournalReader.open(root, run), run, location, client=client)
    return TrackingWriter(root, run, location, writer=writer, every=0.01)


def test_it_keeps_up_and_ends(tmp_path: Path, demo: list[Event]) -> None:
    client = FakeMlflow()
    with _tracking(tmp_path, demo[0].run, client) as tracking:
        _append(tmp_path, demo[:8])
        assert tracking.flush(60)
        assert len(client.runs) == 4
        record = driver_of(tmp_path, demo[0].run)
        assert record is not None
        assert record.alive(time.time())
        _append(tmp_path, demo[8:])
    assert tracking.behind is None
    assert len(snapshot(client)["runs"]) == 6
    record = driver_of(tmp_path, demo[0].run)
    assert record is not None
    assert not record.open


def test_an_outage_costs_one_warning_and_loses_nothing(
    tmp_path: Path, demo: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    away = Away()
    whole = FakeMlflow()
    run = demo[0].run
    _append(tmp_path, demo[:10])
    with caplog.at_level(logging.WARNING), _tracking(tmp_path, run, away) as tracking:
        assert not tracking.flush(5)
        assert tracking.behind is not None
        assert not tracking.flush(5)
        assert away.tries >= 2
        assert caplog.text.count("MLflow cannot be written") == 1
        assert "secret" not in caplog.text
        _append(tmp_path, demo[10:])
        away.there = True
        assert tracking.flush(60)
    location = TrackingLocation.of(tmp_path)
    MlflowWriter(JournalReader.open(tmp_path, run), run, location, client=whole).drain()  # type: ignore[arg-type]
    assert snapshot(away.fake) == snapshot(whole)


def test_mlflow_is_not_blamed_for_a_damaged_journal_id(
    store: Path, demo: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    run = demo[0].run
    _append(store, demo)
    (store / "journal" / run / "id.json").write_text("")
    tracking = TrackingWriter(store, run, TrackingLocation.of(store), every=0.01)
    with caplog.at_level(logging.WARNING), tracking:
        assert not tracking.flush(60) and not tracking.flush(60)
    assert tracking.behind is not None and "id.json is damaged: delete it" in tracking.behind
    assert caplog.text.count("MLflow misses a run") == 1
    assert "cannot be written" not in caplog.text


def test_stop_gives_up_on_a_hanging_mlflow(tmp_path: Path, demo: list[Event]) -> None:
    answer = threading.Event()

    class Hanging:
        def __getattr__(self, name: str) -> Any:
            answer.wait(600)
            raise ConnectionError

    _append(tmp_path, demo)
    tracking = _tracking(tmp_path, demo[0].run, Hanging()).start()
    assert tracking.stop(timeout=0.2) is False
    assert not answer.is_set(), "it waited for MLflow"
    answer.set()
    assert "did not answer" in str(tracking.behind)


def test_only_one_process_writes_a_run(tmp_path: Path, demo: list[Event]) -> None:
    """The lock is per open file, so a second one in this process stands for another process."""
    client = FakeMlflow()
    _append(tmp_path, demo)
    other = WriterLock(tmp_path, demo[0].run)
    assert other.acquire()
    tracking = _tracking(tmp_path, demo[0].run, client).start()
    assert not tracking.flush(5)
    assert client.runs == {}
    (report,) = sync(tmp_path, TrackingLocation.of(tmp_path))
    assert "another process" in report.skipped
    other.release()
    assert tracking.flush(60)
    assert tracking.stop()
    assert len(client.runs) == 6


def _dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_who_is_alive(tmp_path: Path) -> None:
    now = time.time()
    me = announce(tmp_path, "r", "somewhere", now)
    assert me.pid == os.getpid()
    assert me.alive(now + 1e9)  # the process table knows better than the clock
    assert not replace(me, open=False).alive(now)
    assert not replace(me, pid=_dead_pid()).alive(now)
    assert not replace(me, started=me.started + 1).alive(now)  # the pid was given to another
    elsewhere = replace(me, host=socket.gethostname() + "-2", pid=_dead_pid())
    assert elsewhere.alive(now + driver_record.STALE_AFTER - 1)
    assert not elsewhere.alive(now + driver_record.STALE_AFTER + 1)
    assert not replace(me, boot="an earlier boot").alive(now + driver_record.STALE_AFTER + 1)


def _driver_died(root: Path, run: str, beat: float) -> None:
    record = announce(root, run, TrackingLocation.of(root).shown, beat)
    driver_record._write(driver_record.journal_folder(root, run), replace(record, pid=_dead_pid()))


def test_dead_runs_are_marked_once_after_all_they_did(tmp_path: Path, demo: list[Event]) -> None:
    alive = replace(demo[0], run="alive")
    _append(tmp_path, [alive])
    announce(tmp_path, "alive", "x", demo[0].time)
    _append(tmp_path, demo[:8])
    _driver_died(tmp_path, demo[0].run, demo[0].time)
    assert mark_dead_runs(tmp_path) == [demo[0].run]
    assert mark_dead_runs(tmp_path) == []
    last = JournalReader.open(tmp_path, demo[0].run).events()[-1]
    assert isinstance(last, RunFinished)
    assert last.end is End.KILLED
    assert demo[7].time < last.time < demo[7].time + 1


def test_the_next_driver_of_a_run_journals_the_end_of_a_killed_one_first(
    tmp_path: Path, sweep: list[Event]
) -> None:
    """The killed driver's open trial is not taken for the next one's."""
    run, client = sweep[0].run, FakeMlflow()
    half = next(n for n, e in enumerate(sweep) if getattr(e, "trial", "") == "t0001") + 3
    _append(tmp_path, sweep[:half])
    _driver_died(tmp_path, run, sweep[0].time)
    with _tracking(tmp_path, run, client) as tracking:
        _append(tmp_path, [replace(sweep[0], time=sweep[half].time + 1)])
        assert tracking.flush(20)
        runs = snapshot(client)["runs"].values()
        status = {(r["tags"].get("had.trial"), r["status"]) for r in runs}
        assert status == {(None, "RUNNING"), ("t0000", "FINISHED"), ("t0001", "KILLED")}
    ends = [e for e in JournalReader.open(tmp_path, run).events() if isinstance(e, RunFinished)]
    assert [e.end for e in ends] == [End.KILLED]


def test_runs_that_ended_or_have_no_record_are_left_alone(
    tmp_path: Path, demo: list[Event]
) -> None:
    _append(tmp_path, demo)
    assert mark_dead_runs(tmp_path) == []
    retire(tmp_path, demo[0].run, announce(tmp_path, demo[0].run, "x", 0.0), 1.0)
    assert mark_dead_runs(tmp_path) == []
    driver_record.journal_folder(tmp_path, demo[0].run).write("driver.json", b"{garbage")
    assert mark_dead_runs(tmp_path) == []


def test_closing_dead_runs_ends_them_in_mlflow(
    store: Path, demo: list[Event], pictures: Callable[[str, str], bytes]
) -> None:
    location = TrackingLocation.of(store)
    _append(store, demo[:8])
    sync(store, location, pictures=pictures)
    client = location.client()
    assert {r["status"] for r in snapshot(client)["runs"].values()} == {"RUNNING", "FINISHED"}
    _driver_died(store, demo[0].run, demo[0].time)
    assert close_dead_runs(store, location, pictures=pictures) == [demo[0].run]
    runs = snapshot(client)["runs"].values()
    assert sorted(r["status"] for r in runs) == ["FINISHED", "FINISHED", "KILLED", "KILLED"]
    assert all(
        "is gone" in r["tags"].get("had.message", "") for r in runs if r["status"] == "KILLED"
    )


def test_what_another_command_marked_or_an_outage_left_is_caught_up(
    store: Path, demo: list[Event], pictures: Callable[[str, str], bytes]
) -> None:
    location = TrackingLocation.of(store)
    run = demo[0].run
    _append(store, demo[:8])
    _driver_died(store, run, demo[0].time)
    assert mark_dead_runs(store) == [run]  # by a command that does not speak to MLflow
    _append(store, [replace(demo[0], run="missed"), replace(demo[-1], run="missed")])
    retire(store, "missed", announce(store, "missed", location.shown, 0.0), 1.0)
    assert driver_record.behind(store, location.shown) == [run, "missed"]
    assert close_dead_runs(store, location, pictures=pictures) == []
    assert driver_record.behind(store, location.shown) == []
    statuses = {r["status"] for r in snapshot(location.client())["runs"].values()}
    assert statuses == {"FINISHED", "KILLED"}


def test_the_next_driver_closes_dead_runs(
    store: Path, demo: list[Event], pictures: Callable[[str, str], bytes]
) -> None:
    location = TrackingLocation.of(store)
    _append(store, demo[:8])
    sync(store, location, pictures=pictures)
    _driver_died(store, demo[0].run, demo[0].time)
    with TrackingWriter(store, "next", location, pictures=pictures) as tracking:
        _append(store, [replace(demo[0], run="next")])
        assert tracking.flush(120)
    statuses = {r["status"] for r in snapshot(location.client())["runs"].values()}
    assert statuses == {"FINISHED", "KILLED"}


def test_dead_runs_tracked_elsewhere_are_only_marked(tmp_path: Path, demo: list[Event]) -> None:
    _append(tmp_path, demo[:8])
    _driver_died(tmp_path, demo[0].run, demo[0].time)
    elsewhere = TrackingLocation.of(tmp_path, "http://127.0.0.1:9")  # would refuse a connection
    assert close_dead_runs(tmp_path, elsewhere) == [demo[0].run]
