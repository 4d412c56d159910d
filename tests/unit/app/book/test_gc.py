"""``had gc``: what goes, what stays, and that nothing that is needed ever goes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from killing_fs import KillingFs
from made_up_store import MadeUpStore, row_of

from had_core.configs import TrainConfig
from had_core.methods import HadConfig, NaiveConfig
from orchestrator.app.book import collecting
from orchestrator.app.book.collecting import collect
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.search.settings import FloatRange, SearchConfig
from orchestrator.store import LocalFs, Store
from orchestrator.store.claims import Claims
from orchestrator.tracking.events import RunStarted, TrialStarted
from orchestrator.tracking.journal import Journal

FIT, EVAL = ArtifactKind.FIT, ArtifactKind.EVAL
TASKS = ("semantic", "depth", "normal")
METHODS = (NaiveConfig(), HadConfig(), HadConfig(weight=7.0))


def stages_of(sequences):
    """Key -> spec of every stage of some sequences, oldest first."""
    return {stage.key: stage.fit for each in sequences for stage in each.stages}


def closed(fits, keys):
    """The keys with those of all ancestors."""
    return {each.key for key in keys for each in fits[key].lineage()}


def sealed(store, kind=FIT):
    return set(store.keys(kind))


runs = st.lists(
    st.tuples(
        st.sampled_from(METHODS),
        st.lists(st.permutations(TASKS), min_size=1, max_size=2, unique_by=tuple),
        st.booleans(),  # dropped afterwards
        st.integers(0, 3),  # journals lost, and only some of its stages trained, where 0
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=12, phases=(Phase.generate,))
@given(runs=runs, data=st.data())
def test_nothing_needed_goes_and_everything_else_does(runs, data):
    os.fsync, before = (lambda handle: None), os.fsync
    root = Path(tempfile.mkdtemp())
    try:
        made = MadeUpStore(root)
        store, fits, needed = made.store, {}, set()
        for number, (method, orders, dropped, journal) in enumerate(runs):
            name = f"run-{number}"
            mine = stages_of(made.run(name, method=method, orders=orders))
            fits |= mine
            if journal == 0:
                shutil.rmtree(root / "journal" / name)
            if dropped:
                store.runs.drop(name)
            else:
                needed |= set(mine)
        keys = sorted(fits)
        some = st.lists(st.sampled_from(keys), max_size=2, unique=True)
        for key in data.draw(some, label="registered"):
            store.registered.add("model", key, "")
            needed |= closed(fits, [key])
        for key in data.draw(some, label="kept by a rerun"):
            store.runs.create(f"rerun-{key[:12]}", {}, [each.key for each in fits[key].lineage()])
            needed |= closed(fits, [key])
        held = {key: store.claims.take(key) for key in data.draw(some, label="being trained")}
        needed |= closed(fits, held)
        for key in data.draw(some, label="with progress"):
            store.partial(key).write(b"state", {})

        listed = collect(str(root))
        assert sealed(store) == set(keys), "it is dry by default"
        result = collect(str(root), apply=True)
        assert result.garbage == listed.garbage and result.skipped == 0
        assert {each.key for each in result.garbage} == set(keys) - needed
        assert sealed(store) == needed
        owners = {store.manifest(EVAL, key)["fit"] for key in store.keys(EVAL)}
        assert owners == needed
        left = {
            key for shard in store.fs.names("partial") for key in store.fs.names(f"partial/{shard}")
        }
        assert left <= needed
        assert collect(str(root)).garbage == ()
        for claim in held.values():
            claim.release()
    finally:
        os.fsync = before
        shutil.rmtree(root)


def test_sizes_add_up_to_what_is_freed(made):
    made.run("a")
    before = used(made)
    assert collect(made.store.uri).garbage == ()
    made.store.runs.drop("a")
    result = collect(made.store.uri, apply=True)
    assert [len(each.tasks) for each in result.garbage] == [3, 2, 1], "children first"
    assert {each.run for each in result.garbage} == {"a"}
    assert (used(made), result.bytes) == (0, before)


def used(made):
    rooms = ("fit", "eval", "partial", "damaged")
    files = [p for room in rooms for p in Path(made.store.uri, room).rglob("*") if p.is_file()]
    return sum(path.stat().st_size for path in files)


def test_a_run_that_begins_meanwhile_keeps_its_stages(made, monkeypatch):
    made.run("old", orders=(TASKS,))
    made.run("other", orders=(TASKS[::-1],))
    for name in ("old", "other"):
        made.store.runs.drop(name)
    # A driver that records its name and has written nothing else yet; its data set is elsewhere.
    config = made.config("new", HadConfig(), (TASKS,), (0,), TrainConfig())
    take, begun = Claims.take, []

    def take_late(self, key):
        if not begun:
            begun.append(made.store.runs.create("new", config.to_json()))
        return take(self, key)

    monkeypatch.setattr(Claims, "take", take_late)
    result = collect(made.store.uri, apply=True)
    assert {each.run for each in result.garbage} == {"other"} and result.skipped == 3
    assert len(sealed(made.store)) == 3


def test_a_trial_that_begins_meanwhile_keeps_its_stages(made, monkeypatch):
    """A sweep's needs grow while it runs."""
    wanted = stages_of(made.run("old", method=HadConfig(weight=5.0)))
    made.store.runs.drop("old")
    config = made.config("swept", HadConfig(), (TASKS,), (0,), TrainConfig())
    space = {"method.lambda": FloatRange(1.0, 9.0)}
    search = SearchConfig(trials=2, space=space)
    config = replace(config, reference=NaiveConfig(), search=search)
    made.store.runs.create("swept", config.to_json())
    journal = Journal(made.store.uri, "swept")
    journal.append(RunStarted(time=1.0, run="swept", recipe="r", config=config.to_json()))
    needs, looks = collecting.Needs.refresh, []

    def refresh(self, **more):
        looks.append(1)
        if len(looks) == 2:
            params = {"method.lambda": 5.0}
            journal.append(
                TrialStarted(time=2.0, run="swept", trial="t0001", number=1, params=params)
            )
            journal.flush()
        needs(self, **more)

    monkeypatch.setattr(collecting.Needs, "refresh", refresh)
    assert len(collect(made.store.uri).garbage) == 3
    looks.clear()
    result = collect(made.store.uri, apply=True)
    journal.close()
    assert (result.garbage, result.skipped) == ((), 3)
    assert sealed(made.store) == set(wanted)


def test_a_death_while_deleting_leaves_a_sound_store(made, tmp_path, monkeypatch):
    """At every write: what is still sealed is whole, and the next gc ends what was begun."""
    kept = stages_of(made.run("kept", orders=(TASKS,)))
    made.run("gone", method=HadConfig(weight=9.0), orders=(TASKS,))
    made.store.runs.drop("gone")

    class Death(BaseException):
        pass

    writes = 0
    while True:
        root = tmp_path / f"store-{writes}"
        shutil.copytree(made.store.uri, root)
        fs = KillingFs(LocalFs(str(root)), writes)
        monkeypatch.setattr(KillingFs, "_step", dying(Death))
        monkeypatch.setattr(collecting, "open_existing", lambda _, fs=fs: Store(fs))
        try:
            collect(str(root), apply=True)
            break
        except Death:
            monkeypatch.undo()
            store = Store.open(root)
            for kind in (FIT, EVAL):
                for key in store.keys(kind):
                    assert store.load(kind, key) is not None
            assert store.damaged == () and set(kept) <= sealed(store)
            collect(str(root), apply=True)
            assert sealed(store) == set(kept) and len(store.keys(EVAL)) == len(kept)
            assert Path(root, "fit").exists() and not list(Path(root, "fit").glob("*/*/data-*/x"))
            writes += 1
    assert writes > 12


def dying(death):
    """Instead of SIGKILL, which would need a process for every point."""

    def step(self, what, do, torn=None):
        number = len(self.log)
        self.log.append(what)
        if number == self.point:
            raise death
        return do()

    return step


def test_damaged_copies_go_with_their_stage(made):
    keys = list(stages_of(made.run("a")))
    lost, again = keys[2], keys[0]
    for key in (lost, again):
        (net,) = Path(made.store.uri, "fit", key[:2], key).glob("data-*/net.safetensors")
        net.write_bytes(b"wrong!!")
        assert made.store.load(FIT, key) is None
    made.run("b", orders=(("semantic", "normal", "depth"),))  # makes the first stage again
    assert collect(made.store.uri).garbage == ()
    made.store.runs.drop("a")
    result = collect(made.store.uri, apply=True)
    assert {(each.key, each.what) for each in result.garbage} == {
        (keys[1], "stage"),
        (lost, "rest"),
    }
    assert again in sealed(made.store) and not {keys[1], lost} & sealed(made.store)
    assert not Path(made.store.uri, f"damaged/fit-{lost}-0").exists()
    assert Path(made.store.uri, f"damaged/fit-{again}-0").exists()


def test_what_a_dead_writer_left_goes(made):
    made.run("a")
    stray = Path(made.store.uri, "eval/ab", "ab" * 32, "data-0123456789abcdef")
    stray.mkdir(parents=True)
    (stray / "row.json").write_bytes(b"half")
    claim = made.store.claims.take("cd" * 32)
    assert collect(made.store.uri).garbage == (), "somebody may be writing it"
    claim.release()
    (line,) = collect(made.store.uri, apply=True).garbage
    assert (line.what, line.key, line.bytes) == ("stray", "ab" * 32, 4)
    assert not stray.parent.exists()


def test_a_lost_record_keeps_what_it_kept(made):
    made.run("a")
    Path(made.store.uri, "runs/a.json").write_text("{}")
    assert made.store.runs.read("a") is None
    assert collect(made.store.uri).garbage == ()
    shutil.rmtree(Path(made.store.uri, "journal/a"))
    assert collect(made.store.uri).garbage == (), "the stages name the run"
    made.store.runs.drop("a")
    assert len(collect(made.store.uri).garbage) == 3


def test_scores_of_constants_stay(made):
    row = json.dumps({"split": "test", "row": row_of(TASKS, 1)}).encode()
    made.store.seal(EVAL, "ef" * 32, {"row.json": row}, {"constant_of": "a" * 64})
    assert collect(made.store.uri, apply=True).garbage == ()
    assert made.store.is_sealed(EVAL, "ef" * 32)


def test_a_read_only_store_is_listed_but_not_collected(made, refused, document, read_only):
    made.run("a")
    made.store.runs.drop("a")
    read_only(made.store.uri)
    assert len(document("gc")["garbage"]) == 3
    assert "cannot be written" in refused("gc", "--apply")
    assert len(sealed(made.store)) == 3


def test_dropping_and_keeping(made, had, document, refused):
    made.run("a")
    assert "'had gc'" not in had("gc").stdout and "nothing to delete" in had("gc").stdout
    assert document("runs", "--drop", "a") == {
        "dropped": ["a"],
        "kept": [],
        "store": made.store.uri,
    }
    (line,) = document("runs")["runs"]
    assert (line["name"], line["kept"], line["stages_trained"]) == ("a", False, 3)
    assert "finished, dropped" in had("runs").stdout
    shown = had("gc").stdout
    assert "3 stages" in shown and "nothing was deleted" in shown and "gc --apply" in shown
    document("runs", "--keep", "a")
    assert document("gc")["garbage"] == [] and document("runs")["runs"][0]["kept"] is True
    for words, sentence in [
        (["--drop", "b"], "run 'b' is not in store"),
        (["--drop", "a", "--drop", "b"], "run 'b' is not in store"),
        (["--drop", "a", "--kind", "run"], "stand alone"),
    ]:
        assert sentence in refused("runs", *words)
    assert document("runs")["runs"][0]["kept"] is True, "nothing was dropped"


def test_a_living_run_cannot_be_dropped(made, refused):
    keys = list(stages_of(made.run("a", end=None)))
    with made.store.claims.take(keys[1]):
        assert f"while its stage {keys[1][:12]} is being trained" in refused("runs", "--drop", "a")
    from orchestrator.tracking.driver_record import announce, retire

    record = announce(made.store.uri, "a", "", 1.0)
    assert f"while process {record.pid}" in refused("runs", "--drop", "a")
    retire(made.store.uri, "a", record, 2.0)
    assert "a" not in made.store.runs.dropped()


def test_a_dropped_run_is_kept_again_by_who_records_it(made):
    made.run("a")
    config = made.store.runs.read("a").config
    made.store.runs.drop("a")
    assert made.store.runs.known("a").config == config and made.store.runs.read("a") is None
    made.store.runs.create("a", config)
    assert made.store.runs.names() == {"a"} and made.store.runs.dropped() == frozenset()
