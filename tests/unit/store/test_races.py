"""Several processes at once on the same keys."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from killing_fs import join_child, start_child

from orchestrator.store import ArtifactKind, LocalFs, Store

PROCESSES, KEYS = 4, 15


def together(tmp_path: Path, work) -> None:
    """Run ``work(number)`` in processes that start at the same moment; all must succeed."""
    read_end, write_end = os.pipe()

    def start(number: int) -> None:
        os.close(write_end)
        os.read(read_end, 1)  # returns when the parent closes its end
        work(number)

    children = [start_child(lambda n=n: start(n)) for n in range(PROCESSES)]
    os.close(read_end)
    os.close(write_end)
    assert [join_child(child) for child in children] == [0] * PROCESSES


def keys() -> list[str]:
    return [hashlib.sha256(b"%d" % k).hexdigest() for k in range(KEYS)]


def test_one_process_wins_every_key_and_all_agree(tmp_path):
    root = tmp_path / "store"

    def work(number: int) -> None:
        store = Store.open(root)  # also races for the layout file
        seen = []
        for key in keys():
            files = {"by": b"%d" % number, "bulk": bytes([number]) * 20_000}
            sealed = store.seal(ArtifactKind.FIT, key, files, {"by": number})
            assert sealed.read("bulk") == bytes([sealed.manifest["by"]]) * 20_000
            seen.append(sealed.manifest["by"])
        assert store.damaged == ()
        (tmp_path / f"seen-{number}").write_text(json.dumps(seen))

    together(tmp_path, work)
    seen = [json.loads((tmp_path / f"seen-{n}").read_text()) for n in range(PROCESSES)]
    assert all(each == seen[0] for each in seen)
    store = Store.open(root)
    for key, winner in zip(keys(), seen[0], strict=True):
        assert store.load(ArtifactKind.FIT, key).manifest == {"by": winner}
        names = os.listdir(root / "fit" / key[:2] / key)
        assert len(names) == 2, names  # the seal and the winner's folder
    assert store.fs.names("damaged") == []


def test_many_processes_find_the_same_damage(tmp_path):
    """Each key ends sealed and whole, and the damage is kept once a key."""
    root = tmp_path / "store"
    store = Store.open(root)
    for key in keys():
        store.seal(ArtifactKind.FIT, key, {"x": b"good " * 100}, {})
    for path in root.glob("fit/*/*/data-*/x"):
        path.write_bytes(b"rotten" + path.read_bytes()[6:])

    def work(number: int) -> None:
        mine = Store.open(root)
        for key in keys():
            if mine.load(ArtifactKind.FIT, key) is None:
                mine.seal(ArtifactKind.FIT, key, {"x": b"good " * 100}, {"by": number})

    together(tmp_path, work)
    for key in keys():
        assert store.load(ArtifactKind.FIT, key).read("x") == b"good " * 100
        names = os.listdir(root / "fit" / key[:2] / key)
        seals = [name for name in names if name.startswith("SEAL")]
        assert sorted(seals) == ["SEAL-1.json", "SEAL.json"], names  # made again once
    kept = sorted(path.parent.parent.name for path in root.glob("damaged/*/data-*/x"))
    assert kept == sorted(f"fit-{key}-0" for key in keys())


def test_same_run_name_from_many_processes(tmp_path):
    root = tmp_path / "store"

    def work(number: int) -> None:
        record = Store.open(root).runs.create("same", {"seed": 0})
        (tmp_path / f"seen-{number}").write_text(record.created_at)

    together(tmp_path, work)
    assert len({(tmp_path / f"seen-{n}").read_text() for n in range(PROCESSES)}) == 1


def test_writers_and_readers_of_one_progress(tmp_path):
    """Whatever is read is whole; the last state read is one of the last written."""
    root, key = tmp_path / "store", keys()[0]

    def work(number: int) -> None:
        partial = Store.open(root).partial(key)
        for epoch in range(15):
            partial.write(bytes([number, epoch]) * 5000, {"by": number, "epoch": epoch})
            found = partial.read()
            if found is not None:
                data, meta = found
                assert data == bytes([meta["by"], meta["epoch"]]) * 5000

    together(tmp_path, work)
    Store(LocalFs(str(root))).partial(key).clear()
