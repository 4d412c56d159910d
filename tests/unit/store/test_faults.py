"""kill -9 at every write between training and clearing up: nothing is lost that was finished.

The scenario is one stage as a worker executes it against the store. Every write point is
enumerated, half-way through and after (before it the disk is as it was after the one before); then
the same scenario runs again on what a kill there leaves (see ``killing_fs``).
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
from collections.abc import Collection
from pathlib import Path

import killing_fs
import pytest
from killing_fs import (
    KillingFs,
    Moment,
    Scenario,
    deaths,
    differing_points,
    run_in_child,
    writes_of,
)

from orchestrator.store import ArtifactKind, LocalFs, Store, StoreFs

FIT = hashlib.sha256(b"fit").hexdigest()
EVAL = hashlib.sha256(b"eval").hexdigest()
EPOCHS = 3


def state_after(epoch: int) -> bytes:
    """A deterministic "training": epoch by epoch from the state before."""
    state = b"initial"
    for _ in range(epoch):
        state = hashlib.sha256(state).digest() * 40
    return state


def stage(fs: StoreFs, trained: list[int] | None = None) -> None:
    """Resume, train, seal the fit, seal its R row, clear the progress."""
    store = Store(fs)
    if not store.is_sealed(ArtifactKind.FIT, FIT):
        partial = store.partial(FIT)
        found = partial.read()
        done = found[1]["epoch"] if found else 0
        assert found is None or found[0] == state_after(done)
        for epoch in range(done + 1, EPOCHS + 1):
            if trained is not None:
                trained.append(epoch)
            partial.write(state_after(epoch), {"epoch": epoch})
        files = {"model": state_after(EPOCHS), "history.json": b"[1,2,3]"}
        store.seal(ArtifactKind.FIT, FIT, files, {"epochs": EPOCHS})
    if not store.is_sealed(ArtifactKind.EVAL, EVAL):
        model = store.load(ArtifactKind.FIT, FIT).read("model")
        row = hashlib.sha256(model).hexdigest().encode()
        store.seal(ArtifactKind.EVAL, EVAL, {"row.json": row}, {"fit": FIT})
    store.partial(FIT).clear()


def contents(root: Path) -> dict[str, bytes]:
    """Every file that matters, without the random part of its folder's name."""
    found = {}
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if path.is_file() and not parts[-1].startswith(".tmp-"):
            name = "/".join("data" if part.startswith("data-") else part for part in parts)
            found[name] = b"" if parts[-1] == "SEAL.json" else path.read_bytes()
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[list[str], dict[str, bytes]]:
    root = tmp_path_factory.mktemp("uninterrupted")
    fs = KillingFs(LocalFs(str(root)))
    stage(fs)
    return fs.log, contents(root)


def test_the_scenario_has_the_writes_it_should(uninterrupted):
    """So that the enumeration below cannot pass by enumerating nothing."""
    log, files = uninterrupted
    creates = [line for line in log if line.startswith("create")]
    assert len(creates) == 1 + EPOCHS + 2  # the layout, a pointer an epoch, two seals
    assert [line.split("/")[-1] for line in creates[-2:]] == ["SEAL.json", "SEAL.json"]
    assert log[-1].startswith("delete partial/")
    assert len(log) == 1 + 2 * EPOCHS + 2 * (EPOCHS - 2) + 3 + 2 + 1
    assert len(files) == 1 + 3 + 2


def kills(
    scenario: Scenario, folder: Path, points: Collection[int], moment: Moment
) -> list[tuple[int, Path]]:
    """What a kill at each point leaves of a store that the scenario begins."""
    root = folder / "living"
    root.mkdir(parents=True)
    fs = KillingFs(LocalFs(str(root)), points, moment)
    return list(zip(points, deaths(lambda: scenario(fs), root, folder), strict=True))


@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.value)
def test_a_kill_leaves_what_is_copied(uninterrupted, tmp_path, moment, monkeypatch):
    """At every write: what is copied stands for a process killed there, here and elsewhere."""
    log, _ = uninterrupted
    points = differing_points(log, moment)
    copies = kills(stage, tmp_path / "copied", points, moment)
    monkeypatch.setattr(killing_fs, "stop", lambda: os.kill(os.getpid(), signal.SIGKILL))
    for point, copy in copies:
        root = tmp_path / "killed" / str(point)
        fs = KillingFs(LocalFs(str(root)), point, moment)
        assert run_in_child(lambda fs=fs: stage(fs)) == -signal.SIGKILL
        assert sizes(root) == sizes(copy), log[point]
        torn = [name for name, _ in sizes(root) if ".tmp" in name]
        halved = moment is Moment.WITHIN and not log[point].startswith("delete ")
        assert len(torn) == halved, log[point]


def sizes(root: Path) -> list[tuple[str, int]]:
    """Every file, without the random parts of names."""
    files = [path for path in root.rglob("*") if path.is_file()]
    names = [re.sub(r"-\w+", "", str(path.relative_to(root))) for path in files]
    return sorted((name, path.stat().st_size) for name, path in zip(names, files, strict=True))


@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.value)
def test_killed_at_every_write(moment, uninterrupted, tmp_path, caplog):
    log, expected = uninterrupted
    finished_epochs = 0
    for point, root in kills(stage, tmp_path, differing_points(log, moment), moment):
        line = log[point]
        store = Store.open(root)
        fit = store.load(ArtifactKind.FIT, FIT)
        score = store.load(ArtifactKind.EVAL, EVAL)
        partial = store.partial(FIT).read()
        assert fit is None or fit.read("model") == state_after(EPOCHS), line
        assert score is None or fit is not None, line
        if partial is not None:
            assert partial[0] == state_after(partial[1]["epoch"]), line
        if line.startswith("create partial/") and moment is Moment.AFTER:
            finished_epochs += 1
            assert partial[1]["epoch"] == finished_epochs, line
        if line.startswith("create fit/") and moment is Moment.AFTER:
            assert fit is not None, line

        trained: list[int] = []
        stage(LocalFs(str(root)), trained)
        done = EPOCHS if fit else partial[1]["epoch"] if partial else 0
        assert trained == list(range(done + 1, EPOCHS + 1)), line
        assert contents(root) == expected, line
        assert store.damaged == ()
        assert store.fs.names("damaged") == []
        assert not [p for p in (root / "fit").rglob(".tmp-*")], line
    assert "damaged" not in caplog.text


def test_killed_twice_in_a_row(uninterrupted, tmp_path):
    """The second attempt dies too, one write later than it resumed."""
    log, expected = uninterrupted
    for point, root in kills(stage, tmp_path / "once", range(0, len(log), 2), Moment.WITHIN):
        again = KillingFs(LocalFs(str(root)), 1, Moment.WITHIN)
        for twice in deaths(lambda fs=again: stage(fs), root, tmp_path / f"twice-{point}"):
            stage(LocalFs(str(twice)))
            assert contents(twice) == expected


ROTTEN = b"rotten" + state_after(EPOCHS)[6:]


def damaged_stage(fs: StoreFs) -> None:
    """A sealed fit whose bytes have rotted is found and made again."""
    if fs.size("store.json") is None:
        stage(LocalFs(fs.root))
        (path,) = Path(fs.root).glob("fit/*/*/data-*/model")
        path.write_bytes(ROTTEN)
    if Store(fs).load(ArtifactKind.FIT, FIT) is None:
        stage(fs)


def test_killed_while_setting_damage_aside(uninterrupted, tmp_path):
    log = writes_of(damaged_stage, tmp_path / "log")
    assert len(log) > 12
    for moment in Moment:
        points = differing_points(log, moment)
        for _, root in kills(damaged_stage, tmp_path / moment.value, points, moment):
            damaged_stage(LocalFs(str(root)))
            stage(LocalFs(str(root)))
            store = Store.open(root)
            assert store.load(ArtifactKind.FIT, FIT).read("model") == state_after(EPOCHS)
            assert store.load(ArtifactKind.EVAL, EVAL) is not None
            assert store.partial(FIT).read() is None
            (kept,) = root.glob("damaged/*/data-*/model")
            assert kept.read_bytes() == ROTTEN
