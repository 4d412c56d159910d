"""The driver is killed at every write between the first epoch and the end of a stage.

Store and journal are two sets of writes of one process; both are enumerated (see ``killing_fs``).
Whatever happens, the same command again ends with bitwise the same weights, repeats no optimiser
step of a finished epoch and trains nothing that is sealed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from killing_fs import KillingFs, Moment, deaths, differing_points, stop, writes_of
from stages import RUN, attempts, count_steps, execute, rows, steps_in, tree_of, weights

from had_core.methods import NaiveConfig
from had_core.step import StageTrainer
from orchestrator.execution.driver import survey
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import LocalFs, Store, StoreFs
from orchestrator.tracking.events import EpochEnded, StageFinished
from orchestrator.tracking.files import LocalFolder
from orchestrator.tracking.journal import JournalReader

pytestmark = pytest.mark.integration

EPOCHS, STEPS = 2, 1
STORE, STEPS_TAKEN = "store", "steps"


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    """14 + 2 rooms of 16x24 pixels; an epoch is one step with three of a slice's four images, so
    that another epoch has another batch."""
    from had_core.data import ShardDataset
    from had_core.data.rooms import RoomsConfig, build

    path = tmp_path_factory.mktemp("nano") / "rooms"
    build(path, RoomsConfig(seed=0, train=14, test=2, height=16, width=24))
    return ShardDataset.open(path)


@pytest.fixture(scope="module")
def problem(nano, tmp_path_factory):
    """One stage, and the store after an uninterrupted run."""
    tree = tree_of(nano, methods=[NaiveConfig()], order=("semantic",), epochs=EPOCHS, batch_size=3)
    store = Store.open(tmp_path_factory.mktemp("whole"))
    execute(tree, nano, store)
    return tree, nano, store


def writes_of_store(problem, root: Path) -> list[str]:
    tree, nano, _ = problem
    return writes_of(lambda fs: execute(tree, nano, Store(fs)), root)


def check(problem, folder: Path) -> None:
    """Run again and compare with the uninterrupted run."""
    tree, nano, whole = problem
    root, ledger = folder / STORE, folder / STEPS_TAKEN
    survived = steps_in(ledger)
    key = tree.roots[0].key
    store = Store.open(root)
    was_sealed = store.is_sealed(ArtifactKind.FIT, key)
    found = store.partial(key).read()
    finished = EPOCHS if was_sealed else _epochs(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageTrainer, "step", StageTrainer.step)  # uncounted again afterwards
        count_steps(ledger)
        execute(tree, nano, Store.open(root))
    repeated = steps_in(ledger)[len(survived) :]
    assert all(epoch > finished for _, _, epoch, _ in repeated), "a finished epoch was repeated"
    if was_sealed:
        assert repeated == []
    assert weights(tree, store) == weights(tree, whole)
    assert rows(tree, store) == rows(tree, whole)
    assert sum(a["steps"] for a in attempts(tree, store)[key]) == EPOCHS * STEPS
    assert survey(tree, store, RUN).open == ()
    assert store.partial(key).read() is None
    events = JournalReader.open(store.uri, RUN).events()
    assert {e.epoch for e in events if isinstance(e, EpochEnded)} == set(range(1, EPOCHS + 1))
    assert any(isinstance(e, StageFinished) for e in events)
    leftovers = [p for p in root.rglob("data-*") if not (p.parent / "SEAL.json").exists()]
    assert leftovers == []


def _epochs(found) -> int:
    from had_core.progress import FitProgress

    return FitProgress.from_bytes(found[0]).epoch if found else 0


def test_the_enumeration_covers_what_a_stage_writes(problem, tmp_path):
    log = writes_of_store(problem, tmp_path / "log")
    whats = [line.split("/")[0] for line in log]
    assert sum(what == "write partial" for what in whats) == EPOCHS
    for what in ("create partial", "write fit", "create fit", "write eval", "create eval"):
        assert what in whats, log
    assert whats[1] == "create claims"  # after the store itself
    assert whats[-2:] == ["delete partial", "delete claims"]
    order = [whats.index("write partial"), whats.index("create fit"), whats.index("create eval")]
    assert order == sorted(order)


def kills(problem, folder: Path, watch: Callable[[StoreFs], StoreFs]) -> list[Path]:
    """What a kill at each stop of a driver leaves: a folder with its store and its steps."""
    tree, nano, _ = problem
    living = folder / "living"
    living.mkdir(parents=True)

    def drive() -> None:
        count_steps(living / STEPS_TAKEN)
        execute(tree, nano, Store(watch(LocalFs(str(living / STORE)))))

    return deaths(drive, living, folder)


@pytest.mark.parametrize("moment", [Moment.WITHIN, Moment.AFTER])
def test_killed_at_every_write_of_the_store(problem, tmp_path, moment):
    """Before a write the disk is as it was after the one before, which AFTER covers."""
    points = differing_points(writes_of_store(problem, tmp_path / "log"), moment)
    left = kills(problem, tmp_path, lambda fs: KillingFs(fs, points, moment))
    assert len(left) == len(points)
    for folder in left:
        check(problem, folder)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_every_write_of_the_journal(problem, tmp_path, before):
    def watch(fs: StoreFs) -> StoreFs:
        _stop_at_journal_writes(before)
        return fs

    left = kills(problem, tmp_path, watch)
    assert len(left) >= 2
    for folder in left:
        check(problem, folder)


def _stop_at_journal_writes(before: bool) -> None:
    original = LocalFolder.write

    def write(self, name: str, data: bytes, *, durable: bool = False) -> None:
        if before:
            stop()
        original(self, name, data, durable=durable)
        if not before:
            stop()

    LocalFolder.write = write  # type: ignore[method-assign]
