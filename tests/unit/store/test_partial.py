"""Progress inside a fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.store import Store


@pytest.fixture
def partial(store, key_of):
    return store.partial(key_of("fit"))


@pytest.fixture
def folder(store, key_of):
    key = key_of("fit")
    return Path(store.uri) / "partial" / key[:2] / key


def test_nothing_yet(partial):
    assert partial.read() is None
    partial.clear()
    assert partial.read() is None


def test_newest_is_read(partial):
    for epoch in range(1, 13):  # past one digit, so that text order is not number order
        partial.write(b"state %d" % epoch, {"epoch": epoch})
        assert partial.read() == (b"state %d" % epoch, {"epoch": epoch})


def test_two_states_are_kept(partial, folder, files_below):
    for epoch in range(5):
        partial.write(b"x" * 100, {"epoch": epoch})
    assert len(files_below(folder)) == 4


def test_clear_leaves_nothing(partial, folder):
    partial.write(b"x", {})
    partial.clear()
    assert partial.read() is None
    assert not folder.exists()


def test_starts_again_after_clear(partial):
    partial.write(b"old", {"epoch": 9})
    partial.clear()
    partial.write(b"new", {"epoch": 1})
    assert partial.read() == (b"new", {"epoch": 1})


@pytest.mark.parametrize("part", ["data", "pointer"])
@pytest.mark.parametrize("how", ["flip", "delete", "empty"])
def test_damaged_newest_falls_back_to_the_one_before(partial, folder, part, how, flip_byte, caplog):
    partial.write(b"state 1" * 100, {"epoch": 1})
    before = set(folder.iterdir())
    partial.write(b"state 2" * 100, {"epoch": 2})
    suffix = ".bin" if part == "data" else ".json"
    (path,) = (p for p in set(folder.iterdir()) - before if p.suffix == suffix)
    {"flip": flip_byte, "delete": Path.unlink, "empty": lambda p: p.write_bytes(b"")}[how](path)
    assert partial.read() == (b"state 1" * 100, {"epoch": 1})
    if (part, how) != ("pointer", "delete"):  # a deleted pointer leaves no trace
        assert "falling back" in caplog.text


def test_both_damaged_is_none_and_writing_goes_on(partial, folder, flip_byte):
    partial.write(b"state 1" * 100, {"epoch": 1})
    partial.write(b"state 2" * 100, {"epoch": 2})
    for path in folder.glob("*.bin"):
        flip_byte(path)
    assert partial.read() is None
    partial.write(b"state 3", {"epoch": 3})
    assert partial.read() == (b"state 3", {"epoch": 3})


def test_one_good_state_survives_beside_a_damaged_pointer(partial, folder, flip_byte):
    """Sweeping must not take the newest good state for the damaged one's sake."""
    partial.write(b"state 1", {"epoch": 1})
    partial.write(b"state 2", {"epoch": 2})
    flip_byte(folder / "000002.json")
    partial.write(b"state 3", {"epoch": 3})
    assert partial.read() == (b"state 3", {"epoch": 3})


def test_leftovers_of_killed_writers_are_swept(partial, folder, files_below):
    partial.write(b"state 1", {})
    (folder / ".tmp-0123456789abcdef").write_bytes(b"half")
    (folder / "progress-0123456789abcdef.bin").write_bytes(b"no pointer names it")
    assert partial.read() == (b"state 1", {})
    partial.write(b"state 2", {})
    assert len(files_below(folder)) == 4


def test_two_writers_of_one_fit(store, key_of):
    one, two = store.partial(key_of("fit")), Store.open(store.uri).partial(key_of("fit"))
    one.write(b"one", {"by": 1})
    two.write(b"two", {"by": 2})
    assert one.read() == two.read() == (b"two", {"by": 2})


def test_the_number_taken_in_between_is_skipped(store, partial, monkeypatch, key_of):
    fs = store.fs
    create = fs.create_if_absent

    def late(path, data, **how):
        monkeypatch.setattr(fs, "create_if_absent", create)
        Store(fs).partial(key_of("fit")).write(b"other", {"by": "other"})
        return create(path, data, **how)

    monkeypatch.setattr(fs, "create_if_absent", late)
    partial.write(b"mine", {"by": "me"})
    data, meta = partial.read()
    assert (data, meta) in [(b"mine", {"by": "me"}), (b"other", {"by": "other"})]


def test_pointer_to_another_folder_is_not_followed(store, partial, folder, key_of):
    from had_core.canonical import to_plain
    from orchestrator.store import SealedFile, records

    partial.write(b"state 1", {})
    store.fs.write("secret", b"secret")
    file = SealedFile.of("../../../secret", b"secret")
    raw = records.to_bytes({"file": to_plain(file), "meta": {}})
    (folder / "000002.json").write_bytes(raw)
    assert partial.read() == (b"state 1", {})


def test_fits_do_not_mix(store, key_of):
    store.partial(key_of("a")).write(b"a", {})
    assert store.partial(key_of("b")).read() is None


def test_meta_that_json_cannot_hold_is_refused(partial, folder):
    with pytest.raises(ValueError, match="canonical"):
        partial.write(b"x", {"loss": float("inf")})
    assert not folder.exists()
