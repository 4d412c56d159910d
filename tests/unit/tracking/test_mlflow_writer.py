"""The journal in MLflow: complete, nested, linked, and the same after any interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_mlflow import FakeMlflow, Faulty, Killed, snapshot

from had_core.errors import BadInput
from orchestrator.tracking.events import End, EpochEnded, Event, StageFinished, StageReused
from orchestrator.tracking.journal import Journal, JournalReader
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.mlflow_writer import MlflowWriter

Pictures = Callable[[str, str], bytes]


class Setup:
    """A journal in a store and writers on it."""

    def __init__(self, root: Path, run: str, pictures: Pictures) -> None:
        self.root, self.run, self._pictures = root, run, pictures

    def append(self, events: list[Event]) -> None:
        journal = Journal(self.root, self.run)
        for event in events:
            journal.append(event)
        journal.close()

    def writer(self, client: Any = None) -> MlflowWriter:
        reader = JournalReader.open(self.root, self.run)
        location = TrackingLocation.of(self.root)
        return MlflowWriter(reader, self.run, location, pictures=self._pictures, client=client)


@pytest.fixture
def setup(tmp_path: Path, demo: list[Event], pictures: Pictures) -> Setup:
    setup = Setup(tmp_path / "st", demo[0].run, pictures)
    setup.append(demo)
    return setup


def _by_name(state: dict[str, Any], name: str, method: str) -> dict[str, Any]:
    found = [
        run
        for run in state["runs"].values()
        if run["name"] == name and run["tags"]["had.method"] == method
    ]
    assert len(found) == 1
    return dict(found[0])


def test_runs_are_nested_linked_and_complete(setup: Setup) -> None:
    client = FakeMlflow()
    report = setup.writer(client).drain()
    state = snapshot(client)
    assert (report.events, report.written, report.damaged) == (19, 6, ())
    assert state["experiments"] == ["quickstart"]
    had = _by_name(state, "had depth>normal s0", "had")
    first = _by_name(state, "1 depth", "had")
    second = _by_name(state, "2 normal", "had")
    light = _by_name(state, "1 depth (reused)", "naive")
    assert "mlflow.parentRunId" not in had["tags"]
    assert first["tags"]["mlflow.parentRunId"] == had["tags"]["had.uid"]
    assert light["tags"]["had.reused_from"] == first["tags"]["had.uid"]
    assert light["tags"]["had.reused"] == "true"
    assert light["from"] == ["model " + "1" * 64]
    assert light["to"] == []
    assert second["from"] == ["model " + "1" * 64]
    assert second["to"] == [("model " + "2" * 64, 2)]
    assert {run["status"] for run in state["runs"].values()} == {"FINISHED"}
    assert second["tags"]["had.parent_stage_key"] == "1" * 64
    assert second["datasets"] == [("rooms/test", "b" * 12), ("rooms/train", "a" * 12)]


def test_numbers_pictures_and_tables(setup: Setup) -> None:
    client = FakeMlflow()
    setup.writer(client).drain()
    state = snapshot(client)
    second = _by_name(state, "2 normal", "had")
    curve = [(step, v) for key, step, _, v in second["points"] if key == "train/new/normal"]
    assert curve == [(1, 1.0), (2, 0.5)]
    values = {key: value for key, step, _, value in second["points"]}
    assert values["train/total"] == 0.75
    assert values["images_per_s"] == 40
    assert values["test/depth/abs_err"] == 0.2
    key = "2" * 64
    assert second["artifacts"] == {
        f"examples/{task}.png": f"picture examples/{task}.png of eval-{key}".encode()
        for task in ("depth", "normal")
    }
    had = _by_name(state, "had depth>normal s0", "had")
    forgetting = [(s, v) for k, s, _, v in had["points"] if k == "R/depth/abs_err"]
    assert forgetting == [(2, 0.1), (4, 0.2)]  # two epochs a stage
    assert ("delta_m", 4, 12.5) in [(k, s, v) for k, s, _, v in had["points"]]
    table = json.loads(had["artifacts"]["R.json"])
    assert table["columns"][:3] == ["stage", "depth/abs_err", "depth/rel_err"]
    assert table["data"][0] == ["1 depth", 0.1, 1.1, None, None]
    assert "| 2 normal | 0.2 | 0.2 |" in had["tags"]["mlflow.note.content"]
    assert had["params"]["lambda"] == "3"
    model = state["models"]["model " + key]
    assert model["status"] == "READY"
    assert ("test/depth/abs_err", 2, 0.2) in model["points"]


def test_the_curves_of_a_sequence_have_one_axis_and_no_gap(setup: Setup) -> None:
    """Also where another sequence, or another run, trained the first stage."""
    client = FakeMlflow()
    setup.writer(client).drain()
    state = snapshot(client)
    for method in ("had", "naive"):
        run = _by_name(state, f"{method} depth>normal s0", method)
        curves: dict[str, list[tuple[int, float]]] = {}
        for key, step, _, value in run["points"]:
            curves.setdefault(key, []).append((step, value))
        assert curves["train/new/depth"] == [(1, 1.0), (2, 0.5)], method
        assert curves["train/new/normal"] == [(3, 1.0), (4, 0.5)], method
        assert [step for step, _ in curves["train/total"]] == [1, 2, 3, 4]
        assert [step for step, _ in curves["R/depth/abs_err"]] == [2, 4]
        assert [step for step, _ in curves["R/normal/mean_deg"]] == [4]


def test_evaluations_inside_a_stage(
    tmp_path: Path, new_story: Callable[..., Any], pictures: Pictures
) -> None:
    story = new_story()
    story.run_started()
    name = story.sequence_started("had", ("depth", "normal"))
    parent = story.ref(name, 1, "1" * 64, None)
    story.stage_reused(parent)
    ref = story.ref(name, 2, "2" * 64, parent.key)
    story.stage_started(ref)
    system = {"cpu_utilization_percentage": 80.0}
    story.epoch(ref, 1, scores={"depth": {"abs_err": 0.75, "rel_err": None}}, system=system)
    story.epoch(ref, 2)
    story.stage_finished(ref)
    setup = Setup(tmp_path, story.run, pictures)
    setup.append(story.events)
    client = FakeMlflow()
    setup.writer(client).drain()
    state = snapshot(client)
    sequence = _by_name(state, "had depth>normal s0", "had")
    stage = _by_name(state, "2 normal", "had")
    inside = [
        [(k, s, v) for k, s, _, v in r["points"] if k[:4] == "val/"] for r in (sequence, stage)
    ]
    assert inside == [[("val/depth/abs_err", 3, 0.75)], [("val/depth/abs_err", 1, 0.75)]]
    own = [(k, s, v) for k, s, _, v in stage["points"]]
    assert ("test/depth/abs_err", 2, 0.2) in own
    assert ("system/cpu_utilization_percentage", 1, 80.0) in own


def test_a_model_has_the_scores_of_its_last_epoch_and_their_data(
    tmp_path: Path, new_story: Callable[..., Any], pictures: Pictures
) -> None:
    story = new_story()
    story.run_started()
    name = story.sequence_started("had", ("depth",))
    ref = story.ref(name, 1, "1" * 64, None)
    story.stage_started(ref)
    for epoch in (1, 2):
        story.epoch(ref, epoch, scores={"depth": {"abs_err": 1.0 / epoch}})
    rows = {"val": {"depth": {"abs_err": 0.5}}}
    story._add(StageFinished, stage=ref, attempt=1, rows=rows)
    setup = Setup(tmp_path, story.run, pictures)
    setup.append(story.events)
    client = FakeMlflow()
    logged: list[Any] = []
    keep = client.log_batch

    def log_batch(run_id: str, metrics: Any = (), *others: Any, **options: Any) -> None:
        logged.extend(metrics)
        keep(run_id, metrics, *others, **options)

    client.log_batch = log_batch  # type: ignore[method-assign]
    setup.writer(client).drain()
    (model,) = snapshot(client)["models"].values()
    assert model["points"] == [("val/depth/abs_err", 2, 0.5)]
    assert "`had rerun 111111111111`" in model["tags"]["mlflow.note.content"]
    scored = [m for m in logged if m.model_id]
    assert {(m.dataset_name, m.dataset_digest) for m in scored} == {("rooms/train", "a" * 12)}


def test_a_light_run_has_its_whole_row(
    tmp_path: Path, new_story: Callable[..., Any], pictures: Pictures
) -> None:
    """Also where the last epoch was evaluated on the same split."""
    story = new_story()
    story.run_started()
    name = story.sequence_started("had", ("depth",))
    ref = story.ref(name, 1, "1" * 64, None)
    rows = {"val": {"depth": {"abs_err": 0.5}}}
    known = {"val/depth/abs_err": (None, 0.5)}
    story._add(StageReused, stage=ref, rows=rows, curves=known)
    setup = Setup(tmp_path, story.run, pictures)
    setup.append(story.events)
    client = FakeMlflow()
    setup.writer(client).drain()
    state = snapshot(client)
    for run in (_by_name(state, "1 depth (reused)", "had"), _by_name(state, "had depth s0", "had")):
        assert ("val/depth/abs_err", 2, 0.5) in [(k, s, v) for k, s, _, v in run["points"]]


def test_fake_and_real_mlflow_end_in_the_same_state(
    store: Path, demo: list[Event], pictures: Pictures
) -> None:
    setup = Setup(store, demo[0].run, pictures)
    setup.append(demo)
    fake = FakeMlflow()
    setup.writer(fake).drain()
    real = TrackingLocation.of(store).client()
    setup.writer(real).drain()
    assert snapshot(real) == snapshot(fake)
    again = setup.writer(real).drain()
    assert again.written == 0
    assert snapshot(real) == snapshot(fake)


def test_draining_bit_by_bit_gives_the_same_as_at_once(
    tmp_path: Path, demo: list[Event], pictures: Pictures, setup: Setup
) -> None:
    at_once = FakeMlflow()
    setup.writer(at_once).drain()
    slow = Setup(tmp_path / "slow", demo[0].run, pictures)
    slow.root.mkdir()
    _share_id(setup.root, slow.root, demo[0].run)
    client = FakeMlflow()
    writer = slow.writer(client)
    for number, event in enumerate(demo):
        slow.append([event])
        if number % 7 == 6:
            writer = slow.writer(client)  # another process goes on
        writer.drain()
    assert snapshot(client) == snapshot(at_once)


@pytest.mark.usefixtures("lines_decoded_once")
def test_stopped_at_every_write_and_drained_again(setup: Setup) -> None:
    whole = FakeMlflow()
    counter = Faulty(whole)
    setup.writer(counter).drain()
    wanted = snapshot(whole)
    modes = [("before", 0), ("after", 0), ("amid", 1), ("amid", 2), ("amid", 3)]
    assert len(counter.calls) > 35
    for at, name in enumerate(counter.calls):
        for when, part in modes if name == "log_batch" else modes[:2]:
            client = FakeMlflow()
            with pytest.raises(Killed):
                setup.writer(Faulty(client, at, when, part=part)).drain()
            setup.writer(client).drain()
            assert snapshot(client) == wanted, (at, name, when)


@pytest.mark.usefixtures("lines_decoded_once")
def test_failing_calls_do_not_confuse_the_same_writer(setup: Setup) -> None:
    whole = FakeMlflow()
    counter = Faulty(whole)
    setup.writer(counter).drain()
    wanted = snapshot(whole)
    for at, name in enumerate(counter.calls):
        for when in ("before", "after"):
            client = FakeMlflow()
            writer = setup.writer(Faulty(client, at, when, ConnectionError("away")))
            with pytest.raises(ConnectionError):
                writer.drain()
            writer.drain()
            assert snapshot(client) == wanted, (at, name, when)


@pytest.mark.slow
def test_real_mlflow_stopped_at_every_write(
    store: Path, demo: list[Event], pictures: Pictures
) -> None:
    setup = Setup(store, demo[0].run, pictures)
    setup.append(demo)
    database = store / "mlflow" / "mlflow.db"
    empty = database.read_bytes()
    client = TrackingLocation.of(store).client()
    counter = Faulty(client)
    setup.writer(counter).drain()
    wanted = snapshot(client)
    for at, name in enumerate(counter.calls):
        for when in ("before", "after"):
            database.write_bytes(empty)
            with pytest.raises(Killed):
                setup.writer(Faulty(client, at, when)).drain()
            setup.writer(client).drain()
            assert snapshot(client) == wanted, (at, name, when)


def test_a_deleted_run_is_neither_made_again_nor_written(setup: Setup, demo: list[Event]) -> None:
    client = FakeMlflow()
    setup.writer(client).drain()
    victim = next(run for run in client.runs.values() if run.info.run_name == "2 normal")
    victim.info.lifecycle_stage = "deleted"
    count = len(client.runs)
    late = next(e for e in demo if isinstance(e, EpochEnded) and e.key == "2" * 64)
    setup.append([replace(late, epoch=3, time=late.time + 100)])
    setup.writer(client).drain()
    assert len(client.runs) == count


def test_a_killed_run_goes_on_in_the_same_mlflow_runs(
    tmp_path: Path, new_story: Callable[..., Any], pictures: Pictures
) -> None:
    story = new_story()
    setup = Setup(tmp_path, story.run, pictures)
    client = FakeMlflow()
    story.run_started()
    name = story.sequence_started("had", ("depth", "normal"))
    ref = story.ref(name, 1, "1" * 64, None)
    story.stage_started(ref, epochs=3)
    story.epoch(ref, 1)
    story.epoch(ref, 2)
    setup.append(story.events)
    setup.writer(client).drain()
    assert {r["status"] for r in snapshot(client)["runs"].values()} == {"RUNNING"}

    begun = len(story.events)
    story.run_finished(End.KILLED)
    setup.append(story.events[begun:])
    setup.writer(client).drain()
    assert {r["status"] for r in snapshot(client)["runs"].values()} == {"KILLED"}

    begun = len(story.events)
    story.run_started()
    story.sequence_started("had", ("depth", "normal"))
    story.stage_started(ref, attempt=2, epochs=3)
    story.epoch(ref, 2, attempt=2)  # recorded before the kill, repeated after it
    story.epoch(ref, 3, attempt=2)
    setup.append(story.events[begun:])
    setup.writer(client).drain()
    assert {r["status"] for r in snapshot(client)["runs"].values()} == {"RUNNING"}

    begun = len(story.events)
    story.stage_finished(ref, attempt=2)
    story.sequence_finished(name)
    story.run_finished()
    setup.append(story.events[begun:])
    setup.writer(client).drain()
    state = snapshot(client)
    assert len(state["runs"]) == 2
    stage = _by_name(state, "1 depth", "had")
    assert stage["status"] == "FINISHED"
    assert stage["tags"]["had.attempts"] == "2"
    assert [s for key, s, _, _ in stage["points"] if key == "images_per_s"] == [1, 2, 3]


def test_a_stage_of_another_run_is_linked(
    tmp_path: Path, new_story: Callable[..., Any], pictures: Pictures, demo: list[Event]
) -> None:
    first = Setup(tmp_path, demo[0].run, pictures)
    first.append(demo)
    client = FakeMlflow()
    first.writer(client).drain()
    story = new_story(run="other", clock=1_800_000_000.0)
    story.run_started("another recipe")
    name = story.sequence_started("had", ("depth", "semantic"))
    story.stage_reused(story.ref(name, 1, "1" * 64, None))
    story.trained(story.ref(name, 2, "9" * 64, "1" * 64))
    other = Setup(tmp_path, "other", pictures)
    other.append(story.events)
    other.writer(client).drain()
    state = snapshot(client)
    full = _by_name(state, "1 depth", "had")
    light = _by_name(state, "1 depth (reused)", "had")
    assert light["tags"]["had.reused_from"] == full["tags"]["had.uid"]
    assert _by_name(state, "2 semantic", "had")["from"] == ["model " + "1" * 64]


def test_two_stores_with_the_same_run_name_stay_apart(
    tmp_path: Path, demo: list[Event], pictures: Pictures
) -> None:
    client = FakeMlflow()
    for folder in ("here", "there"):
        setup = Setup(tmp_path / folder, demo[0].run, pictures)
        setup.append(demo)
        setup.writer(client).drain()
    assert len(client.runs) == 12


def test_many_epochs_and_parameters_respect_the_limits(
    tmp_path: Path, new_story: Callable[..., Any], pictures: Pictures
) -> None:
    story = new_story()
    story.run_started()
    name = story.sequence_started("had", ("depth",))
    ref = story.ref(name, 1, "1" * 64, None)
    story.trained(ref, epochs=500)
    started = next(e for e in story.events if type(e).__name__ == "StageStarted")
    object.__setattr__(started, "params", {f"p{n}": n for n in range(250)})
    setup = Setup(tmp_path, story.run, pictures)
    setup.append(story.events)
    client = FakeMlflow()
    setup.writer(client).drain()
    stage = _by_name(snapshot(client), "1 depth", "had")
    assert len(stage["points"]) == 500 * 5 + 2
    assert len(stage["params"]) == 251


def test_missing_pictures_do_not_stop_the_rest(
    tmp_path: Path, demo: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    setup = Setup(tmp_path, demo[0].run, lambda key, file: None)  # type: ignore[arg-type,return-value]
    setup.append(demo)
    client = FakeMlflow()
    assert setup.writer(client).drain().written == 6
    assert "examples/depth.png" in caplog.text


def test_a_damaged_id_is_made_again_from_the_stores_own_mlflow(
    setup: Setup, demo: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    client = FakeMlflow()
    setup.writer(client).drain()
    file = setup.root / "journal" / setup.run / "id.json"
    before, wanted = file.read_bytes(), snapshot(client)
    file.write_text("")
    assert setup.writer(client).drain().written == 0
    assert file.read_bytes() == before and snapshot(client) == wanted
    assert f"run '{setup.run}' was damaged: made again from MLflow" in caplog.text


def test_a_damaged_id_that_no_mlflow_can_tell_is_named(setup: Setup) -> None:
    client = FakeMlflow()
    setup.writer(client).drain()
    file = setup.root / "journal" / setup.run / "id.json"
    file.write_text("")
    elsewhere = TrackingLocation.of(setup.root, "http://127.0.0.1:9")
    reader = JournalReader.open(setup.root, setup.run)
    for write in (
        lambda: MlflowWriter(reader, setup.run, elsewhere, client=client),  # type: ignore[arg-type]
        lambda: setup.writer(FakeMlflow()),
    ):
        with pytest.raises(BadInput, match=r"id\.json is damaged: delete it, and the run is"):
            write()
    file.unlink()
    assert setup.writer(client).drain().written == 6


def _share_id(source: Path, target: Path, run: str) -> None:
    """Give two journals one identity, so that their uids can be compared."""
    from orchestrator.tracking.journal import journal_folder, journal_id

    identity = {"journal": journal_id(journal_folder(source, run))}
    journal_folder(target, run).write("id.json", json.dumps(identity).encode())
