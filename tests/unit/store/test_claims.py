from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from killing_fs import run_in_child, start_child

from had_core.canonical import to_plain
from orchestrator.store import LocalFs, Store, records
from orchestrator.store import claims as module
from orchestrator.store.claims import STALE_S, ClaimRecord, Claims
from orchestrator.store.processes import Process

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def fs(tmp_path):
    return LocalFs(str(tmp_path / "store"))


@pytest.fixture
def store(fs):
    return Store(fs)


def write_claim(fs, number=1, beat=None, nonce="x", **process):
    owner = {**to_plain(Process.current()), **process}
    record = {"process": owner, "nonce": nonce, "beat": time.time() if beat is None else beat}
    fs.write(f"claims/{KEY}.{number:06d}.json", records.to_bytes(record))


def test_one_holder_at_a_time_and_the_next_after_release(store):
    claim = store.claims.take(KEY)
    assert claim is not None
    assert store.claims.take(KEY) is None
    with store.claims.take(OTHER):
        assert store.claims.take(OTHER) is None
    claim.release()
    claim.release()
    assert store.fs.names("claims") == []
    store.claims.take(KEY).release()


def test_many_takers_one_holder(store):
    found = []
    gate = threading.Barrier(8)

    def take():
        gate.wait()
        found.append(store.claims.take(KEY))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in found) == 1


def test_another_process_holds_until_it_is_killed(store):
    def hold():
        assert store.claims.take(KEY) is not None
        store.fs.write("ready", b"")
        signal.pause()

    pid = start_child(hold)
    deadline = time.monotonic() + 20
    while store.fs.size("ready") is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.claims.take(KEY) is None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    claim = store.claims.take(KEY)
    assert claim is not None
    assert store.fs.names("claims") == [f"{KEY}.000002.json"]
    claim.release()


def test_a_process_that_ended_without_releasing_holds_nothing(store):
    assert run_in_child(lambda: store.claims.take(KEY)) == 0
    store.claims.take(KEY).release()


@pytest.mark.parametrize(
    ("age", "process", "held"),
    [
        (0.0, {"host": "elsewhere"}, True),
        (STALE_S - 5, {"host": "elsewhere"}, True),
        (STALE_S, {"host": "elsewhere"}, False),
        (0.0, {"boot": "before the reboot"}, True),
        (STALE_S, {"boot": "before the reboot"}, False),
        (0.0, {"pid": 1}, False),  # that pid started at another time
        (0.0, {}, False),  # this very process, which does not know of it
    ],
)
def test_what_is_alive(fs, age, process, held):
    write_claim(fs, beat=time.time() - age, **process)
    claim = Claims(fs).take(KEY)
    assert (claim is None) == held
    if claim is not None:
        claim.release()


def test_the_newest_rules_and_takes_the_older_away(fs):
    write_claim(fs, 1, host="elsewhere", beat=0.0)
    write_claim(fs, 2, host="elsewhere")
    assert Claims(fs).take(KEY) is None
    write_claim(fs, 2, host="elsewhere", beat=0.0)
    claim = Claims(fs).take(KEY)
    assert fs.names("claims") == [f"{KEY}.000003.json"]
    claim.release()


def test_a_damaged_claim_is_nobodys(fs):
    fs.write(f"claims/{KEY}.000001.json", b"{")
    Claims(fs).take(KEY).release()


def test_a_holder_gives_signs_of_life(fs, monkeypatch):
    monkeypatch.setattr(module, "BEAT_S", 0.02)
    with Claims(fs).take(KEY):
        path = f"claims/{KEY}.000001.json"

        def beat():
            return records.from_bytes(fs.read(path))["beat"]

        first = beat()
        deadline = time.monotonic() + 20
        while beat() == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert beat() > first
    time.sleep(0.1)
    assert fs.names("claims") == []


def test_a_claim_that_was_taken_as_stale_does_not_come_back(fs, monkeypatch):
    monkeypatch.setattr(module, "BEAT_S", 0.02)
    slow = Claims(fs, clock=lambda: 0.0).take(KEY)
    fs.delete(f"claims/{KEY}.000001.json")
    write_claim(fs, 2, host="elsewhere")
    time.sleep(0.1)
    assert fs.names("claims") == [f"{KEY}.000002.json"]
    slow.release()
    assert fs.names("claims") == [f"{KEY}.000002.json"]


def test_sweep_takes_the_dead_away_and_leaves_the_living(fs):
    write_claim(fs, host="elsewhere", beat=0.0)
    with Claims(fs).take(OTHER):
        Claims(fs).sweep()
        assert fs.names("claims") == [f"{OTHER}.000001.json"]


def test_a_record_survives_the_way_to_the_disk(fs):
    with Claims(fs).take(KEY):
        body = records.from_bytes(fs.read(f"claims/{KEY}.000001.json"))
        assert body["process"] == to_plain(Process.current())
        assert set(body) == set(to_plain(ClaimRecord(Process.current(), "n", 0.0)))
