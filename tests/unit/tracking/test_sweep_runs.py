"""Sweeps and comparisons in MLflow: nested, complete, and the same after any interruption."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_mlflow import FakeMlflow, Faulty, Killed, snapshot

from had_core.methods import HadConfig, HadLossConfig
from orchestrator.config import compose
from orchestrator.tracking.events import (
    Direction,
    End,
    Event,
    RunFiles,
    RunKind,
    TrialStarted,
    TrialState,
)
from orchestrator.tracking.fold import Fold
from orchestrator.tracking.journal import Entry, Journal, JournalReader
from orchestrator.tracking.location import TrackingLocation
from orchestrator.tracking.mlflow_writer import MlflowWriter
from orchestrator.tracking.store_sources import StoreFiles

# What a run says of itself alone; every other had.* tag is repeated below it.
OWN = {"had.kind", "had.uid", "had.synced", "had.message", "had.best_trial"}


def _append(root: Path, events: list[Event]) -> None:
    journal = Journal(root, events[0].run)
    journal.append(*events)
    journal.close()


def _writer(root: Path, run: str, client: Any) -> MlflowWriter:
    reader = JournalReader.open(root, run)
    location = TrackingLocation.of(root)
    return MlflowWriter(
        reader, run, location, pictures=lambda *_: b"png", files=StoreFiles(root), client=client
    )


def _drained(root: Path, events: list[Event]) -> dict[str, Any]:
    _append(root, events)
    client = FakeMlflow()
    _writer(root, events[0].run, client).drain()
    return snapshot(client)


def _named(state: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [run for run in state["runs"].values() if run["name"] == name]
    return dict(found)


def _kinds(state: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for run in state["runs"].values():
        kinds.setdefault(run["tags"]["had.kind"], []).append(run)
    return kinds


def test_sweep_trial_sequence_stage(tmp_path: Path, sweep: list[Event]) -> None:
    state = _drained(tmp_path, sweep)
    runs, kinds = state["runs"], _kinds(state)
    assert {kind: len(found) for kind, found in kinds.items()} == {
        "sweep": 1,
        "trial": 2,
        "sequence": 4,
        "stage": 6,
    }
    above = {"trial": "sweep", "sequence": "trial", "stage": "sequence"}
    for run in runs.values():
        parent = runs.get(run["tags"].get("mlflow.parentRunId"))
        kind = run["tags"]["had.kind"]
        assert (parent["tags"]["had.kind"] if parent else None) == above.get(kind)
    assert {run["tags"]["had.trial"] for run in kinds["stage"]} == {"t0000", "t0001"}


def test_under_any_filter_on_their_tags_runs_stay_nested(
    tmp_path: Path, sweep: list[Event], demo: list[Event]
) -> None:
    for state in (_drained(tmp_path / "sweep", sweep), _drained(tmp_path / "run", demo)):
        for run in state["runs"].values():
            parent = state["runs"].get(run["tags"].get("mlflow.parentRunId"), {"tags": {}})
            inherited = {k: v for k, v in parent["tags"].items() if k.startswith("had.")}
            assert {k: run["tags"].get(k) for k in inherited if k not in OWN} == {
                k: v for k, v in inherited.items() if k not in OWN
            }


def test_what_a_trial_shows(tmp_path: Path, sweep: list[Event]) -> None:
    state = _drained(tmp_path, sweep)
    first, second = _named(state, "t0000 lambda=0.5"), _named(state, "t0001 lambda=1.5")
    assert first["params"] == {"method.lambda": "0.5"}
    assert [(k, s, v) for k, s, _, v in first["points"]] == [
        ("objective/mean", 2, 15.0),
        ("order/running", 1, 10.0),
        ("order/running", 2, 20.0),
    ]
    assert (first["tags"]["had.trial_state"], first["status"]) == ("complete", "FINISHED")
    assert (second["tags"]["had.trial_state"], second["status"]) == ("pruned", "FINISHED")
    below = [r for r in state["runs"].values() if r["tags"].get("had.trial") == "t0001"]
    assert {r["status"] for r in below} == {"FINISHED", "KILLED"}  # the order that it never did
    (dropped,) = [r for r in below if r["status"] == "KILLED"]
    assert dropped["name"] == "had normal>depth s0"
    assert dropped["tags"]["had.message"] == "trial t0001 is pruned"


def test_a_pruned_trial_has_no_value_and_a_sweep_no_test_set(tmp_path: Path, story: Any) -> None:
    story.sweep_started()
    story.trial_finished(story.trial_started(0), TrialState.PRUNED, End.KILLED, mean=99.0)
    story.run_finished()
    state = _drained(tmp_path, story.events)
    assert not [point for run in state["runs"].values() for point in run["points"]]
    assert _named(state, story.run)["datasets"] == [("rooms/train", "a" * 12)]
    assert "had.best_trial" not in _named(state, story.run)["tags"]


def test_the_command_is_whole_in_its_tag_and_short_where_mlflow_cuts_it(
    tmp_path: Path, story: Any
) -> None:
    story.run_started(command="had sweep dataset.path=/data/rooms seed=1", kind=RunKind.SWEEP)
    tags = _named(_drained(tmp_path, story.events), story.run)["tags"]
    assert tags["mlflow.source.name"] == "had sweep"
    assert tags["had.command"] == "had sweep dataset.path=/data/rooms seed=1"


def test_what_a_sweep_shows(tmp_path: Path, sweep: list[Event]) -> None:
    table = tmp_path / "sweeps" / "demo" / "results.parquet"
    table.parent.mkdir(parents=True)
    table.write_bytes(b"rows")
    root = _named(_drained(tmp_path, sweep), sweep[0].run)
    assert root["artifacts"]["results.parquet"] == b"rows"
    assert json.loads(root["artifacts"]["config.json"]) == {"net": {"encoder": "tiny"}}
    assert root["tags"]["had.best_trial"] == "t0000"
    assert [(k, s, v) for k, s, _, v in root["points"]] == [
        ("best/mean", 0, 15.0),
        ("best/mean", 1, 15.0),
        ("trial/mean", 0, 15.0),
    ]
    assert root["tags"]["mlflow.note.content"].splitlines() == [
        "Trials: 1 complete, 1 pruned.",
        "",
        "| best trial | t0000 |",
        "|---|---|",
        "| **mean** (maximize) | 15 |",
        "| method.lambda | 0.5 |",
        "",
        "| to | type |",
        "|---|---|",
        f"| continue | `had resume {sweep[0].run}` |",
        "| compare | `had compare method.lambda=0.5` |",
        f"| rerun a stage | `had rerun {'1a' * 6}` |",
    ]


def test_commands_repeat_what_the_sweep_was_begun_with(tmp_path: Path, story: Any) -> None:
    config = {"method": {"lambda": 3, "loss": {"beta": 0.5}}, "store": {"root": "/data/store"}}
    for command in ("had sweep order='[depth, normal]' search.trials=4 name=x", "had resume x"):
        story.run_started(
            command=command,
            config=config,
            kind=RunKind.SWEEP,
            objectives={"mean": Direction.MAXIMIZE},
            commands={"test": "had run {settings} {best}", "rerun": "had rerun {stage}"},
        )
    weights = {"method.lambda.depth": 0.25, "method.lambda.normal": 2.5, "method.loss.beta": 0.1}
    story._add(TrialStarted, trial="t0000", number=0, params=weights)
    story.trial_finished("t0000", mean=1.0)
    note = _named(_drained(tmp_path, story.events), story.run)["tags"]["mlflow.note.content"]
    assert note.splitlines()[-5:] == [
        "In store `/data/store`:",
        "",
        "| to | type |",
        "|---|---|",
        "| test | `had run 'order=[depth, normal]' 'method.lambda={depth:0.25,normal:2.5}' "
        "method.loss.beta=0.1` |",
    ]


def test_the_command_that_compares_the_best_can_be_typed(tmp_path: Path, story: Any) -> None:
    begun = ["experiment=quickstart", "method.loss.k=0.8", "train.epochs=2"]
    config = compose([*begun, "orders=all"], search="tpe").to_json()
    story.run_started(
        command=shlex.join(["had", "sweep", *begun, "search.trials=9"]),
        config=config,
        kind=RunKind.SWEEP,
        objectives={"mean": Direction.MAXIMIZE},
        commands={"compare": "had compare {data} methods=[naive,lwf] {method}"},
    )
    params = {"method.lambda": 2.5, "method.loss.beta": 0.25}
    story._add(TrialStarted, trial="t0000", number=0, params=params)
    story.trial_finished("t0000", mean=1.0)
    run = _named(_drained(tmp_path, story.events), story.run)
    (line,) = [x for x in run["tags"]["mlflow.note.content"].splitlines() if "| compare |" in x]
    words = shlex.split(line.split("`")[1])
    assert words[:2] == ["had", "compare"]
    compared = compose(words[2:], searches=False)
    assert compared.train.epochs == 2
    assert list(compared.compared) == ["naive", "lwf", "best"]
    best = HadConfig(weight=2.5, loss=HadLossConfig(beta=0.25, k=0.8))
    assert compared.compared["best"] == best
    shown = {"dataset": "rooms", "method": "had", "orders": "6", "sampler": "tpe", "seeds": "1"}
    assert shown.items() <= run["params"].items()
    assert run["params"]["searched"].startswith("method.")
    assert all(len(value) < 100 for value in run["params"].values())


def test_a_table_announced_again_is_copied_again(tmp_path: Path, sweep: list[Event]) -> None:
    table = tmp_path / "sweeps" / "demo" / "results.parquet"
    table.parent.mkdir(parents=True)
    table.write_bytes(b"old")
    client = FakeMlflow()
    _append(tmp_path, sweep)
    writer = _writer(tmp_path, sweep[0].run, client)
    writer.drain()
    table.write_bytes(b"new")
    announced = next(e for e in sweep if isinstance(e, RunFiles))
    later = sweep[-1].time + 10
    _append(tmp_path, [replace(announced, time=later), replace(sweep[-1], time=later + 1)])
    assert writer.drain().written == 1
    assert _named(snapshot(client), sweep[0].run)["artifacts"]["results.parquet"] == b"new"


def test_fake_and_real_mlflow_end_in_the_same_state(store: Path, sweep: list[Event]) -> None:
    _append(store, sweep)
    fake, real = FakeMlflow(), TrackingLocation.of(store).client()
    _writer(store, sweep[0].run, fake).drain()
    _writer(store, sweep[0].run, real).drain()
    assert snapshot(real) == snapshot(fake)
    assert _writer(store, sweep[0].run, real).drain().written == 0


def test_bit_by_bit_and_by_other_processes_it_becomes_the_same(
    tmp_path: Path, sweep: list[Event]
) -> None:
    run = sweep[0].run
    at_once, client = FakeMlflow(), FakeMlflow()
    _append(tmp_path / "whole", sweep)
    _writer(tmp_path / "whole", run, at_once).drain()
    target = tmp_path / "parts" / "journal" / run
    target.mkdir(parents=True)
    shutil.copy(tmp_path / "whole" / "journal" / run / "id.json", target)
    writer = _writer(tmp_path / "parts", run, client)
    for number, event in enumerate(sweep):
        _append(tmp_path / "parts", [event])
        if number % 9 == 8:
            writer = _writer(tmp_path / "parts", run, client)
        writer.drain()
    assert snapshot(client) == snapshot(at_once)


@pytest.mark.usefixtures("lines_decoded_once")
def test_stopped_at_every_write_and_drained_again(tmp_path: Path, sweep: list[Event]) -> None:
    run = sweep[0].run
    _append(tmp_path, sweep)
    whole = FakeMlflow()
    counter = Faulty(whole)
    _writer(tmp_path, run, counter).drain()
    wanted = snapshot(whole)
    assert len(counter.calls) > 60
    for at, name in enumerate(counter.calls):
        when = ("before", "after")[at % 2]
        client = FakeMlflow()
        with pytest.raises(Killed):
            _writer(tmp_path, run, Faulty(client, at, when)).drain()
        _writer(tmp_path, run, client).drain()
        assert snapshot(client) == wanted, (at, name, when)


@pytest.mark.parametrize("cut", range(1, 38, 3))
def test_no_run_is_left_running_wherever_the_driver_was_killed(
    tmp_path: Path, sweep: list[Event], cut: int
) -> None:
    killed = [*sweep[:cut], replace(sweep[-1], time=sweep[cut].time, end=End.KILLED)]
    state = _drained(tmp_path, killed)
    assert "RUNNING" not in {run["status"] for run in state["runs"].values()}
    assert {run["tags"]["had.kind"] for run in state["runs"].values()} >= {"sweep"}


@pytest.mark.parametrize("marked", [True, False])
def test_what_a_killed_driver_left_open_does_not_run_again_with_the_next_one(
    tmp_path: Path, story: Any, marked: bool
) -> None:
    """Its setting comes again as another trial, under which the stage goes on."""
    client = FakeMlflow()
    writer = _writer(tmp_path, story.run, client)
    for number in range(2):
        begun = len(story.events)
        story.sweep_started()
        trial = story.trial_started(number)
        name = story.sequence_started("had", ("depth", "normal"), trial=trial)
        ref = story.ref(name, 1, "1" * 64, None)
        story.stage_started(ref, attempt=number + 1)
        story.epoch(ref, number + 1, attempt=number + 1)
        if not number and marked:
            story.run_finished(End.KILLED)
        _append(tmp_path, story.events[begun:])
        writer.drain()
    runs = snapshot(client)["runs"].values()
    status = {run["tags"].get("had.trial", ""): set() for run in runs}
    for run in runs:
        status[run["tags"].get("had.trial", "")].add(run["status"])
    assert status == {"": {"RUNNING"}, "t0000": {"KILLED"}, "t0001": {"RUNNING"}}
    root = _named(snapshot(client), story.run)
    assert "Trials: 1 running, 1 interrupted." in root["tags"]["mlflow.note.content"]


def test_an_extended_sweep_goes_on_in_the_same_run(tmp_path: Path, story: Any) -> None:
    client = FakeMlflow()
    story.sweep_started()
    for number in range(4):
        if number == 2:
            story.run_finished()
            _append(tmp_path, story.events)
            _writer(tmp_path, story.run, client).drain()
            done = len(story.events)
            story.sweep_started()
        trial = story.trial_started(number)
        name = story.sequence_started("had", ("depth",), trial=trial)
        story.trained(story.ref(name, 1, f"{number}" * 64, None))
        story.sequence_finished(name)
        story.trial_finished(trial, mean=float(number))
    _append(tmp_path, story.events[done:])
    _writer(tmp_path, story.run, client).drain()
    state = snapshot(client)
    root = _named(state, story.run)
    assert root["status"] == "RUNNING"
    assert root["tags"]["had.best_trial"] == "t0003"
    assert [(s, v) for k, s, _, v in root["points"] if k == "best/mean"] == [
        (0, 0.0),
        (1, 1.0),
        (2, 2.0),
        (3, 3.0),
    ]
    assert len(_kinds(state)["trial"]) == 4


def test_lost_in_mlflow_it_is_written_anew(tmp_path: Path, sweep: list[Event]) -> None:
    """Somebody put an empty MLflow in place while the sweep went on."""
    half = next(n for n, e in enumerate(sweep) if getattr(e, "trial", "") == "t0001") + 1
    run = sweep[0].run
    whole, client = FakeMlflow(), FakeMlflow()
    _append(tmp_path, sweep[:half])
    writer = _writer(tmp_path, run, client)
    writer.drain()
    for table in (client.runs, client.models, client.artifacts, client.experiments):
        table.clear()
    _append(tmp_path, sweep[half:])
    for _ in range(3):
        try:
            writer.drain()
        except Exception:  # as the companion of the driver does, it tries again
            continue
        break
    _writer(tmp_path, run, whole).drain()
    assert snapshot(client) == snapshot(whole)


def test_with_two_objectives_the_front_is_best(tmp_path: Path, story: Any) -> None:
    story.sweep_started(final=Direction.MAXIMIZE, forgetting=Direction.MINIMIZE)
    values = [(1.0, 0.1), (3.0, 0.3), (2.0, 0.4), (1.0, 0.1)]
    for number, (final, forgetting) in enumerate(values):
        trial = story.trial_started(number)
        story.trial_finished(trial, final=final, forgetting=forgetting)
    story.trial_finished(story.trial_started(4), TrialState.FAILED, End.FAILED)
    story.run_finished()
    root = _named(_drained(tmp_path, story.events), story.run)
    assert root["tags"]["had.best_trial"] == "t0000,t0001"
    assert not [p for p in root["points"] if p[0].startswith("best/")]
    assert "| best trials | t0000 | t0001 |" in root["tags"]["mlflow.note.content"]
    assert "Trials: 4 complete, 1 failed." in root["tags"]["mlflow.note.content"]


def test_a_comparison(tmp_path: Path, story: Any) -> None:
    story.run_started(kind=RunKind.COMPARE, commands={"continue": "had resume demo"})
    for method, gain in (("naive", 0.0), ("had", 10.0)):
        for seed in (0, 1):
            name = story.sequence_started(method, ("depth",), seed)
            story.trained(story.ref(name, 1, f"{method}{seed}", None))
            story.sequence_finished(name, delta_m_pct=gain + seed)
    story.run_finished()
    state = _drained(tmp_path, story.events)
    root = _named(state, story.run)
    assert root["tags"]["had.kind"] == "compare"
    sequences = _kinds(state)["sequence"]
    assert {s["tags"]["mlflow.parentRunId"] for s in sequences} == {root["tags"]["had.uid"]}
    assert [(k, v) for k, _, _, v in root["points"]] == [
        ("delta_m_pct/had", 10.5),
        ("delta_m_pct/naive", 0.5),
    ]
    note = root["tags"]["mlflow.note.content"].splitlines()
    assert "| had | 2 of 2 | 10.5 ± 0.71 |" in note
    assert "| continue | `had resume demo` |" in note


def test_following_a_sweep_costs_what_happens_not_what_has_happened(
    new_story: Callable[..., Any],
) -> None:
    """No timing: the records that are looked at again while 60 trials go by."""
    story = new_story()
    story.sweep_started()
    given = 0
    written: set[str] = set()
    read: list[str] = []
    entries: dict[str, Entry] = {}

    def reread(names: Any) -> list[Entry]:
        read.extend(names)
        return [entries[name] for name in names]

    fold = Fold("j", story.run, reread)
    for number in range(60):
        begun = len(story.events)
        trial = story.trial_started(number)
        for order in (("depth", "normal"), ("normal", "depth")):
            name = story.sequence_started("had", order, trial=trial)
            story.trained(story.ref(name, 1, order[0], None))
            story.sequence_finished(name)
        story.trial_finished(trial, mean=1.0)
        new = [Entry(e, f"{begun + n}", 0) for n, e in enumerate(story.events[begun:])]
        entries.update({entry.segment: entry for entry in new})
        if not number:
            new.append(Entry(story.events[0], "first", 0))
        for half in (new[:9], new[9:]):
            fold.add(half)
            records = fold.changed()
            given += len(records)
            written.update(record.uid for record in records)
            for record in records:
                fold.settle(record.uid)
    assert len(written) == 60 * 5 + 1
    assert given < 3 * len(written)
    assert not read, "nothing that was forgotten had to be read again"
    kept = sum(len(s.entries) + len(s.stages) for s in fold._sequences.values())
    assert kept == 0
