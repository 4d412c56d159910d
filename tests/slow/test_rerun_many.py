"""100 sealed stages come out bit for bit, from moved code, data and store, in a fresh process."""

from __future__ import annotations

from moved_reruns import filled, rerun_elsewhere, wrong

from had_core.data.rooms import RoomsConfig, build
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import Store


def test_a_hundred_stages_are_reproduced(tmp_path):
    build(tmp_path / "rooms", RoomsConfig(seed=0, train=60, test=8, height=24, width=32))
    filled(tmp_path / "store", tmp_path / "rooms", [1, 2, 3, 4, 5, 6, 7, 8], "orders=all")
    positions = {}
    for key in (store := Store.open(tmp_path / "store")).keys(ArtifactKind.FIT):
        tasks = tuple(store.manifest(ArtifactKind.FIT, key)["spec"]["config"]["tasks"])
        positions[len(tasks)] = positions.get(len(tasks), 0) + 1
    assert positions == {1: 3, 2: 6 * 9, 3: 6 * 9}
    found = rerun_elsewhere(tmp_path / "store", tmp_path / "rooms", tmp_path / "elsewhere", 100)
    print(f"{len(found)} stages, {sum(told['steps'] for told in found.values())} steps")
    assert len(found) == 100 and wrong(found) == {}
