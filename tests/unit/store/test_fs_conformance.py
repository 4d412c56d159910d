"""What the store expects of a file system, over every implementation of the port."""

from __future__ import annotations

import threading

import pytest
from killing_fs import KillingFs

from orchestrator.store import LocalFs
from orchestrator.store.arrow_fs import ArrowFs
from orchestrator.store.fs import checked


def _memory(path):
    from datetime import datetime

    from pyarrow.fs import _MockFileSystem

    return ArrowFs(_MockFileSystem(datetime(2026, 1, 1)), "bucket/root")


def _sub_tree(path):
    from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

    return ArrowFs(SubTreeFileSystem(str(path), LocalFileSystem()), "root")


IMPLEMENTATIONS = {
    "local": lambda path: LocalFs(str(path)),
    "arrow in memory": _memory,
    "arrow sub-tree": _sub_tree,
    "killing": lambda path: KillingFs(LocalFs(str(path))),
}


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def fs(request, tmp_path):
    return IMPLEMENTATIONS[request.param](tmp_path)


def test_reads_what_was_written(fs):
    fs.write("a/b/one.bin", b"\x00\xff" * 1000)
    assert fs.read("a/b/one.bin") == b"\x00\xff" * 1000
    assert fs.size("a/b/one.bin") == 2000


def test_empty_file(fs):
    fs.write("empty", b"")
    assert (fs.read("empty"), fs.size("empty")) == (b"", 0)


def test_write_replaces(fs):
    fs.write("a/x", b"first, longer")
    fs.write("a/x", b"second")
    assert fs.read("a/x") == b"second"
    assert fs.names("a") == ["x"]


def test_read_of_nothing(fs):
    fs.write("a/x", b"1")
    for path in ("b", "a/y", "b/c"):
        with pytest.raises(FileNotFoundError):
            fs.read(path)


def test_a_local_file_that_cannot_be_read_is_named(tmp_path):
    fs = LocalFs(str(tmp_path))
    fs.write("a/x", b"1")
    with pytest.raises(NotADirectoryError) as caught:
        fs.read("a/x/y")
    assert caught.value.filename == str(tmp_path / "a/x/y")


def test_size_of_nothing_and_of_a_folder(fs):
    fs.write("a/x", b"1")
    assert fs.size("a") is None
    assert fs.size("a/y") is None
    assert fs.size("b/c/d") is None


@pytest.mark.parametrize("durable", [True, False])
def test_write_that_need_not_be_durable(fs, durable):
    fs.write("a/x", b"first, longer", durable=durable)
    fs.write("a/x", b"second", durable=durable)
    assert (fs.read("a/x"), fs.names("a")) == (b"second", ["x"])


@pytest.mark.parametrize("durable", [True, False])
def test_create_if_absent_creates_once(fs, durable):
    assert fs.create_if_absent("a/seal", b"winner", durable=durable) is True
    assert fs.create_if_absent("a/seal", b"loser", durable=durable) is False
    assert fs.read("a/seal") == b"winner"
    assert fs.names("a") == ["seal"]


def test_create_if_absent_after_delete(fs):
    fs.create_if_absent("a/seal", b"1")
    fs.delete("a/seal")
    assert fs.create_if_absent("a/seal", b"2") is True
    assert fs.read("a/seal") == b"2"


def test_one_of_many_threads_creates(fs):
    won: list[int] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        if fs.create_if_absent("race/seal", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=create, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert fs.read("race/seal") == b"%d" % won[0]


def test_names_are_sorted_and_direct(fs):
    for path in ("d/b", "d/a", "d/c/inner", "e"):
        fs.write(path, b"1")
    assert fs.names("d") == ["a", "b", "c"]
    assert fs.names("nothing") == []
    assert fs.names("e") == []  # a file


def test_delete_file_folder_and_nothing(fs):
    fs.write("d/sub/x", b"1")
    fs.write("d/y", b"1")
    fs.delete("d/y")
    assert fs.names("d") == ["sub"]
    fs.delete("d")
    assert fs.names("d") == []
    assert fs.size("d/sub/x") is None
    fs.delete("d")
    fs.delete("never/there")
    fs.write("file", b"1")
    fs.delete("file/below")
    assert fs.read("file") == b"1"


def test_move_file_and_folder(fs):
    fs.write("from/sub/x", b"1")
    fs.write("from/y", b"2")
    assert fs.move("from/y", "to/deep/y") is True
    assert fs.read("to/deep/y") == b"2"
    assert fs.move("from", "elsewhere/from") is True
    assert fs.read("elsewhere/from/sub/x") == b"1"
    assert fs.names("from") == []


def test_move_of_nothing(fs):
    assert fs.move("gone", "to/gone") is False
    assert fs.size("to/gone") is None


UNSAFE = ["", "/etc/passwd", "..", "../x", "a/../x", "a//b", "a/", ".", "a\\b", "a b", "ä", "a\n"]


@pytest.mark.parametrize("path", UNSAFE)
def test_unsafe_paths_are_refused_by_every_operation(fs, path):
    operations = [
        lambda: fs.read(path),
        lambda: fs.size(path),
        lambda: fs.names(path),
        lambda: fs.write(path, b"1"),
        lambda: fs.create_if_absent(path, b"1"),
        lambda: fs.delete(path),
        lambda: fs.move(path, "x"),
    ]
    for operation in operations:
        with pytest.raises(ValueError, match="is not allowed in a store"):
            operation()
    fs.write("x", b"1")
    with pytest.raises(ValueError, match="is not allowed in a store"):
        fs.move("x", path)


def test_safe_paths():
    for path in ("a", "a/b-c_d.e", ".hidden", "a/...", "-"):
        assert checked(path) == path
