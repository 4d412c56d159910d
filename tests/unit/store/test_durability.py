"""What is synced, and when: contents before their name, the deciding names after they appear."""

from __future__ import annotations

import os
import stat

import pytest

from orchestrator.store import ArtifactKind, LocalFs, Store


@pytest.fixture
def calls(monkeypatch):
    """Every sync, link and rename as it happens: ``("sync", path)``, ``("link", target)``."""
    seen: list[tuple[str, str]] = []
    link, replace = os.link, os.replace

    def fsync(handle):
        path = os.readlink(f"/proc/self/fd/{handle}")
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        seen.append(("sync folder" if is_folder else "sync", path))

    def linked(source, target, **kwargs):
        link(source, target, **kwargs)
        seen.append(("link", str(target)))

    def replaced(source, target, **kwargs):
        seen.append(("rename", f"{source} {target}"))
        replace(source, target, **kwargs)

    monkeypatch.setattr("os.fsync", fsync)
    monkeypatch.setattr("os.link", linked)
    monkeypatch.setattr("os.replace", replaced)
    return seen


def test_content_is_synced_before_the_name_appears(calls, tmp_path):
    LocalFs(str(tmp_path)).write("a/x", b"data")
    (first, temporary), (second, renamed) = calls
    assert (first, second) == ("sync", "rename")
    assert renamed == f"{temporary} {tmp_path}/a/x"


def test_created_names_are_synced(calls, tmp_path):
    LocalFs(str(tmp_path)).create_if_absent("a/seal", b"data")
    assert [what for what, _ in calls] == ["sync", "link", "sync folder"]
    assert [path for _, path in calls[1:]] == [f"{tmp_path}/a/seal", f"{tmp_path}/a"]


def test_all_data_is_synced_before_the_seal_is_linked(calls, tmp_path, key_of):
    store = Store.open(tmp_path)
    calls.clear()
    store.seal(ArtifactKind.FIT, key_of("a"), {"x": b"1", "y": b"2"}, {})
    whats = [what for what, _ in calls]
    assert whats == ["sync", "rename", "sync", "rename", "sync", "link", "sync folder"]
    assert calls[5][1].endswith("SEAL.json")


def test_progress_of_a_long_epoch_is_synced_before_its_pointer_is_linked(
    calls, tmp_path, key_of, monkeypatch
):
    now = 1000.0
    monkeypatch.setattr("orchestrator.store.partial.time.monotonic", lambda: now)
    partial = Store.open(tmp_path).partial(key_of("a"))
    now += 60.0
    calls.clear()
    partial.write(b"state", {"epoch": 1})
    assert [what for what, _ in calls] == ["sync", "rename", "sync", "link", "sync folder"]
    assert calls[3][1].endswith("000001.json")


def test_progress_of_short_epochs_is_synced_now_and_then(calls, tmp_path, key_of, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("orchestrator.store.partial.time.monotonic", lambda: now)
    partial = Store.open(tmp_path).partial(key_of("a"))
    synced = []
    for epoch in range(30):
        now += 2.0
        calls.clear()
        partial.write(b"state", {"epoch": epoch})
        synced.append("sync" in [what for what, _ in calls])
    assert synced == [epoch % 10 == 9 for epoch in range(30)]
