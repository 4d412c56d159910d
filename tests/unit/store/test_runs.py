"""A run's name stands for one configuration."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from had_core.errors import BadInput
from orchestrator.store import Store

CONFIG = {"method": {"name": "had", "lambda": 3.0}, "order": ["depth", "normal"], "seed": 0}


def test_created_once_and_read_back(store):
    record = store.runs.create("first-1.0_x", CONFIG)
    assert store.runs.read("first-1.0_x") == record
    assert record.config == CONFIG
    created = datetime.fromisoformat(record.created_at)
    assert created.utcoffset() == timedelta(0)


def test_same_configuration_returns_the_first_record(store):
    first = store.runs.create("a", CONFIG)
    again = Store.open(store.uri).runs.create("a", {**CONFIG, "seed": 0})
    assert again == first


def test_whole_floats_are_their_integers(store):
    store.runs.create("a", {"lambda": 3})
    assert store.runs.create("a", {"lambda": 3.0}).config == {"lambda": 3}


def test_another_configuration_is_refused_and_named(store):
    store.runs.create("a", CONFIG)
    other = {**CONFIG, "method": {"name": "had", "lambda": 1.0}}
    with pytest.raises(BadInput, match=r"name=a .*method\.lambda is 3 there and 1 here"):
        store.runs.create("a", other)
    assert store.runs.read("a").config == CONFIG


def test_many_changes_are_counted(store):
    store.runs.create("a", {f"key{k}": 0 for k in range(9)})
    with pytest.raises(BadInput, match="and 6 more"):
        store.runs.create("a", {f"key{k}": 1 for k in range(9)})


def test_unknown_run(store):
    assert store.runs.read("nobody") is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", ".hidden", "a b", "ä", "x" * 129])
def test_bad_names_are_refused(store, name):
    for call in (lambda: store.runs.create(name, {}), lambda: store.runs.read(name)):
        with pytest.raises(BadInput, match="is not allowed"):
            call()


def test_list_is_oldest_first(store):
    names = ["zeta", "alpha", "mid"]
    for name in names:
        store.runs.create(name, {"n": name})
    records = store.runs.list()
    assert {r.name for r in records} == set(names)
    assert [(r.created_at, r.name) for r in records] == sorted(
        (r.created_at, r.name) for r in records
    )


def test_damaged_record_is_set_aside_and_made_again(store, flip_byte, caplog):
    store.runs.create("a", CONFIG)
    flip_byte(Path(store.uri) / "runs" / "a.json")
    assert store.runs.read("a") is None
    assert "damaged run record a" in caplog.text
    assert len(store.fs.names("damaged")) == 1
    assert store.runs.create("a", {"seed": 5}).config == {"seed": 5}
    assert [r.name for r in store.runs.list()] == ["a"]


def test_a_record_that_another_writer_formatted_is_read(store):
    """Whole floats as such: its canonical form is the same."""
    store.runs.create("a", {"lambda": 3})
    path = f"{store.uri}/runs/a.json"
    raw = Path(path).read_text().replace('"lambda": 3', '"lambda": 3.0')
    Path(path).write_text(raw)
    assert store.runs.read("a").config == {"lambda": 3}
