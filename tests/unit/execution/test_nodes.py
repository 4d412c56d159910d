"""What every node must see alike, and the sentence when it does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from had_core.data import DatasetManifest
from had_core.errors import BadInput
from orchestrator.execution import nodes
from orchestrator.execution.nodes import (
    DRIVER,
    Finding,
    Meeting,
    Node,
    Places,
    look,
    meet,
    prove_shared,
    refuse,
    versions,
)

ONE, TWO = Node("1" * 8, "gpu-1", "10.0.0.1"), Node("2" * 8, "10.0.0.2", "10.0.0.2")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(nodes, "_SLOW_DISK_S", 0.0)


@pytest.fixture
def places(tmp_path, micro_dataset) -> Places:
    path = Path(micro_dataset.path)
    fingerprint = DatasetManifest.read(path).fingerprint
    (tmp_path / "store").mkdir()
    return Places(str(tmp_path / "store"), str(path), fingerprint, versions())


@pytest.fixture
def meeting(places) -> Meeting:
    made = Meeting(places.store, "5eed")
    made.arrive(DRIVER)
    return made


def test_nodes_that_share_everything_find_each_other(places, meeting):
    everyone = [ONE.id, TWO.id]
    assert [look(places, meeting.name, node) for node in (ONE, TWO)] == ["", ""]
    assert [meet(places, meeting.name, everyone, node) for node in (ONE, TWO)] == ["", ""]
    assert meeting.missing(everyone) == set()
    meeting.clear()
    assert not list(Path(places.store).rglob("preflight-*"))


def test_a_node_with_a_folder_of_its_own_writes_nothing_there(places, meeting, tmp_path):
    """The same path on another machine: another, empty folder."""
    elsewhere = tmp_path / "elsewhere"
    said = look(replace(places, store=str(elsewhere)), meeting.name, TWO)
    assert said.startswith(f"does not see the store {elsewhere}")
    assert not elsewhere.exists()


def test_a_node_that_nobody_else_sees(places, meeting):
    look(places, meeting.name, ONE)
    assert "does not see the store" in meet(places, meeting.name, [ONE.id, TWO.id], ONE)
    assert meeting.missing([ONE.id, TWO.id]) == {TWO.id}


def test_an_old_meeting_does_not_count(places, meeting):
    path = next(Path(places.store).rglob(DRIVER))
    path.write_text("another")
    assert "does not see the store" in look(places, meeting.name, ONE)


def test_a_node_that_may_not_write(places, meeting, monkeypatch):
    def refuse_write(self, path, data):
        raise BadInput("Read-only file system")

    monkeypatch.setattr("orchestrator.store.local_fs.LocalFs.write", refuse_write)
    said = look(places, meeting.name, ONE)
    assert said == f"cannot write the store {places.store}: Read-only file system"


@pytest.mark.parametrize("damage", ["gone", "another", "shard"])
def test_a_node_that_sees_other_data(places, meeting, tmp_path, damage):
    folder = tmp_path / "data"
    if damage != "gone":
        shutil.copytree(places.dataset, folder)
    if damage == "shard":
        next(folder.glob("*.arrow")).unlink()
    seen = replace(places, dataset=str(folder))
    if damage == "another":
        seen = replace(seen, fingerprint="0" * 64)
    said = look(seen, meeting.name, ONE)
    assert str(folder) in said
    assert said.startswith(
        {
            "gone": "does not see the data set",
            "another": "sees other data",
            "shard": "does not see the shard",
        }[damage]
    )
    assert meeting.missing([ONE.id]) == {ONE.id}


def test_a_node_with_another_torch(places, meeting):
    said = look(replace(places, versions={"torch": "1.0"}), meeting.name, ONE)
    assert said.startswith(f"has torch {versions()['torch']} installed, the driver 1.0")


def test_the_refusal_names_the_first_node_and_counts_the_others():
    refuse([Finding(ONE), Finding(TWO)])
    with pytest.raises(BadInput, match=r"^node 10\.0\.0\.2 is slow$"):
        refuse([Finding(ONE), Finding(TWO, "is slow")])
    with pytest.raises(BadInput, match=r"^node gpu-1 \(10\.0\.0\.1\) is slow \(and 1 more of 2"):
        refuse([Finding(ONE, "is slow"), Finding(TWO, "is slow")])


def test_all_rounds_and_nothing_left(places, monkeypatch):
    monkeypatch.setattr(nodes, "alive_nodes", lambda: [ONE, TWO])
    monkeypatch.setattr(
        nodes, "_on_every_node", lambda those, task: [Finding(n, task(n)) for n in those]
    )
    prove_shared(places.store, Path(places.dataset))
    assert not list(Path(places.store).rglob("preflight-*"))


def test_a_refusal_leaves_nothing_either(places, monkeypatch):
    monkeypatch.setattr(nodes, "alive_nodes", lambda: [ONE, TWO])
    monkeypatch.setattr(
        nodes,
        "_on_every_node",
        lambda those, task: [Finding(ONE, task(ONE)), Finding(TWO, "did not answer")],
    )
    with pytest.raises(BadInput, match=r"node 10\.0\.0\.2 did not answer"):
        prove_shared(places.store, Path(places.dataset))
    assert not list(Path(places.store).rglob("preflight-*"))
