"""A registered stage stays pinned, whatever happens to the pin's content."""

from __future__ import annotations

from pathlib import Path

import pytest

from had_core.errors import BadInput
from orchestrator.store import Store


def test_added_once_and_listed(store, key_of):
    one, two = key_of("one"), key_of("two")
    first = store.registered.add("rooms", one, "sqlite:///here")
    store.registered.add("a-b.c", two, "sqlite:///here")
    store.registered.add("rooms", two, "sqlite:///here")
    again = Store.open(store.uri).registered.add("rooms", one, "sqlite:///elsewhere")
    assert again == first
    pins = Store.open(store.uri).registered.list()
    assert [(pin.name, pin.key) for pin in pins] == [
        ("a-b.c", two),
        *(("rooms", key) for key in sorted([one, two])),
    ]


def test_nothing_is_registered_in_a_new_store(store):
    assert store.registered.list() == ()


def test_a_name_that_ends_like_a_key_is_told_apart(store, key_of):
    one, two = key_of("one"), key_of("two")
    store.registered.add(one, two, "x")
    (pin,) = store.registered.list()
    assert (pin.name, pin.key) == (one, two)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_damaged_pin_still_counts(store, key_of, content):
    store.registered.add("rooms", key_of("one"), "x")
    (path,) = Path(store.uri, "registered").iterdir()
    path.write_bytes(content)
    (pin,) = store.registered.list()
    assert (pin.name, pin.key, pin.tracking_uri) == ("rooms", key_of("one"), "")


def test_a_pin_with_the_content_of_another_counts_by_its_name(store, key_of):
    for text in ("one", "two"):
        store.registered.add("rooms", key_of(text), "x")
    left, right = Path(store.uri, "registered").iterdir()
    left.write_bytes(right.read_bytes())
    assert {pin.key for pin in store.registered.list()} == {key_of("one"), key_of("two")}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "a b", "a:b", "x" * 129])
def test_bad_names_are_refused(store, key_of, name):
    with pytest.raises(BadInput, match="is not allowed"):
        store.registered.add(name, key_of("one"), "x")


def test_what_is_no_key_is_refused(store):
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        store.registered.add("rooms", "abc", "x")
    assert store.registered.list() == ()
