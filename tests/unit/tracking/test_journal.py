"""The journal loses nothing, survives damage and costs little."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from had_core.errors import BadInput
from orchestrator.tracking import files
from orchestrator.tracking.event_json import from_json, to_json
from orchestrator.tracking.events import (
    EpochEnded,
    Event,
    RunStarted,
    SequenceStarted,
    StageFinished,
    TrialStarted,
)
from orchestrator.tracking.files import ArrowFolder, Folder, LocalFolder, open_folder
from orchestrator.tracking.journal import (
    Journal,
    JournalReader,
    journal_folder,
    journal_id,
    journal_names,
    restore_id,
)

REPO = Path(__file__).resolve().parents[3]


def _segments(root: Path, run: str) -> list[Path]:
    return sorted((root / "journal" / run).glob("*.jsonl"))


def test_what_is_appended_is_read(tmp_path: Path, demo: list[Event]) -> None:
    journal = Journal(tmp_path, demo[0].run)
    for event in demo:
        journal.append(event)
    journal.close()
    reader = JournalReader.open(tmp_path, demo[0].run)
    assert reader.events() == demo
    assert reader.damaged == []
    assert journal_names(tmp_path) == [demo[0].run]


def test_poll_gives_every_event_once(tmp_path: Path, demo: list[Event]) -> None:
    journal = Journal(tmp_path, demo[0].run)
    reader = JournalReader.open(tmp_path, demo[0].run)
    assert reader.poll() == []
    seen: list[Event] = []
    for number, event in enumerate(demo):
        journal.append(event)
        if number % 3 == 0:
            seen += [entry.event for entry in reader.poll()]
    journal.close()
    seen += [entry.event for entry in reader.poll()]
    assert seen == demo


def test_a_trial_is_on_the_disk_with_its_sequences_before_anybody_trains_for_it(
    tmp_path: Path,
) -> None:
    """A driver that is killed next would leave the stages of a trial that nobody knows."""
    journal = Journal(tmp_path, "sweep")
    started = [
        TrialStarted(time=1.0, run="sweep", trial="t0000", number=0, params={"method.lambda": 3.0}),
        SequenceStarted(
            time=1.0,
            run="sweep",
            sequence="had:depth:s0:t0000",
            method="had",
            order=("depth",),
            seed=0,
            label="t0000",
            trial="t0000",
        ),
    ]
    journal.append(*started)
    assert JournalReader.open(tmp_path, "sweep").events() == started


def test_many_writers_at_once(tmp_path: Path, new_story: Callable[..., Any]) -> None:
    """Threads stand for processes: every Journal has its own segment names."""
    stories = [new_story(clock=1000.0 + 0.1 * n) for n in range(4)]

    def work(story: Any) -> None:
        name = story.sequence_started("had", ("depth",))
        story.trained(story.ref(name, 1, "1" * 64, None), epochs=20)
        journal = Journal(tmp_path, story.run)
        for event in story.events:
            journal.append(event)
            journal.flush()

    threads = [threading.Thread(target=work, args=(story,)) for story in stories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read = JournalReader.open(tmp_path, stories[0].run).events()
    assert len(read) == sum(len(story.events) for story in stories)
    assert [e.time for e in read] == sorted(e.time for e in read)
    for story in stories:
        assert all(event in read for event in story.events)


def test_epochs_are_batched_and_ends_are_written_at_once(tmp_path: Path, story: Any) -> None:
    journal = Journal(tmp_path, story.run)
    ref = story.ref("had:depth:s0", 1, "1" * 64, None)
    story.trained(ref, epochs=100)
    for event in story.events:
        journal.append(event)
    assert len(_segments(tmp_path, story.run)) <= 2  # on a slow machine the thread may come between
    assert JournalReader.open(tmp_path, story.run).events() == story.events


def test_a_flush_brings_everything_to_the_disk(tmp_path: Path, story: Any) -> None:
    journal = Journal(tmp_path, story.run)
    ref = story.ref("had:depth:s0", 1, "1" * 64, None)
    story.stage_started(ref)
    story.epoch(ref, 1)
    for event in story.events:
        journal.append(event)
    journal.flush()
    assert JournalReader.open(tmp_path, story.run).events() == story.events


def test_nothing_stays_in_memory_for_long(tmp_path: Path, story: Any) -> None:
    journal = Journal(tmp_path, story.run)
    reader = JournalReader.open(tmp_path, story.run)
    ref = story.ref("had:depth:s0", 1, "1" * 64, None)
    for epoch in (1, 2):
        story.epoch(ref, epoch)
        journal.append(story.events[-1])
        deadline = time.monotonic() + 120
        while not (found := reader.poll()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [entry.event for entry in found] == [story.events[-1]]
    journal.close()
    story.epoch(ref, 3)
    journal.append(story.events[-1])
    assert [entry.event for entry in reader.poll()] == [story.events[-1]]


def test_long_stages_are_written_less_often(
    tmp_path: Path, story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, story.run)
    assert journal._delay() == 0.5
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began + 60)
    assert journal._delay() == pytest.approx(3, abs=0.1)
    monkeypatch.setattr(time, "monotonic", lambda: began + 7200)
    assert journal._delay() == 10


def test_a_process_that_ends_without_closing_loses_nothing(tmp_path: Path, story: Any) -> None:
    story.epoch(story.ref("had:depth:s0", 1, "1" * 64, None), 1)
    code = (
        "import sys\n"
        "from orchestrator.tracking.event_json import from_json\n"
        "from orchestrator.tracking.journal import Journal\n"
        "event = from_json(sys.argv[2])\n"
        "Journal(sys.argv[1], event.run).append(event)\n"
        "journal = Journal(sys.argv[1], event.run)\n"
        "journal.append(event)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), to_json(story.events[0])]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(REPO)})
    assert JournalReader.open(tmp_path, story.run).events() == story.events * 2


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes) -> bytes:
    middle = len(data) // 3
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _drop_a_line(data: bytes) -> bytes:
    return b"".join(data.splitlines(keepends=True)[1:])


@pytest.mark.parametrize(
    "damage", [_cut, _flip, _drop_a_line, lambda data: b"", lambda data: b"\xff\x00garbage"]
)
def test_a_damaged_segment_is_named_and_skipped(
    tmp_path: Path,
    demo: list[Event],
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    journal = Journal(tmp_path, demo[0].run)
    for event in demo:
        journal.append(event)
    journal.close()
    victim = _segments(tmp_path, demo[0].run)[1]
    lost = victim.read_bytes().count(b"\n") - 1
    victim.write_bytes(damage(victim.read_bytes()))
    reader = JournalReader.open(tmp_path, demo[0].run)
    events = reader.events()
    assert len(events) == len(demo) - lost
    assert all(event in demo for event in events)
    assert reader.damaged == [victim.name]
    assert victim.name in caplog.text
    caplog.clear()
    assert reader.poll() == []
    assert caplog.text == ""


def test_half_written_files_are_not_seen(tmp_path: Path, demo: list[Event]) -> None:
    folder = LocalFolder(tmp_path / "f")
    folder.write("a", b"1")
    (tmp_path / "f" / ".b.12345678").write_bytes(b"half")
    assert folder.names() == ["a"]


def test_a_full_disk_loses_nothing_and_raises_nothing(
    tmp_path: Path,
    demo: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Journal(tmp_path, demo[0].run)
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(files.LocalFolder, "write", full)
        for event in demo[:10]:
            journal.append(event)
        journal.flush()
    assert caplog.text.count("No space left on device") == 1
    for event in demo[10:]:
        journal.append(event)
    assert JournalReader.open(tmp_path, demo[0].run).events() == demo


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "a b", "ü", "x" * 300])
def test_run_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="run name"):
        Journal(tmp_path, name)


def test_events_of_another_run_are_refused(tmp_path: Path, demo: list[Event]) -> None:
    with pytest.raises(BadInput, match="elsewhere"):
        Journal(tmp_path, "elsewhere").append(demo[0])


def test_events_given_together_make_one_segment_or_none(tmp_path: Path, demo: list[Event]) -> None:
    journal = Journal(tmp_path, demo[0].run)
    journal.append(*demo)
    assert len(_segments(tmp_path, demo[0].run)) == 1
    with pytest.raises(BadInput):
        journal.append(demo[0], replace(demo[1], run="elsewhere"))
    journal.close()
    assert JournalReader.open(tmp_path, demo[0].run).events() == demo


def test_events_that_could_not_be_read_back_are_refused(tmp_path: Path, story: Any) -> None:
    ref = story.ref("had:depth:s0", 1, "1" * 64, None)
    story.stage_finished(ref)
    object.__setattr__(story.events[0], "numerics", {"versions": {"torch": "2"}})
    with pytest.raises(BadInput, match="numerics"):
        Journal(tmp_path, story.run).append(story.events[0])


def test_some_kinds_of_events_and_the_latest_time(tmp_path: Path, demo: list[Event]) -> None:
    journal = Journal(tmp_path, demo[0].run)
    for event in demo:
        journal.append(event)
    journal.close()
    reader = JournalReader.open(tmp_path, demo[0].run)
    for kinds in ((StageFinished,), (RunStarted, EpochEnded), ()):
        wanted = [event for event in demo if isinstance(event, kinds)] if kinds else demo
        assert reader.events(*kinds) == wanted
    assert reader.poll() == []
    assert reader.latest() == max(event.time for event in demo)
    assert JournalReader.open(tmp_path, "none").latest() == 0
    path = _segments(tmp_path, demo[0].run)[0]
    path.write_bytes(path.read_bytes()[:-40])
    assert reader.latest() > 0
    assert reader.damaged == [path.name]


def test_the_id_is_made_once(tmp_path: Path) -> None:
    first = journal_id(journal_folder(tmp_path, "a"))
    assert journal_id(journal_folder(tmp_path, "a")) == first
    assert journal_id(journal_folder(tmp_path, "b")) != first


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "{}", '{"journal": 1}', "\xff"])
def test_a_damaged_id_is_named(tmp_path: Path, text: str) -> None:
    folder = journal_folder(tmp_path, "a")
    folder.write("id.json", text.encode("latin-1"))
    with pytest.raises(BadInput, match=f"^{tmp_path}/journal/a/id.json is damaged: delete it, and"):
        journal_id(folder)
    restore_id(folder, "0123456789abcdef")
    assert journal_id(folder) == "0123456789abcdef"


def _local(path: Path) -> Folder:
    return LocalFolder(path / "x" / "y")


def _arrow(path: Path) -> Folder:
    return ArrowFolder(fs.LocalFileSystem(), f"{path}/x/y")


@pytest.mark.parametrize("make", [_local, _arrow])
def test_folders_keep_the_same_contract(tmp_path: Path, make: Callable[[Path], Folder]) -> None:
    folder = make(tmp_path)
    assert folder.names() == []
    with pytest.raises(FileNotFoundError):
        folder.read("a")
    folder.write("b", b"2", durable=True)
    folder.write("a", b"1")
    folder.write("a", b"1 again")
    folder.write(".hidden", b"")
    assert folder.names() == ["a", "b"]
    assert folder.read("a") == b"1 again"
    assert folder.create("a", b"no") is False
    assert folder.create("c", b"3") is True
    assert (folder.read("a"), folder.read("c")) == (b"1 again", b"3")


def test_a_journal_in_an_arrow_store(tmp_path: Path, demo: list[Event]) -> None:
    """``file:`` paths go the local way; a sub-tree file system stands for an object store."""
    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    folder = ArrowFolder(store, "journal/run")
    line = to_json(demo[0])
    folder.write("w-000000.jsonl", b"not a segment")
    reader = JournalReader(folder)
    assert reader.poll() == []
    assert reader.damaged == ["w-000000.jsonl"]
    assert from_json(line) == demo[0]


def test_a_killed_writer_leaves_whole_segments(tmp_path: Path) -> None:
    """kill -9 while a process appends as fast as it can."""
    code = (
        "import sys, itertools\n"
        "from orchestrator.tracking.events import RunStarted\n"
        "from orchestrator.tracking.journal import Journal\n"
        "journal = Journal(sys.argv[1], 'r')\n"
        "for n in itertools.count():\n"
        "    journal.append(RunStarted(time=float(n), run='r', recipe='x' * 20000))\n"
        "    n == 20 and print('go', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    process.kill()
    process.wait()
    process.stdout.close()
    reader = JournalReader.open(tmp_path, "r")
    times = [event.time for event in reader.events()]
    assert len(times) >= 20
    assert times == [float(n) for n in range(len(times))]
    assert reader.damaged == []


def test_appending_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "import orchestrator.tracking.journal, orchestrator.tracking.background\n"
        "import orchestrator.tracking.ui\n"
        "print([m for m in ('mlflow', 'torch', 'ray', 'pyarrow', 'numpy') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert done.stdout.strip() == "[]"


def test_a_full_disk_names_the_folder_and_leaves_nothing(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = open_folder(tmp_path)
    folder.write("a", b"1")
    monkeypatch.setattr("os.fsync", full)
    for write in (lambda: folder.create("b", b"2"), lambda: folder.write("a", b"2", durable=True)):
        with pytest.raises(OSError, match="No space left") as caught:
            write()
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert folder.read("a") == b"1"
