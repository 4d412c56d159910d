"""Five of the hundred stages of tests/slow/test_rerun_many.py; no cluster is used."""

from __future__ import annotations

from moved_reruns import filled, rerun_elsewhere, wrong

from had_core.data.rooms import RoomsConfig, build


def test_five_stages_are_reproduced_from_moved_code_data_and_store(tmp_path):
    build(tmp_path / "rooms", RoomsConfig(seed=0, train=40, test=8, height=24, width=32))
    filled(tmp_path / "store", tmp_path / "rooms", [1], "order=[semantic,depth,normal]")
    found = rerun_elsewhere(tmp_path / "store", tmp_path / "rooms", tmp_path / "elsewhere", 5)
    assert len(found) == 5 and wrong(found) == {}
