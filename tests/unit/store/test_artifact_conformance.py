"""The artefact protocol, over every kind and over a second file system."""

from __future__ import annotations

import itertools

import pytest

from orchestrator.store import ArtifactKind, Store
from orchestrator.store.arrow_fs import ArrowFs

FILES = {"model.safetensors": b"\x01\x02\x03" * 500, "history.json": b"[]"}
MANIFEST = {"spec": {"tasks": ["depth"], "lr": 1e-4}, "numerics": None}


def _in_memory(tmp_path):
    from datetime import datetime

    from pyarrow.fs import _MockFileSystem

    return Store(ArrowFs(_MockFileSystem(datetime(2026, 1, 1)), "root"))


OPEN = {"local": lambda path: Store.open(path / "s"), "memory": _in_memory}


@pytest.fixture(params=sorted(OPEN))
def store(request, tmp_path):
    return OPEN[request.param](tmp_path)


@pytest.fixture(params=list(ArtifactKind), ids=lambda kind: kind.value)
def kind(request):
    return request.param


def folder_of(kind, key):
    return f"{kind.value}/{key[:2]}/{key}"


def data_folder(store, kind, key):
    (name,) = (n for n in store.fs.names(folder_of(kind, key)) if n.startswith("data-"))
    return f"{folder_of(kind, key)}/{name}"


def test_absent(store, kind, key_of):
    key = key_of("a")
    assert not store.is_sealed(kind, key)
    assert store.load(kind, key) is None
    assert store.manifest(kind, key) is None
    assert store.keys(kind) == []


def test_sealed_comes_back_whole(store, kind, key_of):
    key = key_of("a")
    sealed = store.seal(kind, key, FILES, MANIFEST)
    loaded = store.load(kind, key)
    for artefact in (sealed, loaded):
        assert {name: artefact.read(name) for name in FILES} == FILES
        assert artefact.manifest == MANIFEST
        assert (artefact.kind, artefact.key) == (kind, key)
    assert store.is_sealed(kind, key)
    assert {name: store.read(kind, key, name) for name in FILES} == FILES
    assert store.manifest(kind, key) == MANIFEST
    assert store.keys(kind) == [key]
    assert store.read(kind, key, "other") is None is store.read(kind, key_of("b"), "history.json")


def test_one_file_is_read_without_the_others_and_verified(store, kind, key_of):
    key = key_of("a")
    store.seal(kind, key, FILES, MANIFEST)
    store.fs.write(f"{data_folder(store, kind, key)}/history.json", b"{}")  # as long as it was
    assert store.read(kind, key, "model.safetensors") == FILES["model.safetensors"]
    assert store.read(kind, key, "history.json") is None
    assert [damage.key for damage in store.damaged] == [key]
    assert not store.is_sealed(kind, key)


def test_kinds_do_not_mix(store, kind, key_of):
    key = key_of("a")
    store.seal(kind, key, FILES, MANIFEST)
    for other in set(ArtifactKind) - {kind}:
        assert not store.is_sealed(other, key)
        assert store.keys(other) == []


def test_no_files_and_empty_file(store, kind, key_of):
    store.seal(kind, key_of("none"), {}, {})
    store.seal(kind, key_of("empty"), {"x": b""}, {})
    assert store.load(kind, key_of("none")).files == ()
    assert store.load(kind, key_of("empty")).read("x") == b""


def test_first_seal_wins(store, kind, key_of):
    key = key_of("a")
    store.seal(kind, key, {"x": b"winner"}, {"by": 1})
    second = store.seal(kind, key, {"x": b"loser"}, {"by": 2})
    assert second.read("x") == b"winner"
    assert second.manifest == {"by": 1}
    assert store.load(kind, key).read("x") == b"winner"
    assert len(store.fs.names(folder_of(kind, key))) == 2


def test_loser_between_data_and_seal_gets_the_winner(store, kind, key_of, monkeypatch):
    """The other writer seals after this one has written its data."""
    key, fs = key_of("a"), store.fs
    create = fs.create_if_absent

    def late(path, data):
        monkeypatch.setattr(fs, "create_if_absent", create)
        Store(fs).seal(kind, key, {"x": b"winner"}, {})
        return create(path, data)

    monkeypatch.setattr(fs, "create_if_absent", late)
    sealed = store.seal(kind, key, {"x": b"loser"}, {})
    assert sealed.read("x") == b"winner"
    assert len(fs.names(folder_of(kind, key))) == 2  # the loser's folder is gone


@pytest.mark.parametrize("what", ["flip", "truncate", "extend", "delete"])
def test_damaged_data_is_set_aside_and_made_again(store, kind, key_of, what, caplog):
    key = key_of("a")
    store.seal(kind, key, FILES, MANIFEST)
    path = f"{data_folder(store, kind, key)}/model.safetensors"
    data = store.fs.read(path)
    damaged = {
        "flip": data[:700] + bytes([data[700] ^ 1]) + data[701:],
        "truncate": data[:-1],
        "extend": data + b"\x00",
    }
    if what == "delete":
        store.fs.delete(path)
    else:
        store.fs.write(path, damaged[what])

    assert store.load(kind, key) is None
    assert not store.is_sealed(kind, key)
    assert store.load(kind, key) is None
    (damage,) = store.damaged
    assert (damage.kind, damage.key) == (kind, key)
    assert "model.safetensors" in damage.reason
    assert key in caplog.text
    assert "model.safetensors" in caplog.text
    kept = store.fs.names(damage.kept_at)
    assert "SEAL.json" in kept  # kept, not deleted
    (folder,) = (name for name in kept if name.startswith("data-"))
    if what != "delete":
        assert store.fs.read(f"{damage.kept_at}/{folder}/model.safetensors") == damaged[what]
    assert store.fs.read(f"{damage.kept_at}/{folder}/history.json") == FILES["history.json"]

    again = store.seal(kind, key, FILES, MANIFEST)
    assert again.read("model.safetensors") == FILES["model.safetensors"]
    assert store.load(kind, key).manifest == MANIFEST


@pytest.mark.parametrize("position", [0.02, 0.3, 0.6, 0.95])
def test_a_flipped_bit_anywhere_in_the_seal_is_damage(store, kind, key_of, position):
    key = key_of("a")
    store.seal(kind, key, FILES, MANIFEST)
    path = f"{folder_of(kind, key)}/SEAL.json"
    data = bytearray(store.fs.read(path))
    data[int(len(data) * position)] ^= 4
    store.fs.write(path, bytes(data))
    assert not store.is_sealed(kind, key)
    assert len(store.damaged) == 1
    assert any(name.startswith("data-") for name in store.fs.names(store.damaged[0].kept_at))
    assert store.seal(kind, key, FILES, MANIFEST).manifest == MANIFEST
    assert store.load(kind, key) is not None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b'{"body":{}}'])
def test_a_seal_that_is_no_record_is_damage(store, kind, key_of, text):
    key = key_of("a")
    store.fs.write(f"{folder_of(kind, key)}/SEAL.json", text)
    assert store.load(kind, key) is None
    assert len(store.damaged) == 1
    assert store.seal(kind, key, FILES, MANIFEST).key == key


def test_a_seal_without_its_data_folder_is_damage(store, kind, key_of):
    key = key_of("a")
    store.seal(kind, key, FILES, MANIFEST)
    store.fs.delete(data_folder(store, kind, key))
    assert not store.is_sealed(kind, key)
    assert "missing" in store.damaged[0].reason
    assert store.keys(kind) == []


def test_a_seal_copied_from_another_key_is_damage(store, kind, key_of):
    """Whoever renames folders by hand does not get another net."""
    one, two = key_of("a"), key_of("b")
    store.seal(kind, one, FILES, MANIFEST)
    seal = store.fs.read(f"{folder_of(kind, one)}/SEAL.json")
    store.fs.write(f"{folder_of(kind, two)}/SEAL.json", seal)
    assert store.load(kind, two) is None
    assert "belongs to" in store.damaged[0].reason
    assert store.load(kind, one) is not None


def test_a_seal_that_names_files_elsewhere_is_damage(store, kind, key_of):
    from had_core.canonical import to_plain
    from orchestrator.store import Seal, SealedFile, records

    store.fs.write("secret", b"secret")
    bad = [
        ("../../../..", "secret"),
        ("data-0123456789abcdef", "../../../../secret"),
        ("data-0123456789abcdef/../../..", "x"),
    ]
    for folder, name in bad:
        key = key_of(folder)
        seal = Seal(kind, key, folder, (SealedFile.of(name, b"secret"),), {})
        raw = records.to_bytes(to_plain(seal))
        store.fs.write(f"{folder_of(kind, key)}/SEAL.json", raw)
        assert store.load(kind, key) is None
    assert [d.reason for d in store.damaged] == ["SEAL.json names a file outside its folder"] * 3


def test_damage_found_late_spares_the_new_artefact(store, kind, key_of, monkeypatch):
    """Another process has set the damaged artefact aside and sealed it anew in between."""
    key, fs = key_of("a"), store.fs
    store.seal(kind, key, {"x": b"bad bytes"}, {})
    fs.write(f"{data_folder(store, kind, key)}/x", b"bad bites")
    other, read = Store(fs), fs.read

    def interrupted(path):
        data = read(path)
        if path.endswith("/x"):
            monkeypatch.setattr(fs, "read", read)
            assert other.load(kind, key) is None
            other.seal(kind, key, {"x": b"new bytes"}, {})
        return data

    monkeypatch.setattr(fs, "read", interrupted)
    assert store.load(kind, key).read("x") == b"new bytes"
    assert store.damaged == ()
    assert len(other.damaged) == 1


def test_a_generation_judged_late_is_the_old_one(store, kind, key_of, monkeypatch):
    """The last moment: everything happens elsewhere while this process sets the damage aside."""
    key, fs = key_of("a"), store.fs
    store.seal(kind, key, {"x": b"bad bytes"}, {})
    fs.write(f"{data_folder(store, kind, key)}/x", b"bad bites")
    other, move = Store(fs), fs.move

    def interrupted(source, target):
        monkeypatch.setattr(fs, "move", move)
        assert other.load(kind, key) is None
        other.seal(kind, key, {"x": b"new bytes"}, {})
        return move(source, target)

    monkeypatch.setattr(fs, "move", interrupted)
    assert store.load(kind, key).read("x") == b"new bytes"
    assert len(fs.names("damaged")) == 1
    assert len(store.damaged) + len(other.damaged) == 1


def test_damaged_again_and_again(store, kind, key_of):
    key, fs = key_of("a"), store.fs
    for round_ in range(3):
        store.seal(kind, key, {"x": b"round %d" % round_}, {"round": round_})
        assert store.load(kind, key).manifest == {"round": round_}
        assert store.keys(kind) == [key]
        fs.write(f"{data_folder(store, kind, key)}/x", b"rotten!")
        assert store.load(kind, key) is None
        assert store.keys(kind) == []
    assert len(store.damaged) == len(fs.names("damaged")) == 3
    assert store.seal(kind, key, {"x": b"good"}, {}).read("x") == b"good"


def test_data_of_an_unreadable_seal_is_kept_all_the_same(store, kind, key_of):
    """The damage hit the very name of the data folder."""
    key, fs = key_of("a"), store.fs
    store.seal(kind, key, {"x": b"bytes"}, {})
    folder = data_folder(store, kind, key).rpartition("/")[2]
    path = f"{folder_of(kind, key)}/SEAL.json"
    fs.write(path, fs.read(path).replace(folder.encode(), b"data-!"))
    store.seal(kind, key, {"x": b"new"}, {})
    assert store.load(kind, key).read("x") == b"new"
    (aside,) = fs.names("damaged")
    assert fs.read(f"damaged/{aside}/{folder}/x") == b"bytes"


def test_sealing_sweeps_what_an_interrupted_writer_left(store, kind, key_of):
    key = key_of("a")
    folder = folder_of(kind, key)
    store.fs.write(f"{folder}/data-0123456789abcdef/x", b"half")
    store.fs.write(f"{folder}/.tmp-0123456789abcdef", b"half")
    assert store.load(kind, key) is None
    assert not store.is_sealed(kind, key)
    store.seal(kind, key, FILES, MANIFEST)
    assert len(store.fs.names(folder)) == 2
    assert store.load(kind, key).read("history.json") == b"[]"


def test_unsafe_file_names_are_refused_before_anything_is_written(store, kind, key_of):
    for name in ("../x", "a/b", "", "..", "a b"):
        with pytest.raises(ValueError, match="file name"):
            store.seal(kind, key_of("a"), {"ok": b"", name: b""}, {})
        assert store.fs.names(kind.value) == [], name


BAD_KEYS = ("", "ab", "g" * 64, "A" * 64, "a" * 63, "a" * 65, "../" + "a" * 61)


def test_bad_keys_are_refused(store, kind):
    calls = (
        lambda key: store.load(kind, key),
        lambda key: store.is_sealed(kind, key),
        lambda key: store.seal(kind, key, {}, {}),
        lambda key: store.partial(key),
    )
    for key, call in itertools.product(BAD_KEYS, calls):
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            call(key)


def test_a_manifest_that_json_cannot_hold_leaves_nothing(store, kind, key_of):
    with pytest.raises(ValueError, match="canonical"):
        store.seal(kind, key_of("a"), FILES, {"loss": float("nan")})
    assert store.fs.names(kind.value) == []


def test_reading_an_unknown_file_names_the_known_ones(store, kind, key_of):
    sealed = store.seal(kind, key_of("a"), FILES, {})
    with pytest.raises(KeyError, match=r"model\.safetensors"):
        sealed.read("weights.bin")
