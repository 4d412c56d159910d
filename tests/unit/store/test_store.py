"""Opening a store, finding artefacts in it, and stores that cannot be used."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from had_core.errors import BadInput
from orchestrator.store import ArtifactKind, Store

FIT, EVAL = ArtifactKind.FIT, ArtifactKind.EVAL


def test_open_makes_the_folder_and_opens_again(tmp_path, key_of):
    store = Store.open(tmp_path / "deep" / "store")
    store.seal(FIT, key_of("a"), {"x": b"1"}, {})
    again = Store.open(store.uri)
    assert again.load(FIT, key_of("a")).read("x") == b"1"


def test_uri_is_absolute_and_survives_a_change_of_folder(tmp_path, monkeypatch, key_of):
    monkeypatch.chdir(tmp_path)
    store = Store.open("relative")
    monkeypatch.chdir("/")
    store.seal(FIT, key_of("a"), {}, {})
    assert store.uri == str(tmp_path / "relative")
    assert (tmp_path / "relative" / "fit").is_dir()


def test_file_address(tmp_path):
    address = f"file://{tmp_path}/with%20space"
    assert not Store.exists(address) and not list(tmp_path.iterdir())
    assert Store.open(address).uri == f"{tmp_path}/with space"
    assert Store.exists(address)


def test_object_stores_are_refused_in_words():
    with pytest.raises(BadInput, match=r"store=s3://bucket/x is not allowed: a local folder"):
        Store.open("s3://bucket/x")


def test_newer_layout_is_refused(tmp_path):
    (tmp_path / "store.json").write_text('{"layout": 2}')
    with pytest.raises(BadInput, match=r"store\.json says layout 2: .* up to 1"):
        Store.open(tmp_path)
    assert os.listdir(tmp_path) == ["store.json"]


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"mayout": 1}'])
def test_a_damaged_layout_file_is_told_what_it_should_hold(tmp_path, text):
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(BadInput, match=r"layout file: it should hold \{\"layout\": 1\}$"):
        Store.open(tmp_path)


@pytest.mark.parametrize("text", ['{"layout": "1"}', '{"layout": true}'])
def test_unreadable_layout_is_refused(tmp_path, text):
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(BadInput, match=r"store\.json"):
        Store.open(tmp_path)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInput, match=f"store={path}"):
            Store.open(path)


@pytest.mark.parametrize("folder", ["/proc/had-store", "x" * 300], ids=["proc", "long"])
def test_a_folder_that_cannot_be_made(tmp_path, folder):
    with pytest.raises(BadInput, match=r"store=.* cannot be (written|read)"):
        Store.open(tmp_path / folder)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_unwritable_store_is_named(tmp_path, monkeypatch, number, key_of):
    store = Store.open(tmp_path / "s")

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setattr("os.open", refuse)
    for call in (
        lambda: store.seal(FIT, key_of("a"), {"x": b"1"}, {}),
        lambda: store.partial(key_of("a")).write(b"1", {}),
        lambda: store.runs.create("a", {}),
        lambda: Store.open(tmp_path / "other"),
    ):
        with pytest.raises(BadInput, match=rf"store={tmp_path}.*{os.strerror(number)}"):
            call()


def test_other_faults_keep_their_own_error(store, monkeypatch, key_of):
    def broken(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.open", broken)
    with pytest.raises(OSError, match="Input/output error"):
        store.seal(FIT, key_of("a"), {"x": b"1"}, {})


def test_a_full_disk_leaves_no_temporary_file(tmp_path, monkeypatch, key_of, files_below):
    store = Store.open(tmp_path / "s")
    before = files_below(store.uri)

    def full(handle, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(BadInput, match="No space left"):
        store.seal(FIT, key_of("a"), {"x": b"1"}, {})
    assert files_below(store.uri) == before


def put(store: Store, kind: ArtifactKind, key: str) -> str:
    store.seal(kind, key, {"x": b"1"}, {})
    return key


def test_find_by_prefix(store):
    one = put(store, FIT, "abc1" + "0" * 60)
    two = put(store, FIT, "abc2" + "0" * 60)
    score = put(store, EVAL, "abc1" + "f" * 60)
    put(store, FIT, "ff" * 32)
    assert store.find("abc1") == [(FIT, one), (EVAL, score)]
    assert store.find("abc") == [(FIT, one), (FIT, two), (EVAL, score)]
    assert store.find("a") == store.find("ab") == store.find("abc")
    assert store.find(one) == [(FIT, one)]
    assert store.find("0") == []


def test_resolve(store):
    one = put(store, FIT, "abc1" + "0" * 60)
    put(store, FIT, "abc2" + "0" * 60)
    put(store, EVAL, "abc1" + "f" * 60)
    assert store.resolve("abc1", FIT) == (FIT, one)
    with pytest.raises(BadInput, match=r"begins 2 artefacts: one of fit abc1.*, eval abc1"):
        store.resolve("abc1")
    with pytest.raises(BadInput, match=r"begins 2 artefacts: one of fit abc1.*, fit abc2"):
        store.resolve("abc", FIT)
    with pytest.raises(BadInput, match="key 'dead' begins no fit in store"):
        store.resolve("dead", FIT)


def test_resolve_lists_at_most_ten(store):
    for k in range(12):
        put(store, FIT, f"ab{k:02x}" + "0" * 60)
    with pytest.raises(BadInput, match=r"begins 12 artefacts: .* and 2 more"):
        store.resolve("ab")


@pytest.mark.parametrize("prefix", ["", "xyz", "AB", "a" * 65, "../", "a*"])
def test_bad_prefix(store, prefix):
    with pytest.raises(BadInput, match="hexadecimal"):
        store.find(prefix)


def test_only_sealed_artefacts_are_found(store):
    key = "ab" * 32
    folder = Path(store.uri) / "fit" / "ab" / key / "data-0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "x").write_bytes(b"1")
    (Path(store.uri) / "fit" / "ab" / "notes").mkdir()
    assert store.find("ab") == []
    assert store.keys(FIT) == []


def test_nothing_is_written_by_asking(store, key_of, files_below):
    before = files_below(store.uri)
    store.is_sealed(FIT, key_of("a"))
    store.load(EVAL, key_of("a"))
    store.partial(key_of("a")).read()
    store.find("ab")
    store.runs.list()
    assert files_below(store.uri) == before
