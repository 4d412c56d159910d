"""``had compare`` from settings to tables, on a data set of a few images, without Ray."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from had_core.errors import BadInput
from orchestrator.app.book.reporting import report
from orchestrator.app.compare import compare
from orchestrator.app.plan import plan
from orchestrator.app.rerun import rerun
from orchestrator.app.run import recorded, run
from orchestrator.config import StoreConfig, changed, compose, forked
from orchestrator.display.compare_tables import compare_tables
from orchestrator.display.live import SilentDisplay
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store import Store
from orchestrator.tracking.events import RunFiles, RunKind, RunStarted, SequenceStarted, StageReused
from orchestrator.tracking.journal import JournalReader

pytestmark = pytest.mark.integration

METHODS = "methods={naive:{name:naive},full:{name:had},off:{name:had,lambda:0},joint:{name:joint}}"
ORDERS = "orders=[[semantic,depth],[depth,semantic]]"


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """Two orders: 2 first stages, 2 of naive (and lambda 0), 2 of full, 2 of joint."""
    store = tmp_path_factory.mktemp("compared") / "store"
    given = [text for text in tiny(store) if not text.startswith("order=")]
    config = compose([*given, "tasks=[semantic,depth]", ORDERS, METHODS, "name=cmp"])
    planned = plan(config)
    result = compare(config, SilentDisplay(Console(file=io.StringIO())))
    return SimpleNamespace(store=store, config=config, planned=planned, result=result)


def test_every_stage_is_trained_once(whole):
    assert whole.planned.plan["stages_wanted"] == 14
    assert whole.planned.plan["unique"] == whole.result.run.stages_trained == 8
    assert len(list(Store.open(whole.store).keys(ArtifactKind.FIT))) == 8
    assert (whole.result.run.stages_reused, whole.result.run.failures) == (0, ())
    of = {row["key"]: row["methods"] for row in whole.planned.plan["rows"]}
    assert sorted(map(tuple, of.values())) == [
        ("full",),
        ("full",),
        ("joint",),
        ("joint",),
        ("naive", "full", "off"),
        ("naive", "full", "off"),
        ("naive", "off"),
        ("naive", "off"),
    ]


def test_lambda_0_is_naive_in_every_number(whole):
    by_label = {s.method: s for s in whole.result.methods}
    naive, off = by_label["naive"], by_label["off"]
    assert off.final == naive.final
    assert (off.delta_m_pct.mean, off.delta_m_pct.std) == (0, 0)
    tied = next(p for p in whole.result.paired if (p.method, p.against) == ("off", "naive"))
    assert (tied.won, tied.tied, tied.lost) == (0, 2, 0)
    assert off.mean_rank == naive.mean_rank
    ranks = [s.mean_rank.mean for s in whole.result.methods]
    assert sum(ranks) == pytest.approx(1 + 2 + 3 + 4)


def test_joint_is_a_bound_that_forgets_nothing_because_it_never_knew(whole):
    joint = next(s for s in whole.result.methods if s.method == "joint")
    assert not joint.lifelong
    assert joint.forgetting is None and joint.bwt is None
    assert joint.complete == joint.sequences == 2
    shown = io.StringIO()
    Console(file=shown, width=120).print(compare_tables(whole.result))
    assert "(joint)" in shown.getvalue()
    assert "8 stages: 8 trained, 0 reused" in shown.getvalue()


def test_it_is_scored_on_the_test_set_and_told_as_a_comparison(whole):
    events = JournalReader.open(str(whole.store), "cmp").events()
    (start,) = (e for e in events if isinstance(e, RunStarted))
    assert start.kind is RunKind.COMPARE
    sequences = [e for e in events if isinstance(e, SequenceStarted)]
    assert {e.method for e in sequences} == {"naive", "full", "off", "joint"}
    (full,) = {
        (e.params["method_name"], e.params["lambda"]) for e in sequences if e.method == "full"
    }
    assert full == ("had", 3)
    assert all("method_name" not in e.params for e in sequences if e.method == "joint")
    assert all(set(e.rows) == {"test"} for e in events if isinstance(e, StageReused))


def test_every_value_is_in_a_table_beside_the_stages(whole):
    import pyarrow.parquet as pq

    table = pq.read_table(whole.result.results).to_pylist()
    deltas = {
        (row["label"], row["order"]): row["value"]
        for row in table
        if row["metric"] == "delta_m_pct"
    }
    assert len(deltas) == 8
    assert deltas["full", "semantic>depth"] == delta_of(whole, "full")
    assert {row["method"] for row in table if row["label"] == "off"} == {"had"}
    assert {row["split"] for row in table} == {"test"}
    (told,) = (
        e for e in JournalReader.open(str(whole.store), "cmp").events() if isinstance(e, RunFiles)
    )
    assert Store.open(whole.store).fs.read(told.files["results.parquet"])


def test_it_continues_by_its_name_and_trains_nothing_twice(whole, display):
    again = compare(recorded(str(whole.store), "cmp"), display)
    assert list(again.run.metrics) == ["semantic", "depth"]
    assert [s.method for s in again.methods] == ["naive", "full", "off", "joint"]
    assert (again.run.stages_trained, again.run.stages_reused) == (0, 8)
    assert [s.final for s in again.methods] == [s.final for s in whole.result.methods]


def test_a_fork_and_a_run_share_its_stages(whole, tiny, display):
    known = recorded(str(whole.store), "cmp")
    fork = forked(changed(known, ["methods.off.lambda=1"]), known)
    result = compare(fork, display)
    assert (result.run.stages_trained, result.run.stages_reused) == (2, 8)
    assert result.run.name.startswith("cmp-")
    alone = run(compose(tiny(whole.store, "reference=naive")), display)
    assert alone.stages_trained == 0
    assert alone.sequences[1].delta_m_pct == pytest.approx(delta_of(whole, "full"))


def delta_of(whole, method):
    return next(
        s.delta_m_pct
        for s in whole.result.run.sequences
        if s.method == method and s.order == ("semantic", "depth")
    )


@pytest.mark.parametrize("label", ["full", "joint"])
def test_its_stages_can_be_rerun(whole, display, label):
    sequence = next(s for s in whole.result.run.sequences if s.method == label)
    key = sequence.stages[-1].key
    again = rerun(key[:16], StoreConfig(str(whole.store)), [], display)
    assert again.reproduced is True
    assert again.row == again.sealed_row


def test_a_name_stands_for_one_comparison(whole, display):
    known = recorded(str(whole.store), "cmp")
    other = changed(known, ["train.epochs=2"])
    with pytest.raises(BadInput, match=r"name=cmp stands for other settings \(train\.epochs=2 in"):
        compare(other, display)


def test_its_report_has_the_same_numbers_wherever_the_data_set_is(whole, monkeypatch):
    found = report("cmp", str(whole.store))
    assert found.result.methods == whole.result.methods
    assert found.result.paired == whole.result.paired
    assert (found.kind, found.state, found.split) == ("compare", "finished", "test")
    assert found.troubles == ()
    assert (found.cost.wanted, found.cost.unique, found.cost.trained) == (14, 8, 8)
    monkeypatch.setattr("orchestrator.app.book.report_data._from_manifest", lambda *_: None)
    moved = report("cmp", str(whole.store))
    assert [s.delta_m_pct for s in moved.result.methods] == [
        s.delta_m_pct for s in whole.result.methods
    ]


def test_its_report_shows_what_was_predicted_after_each_stage(whole):
    gallery = report("cmp", str(whole.store)).gallery
    assert [e.task for e in gallery.examples] == ["semantic", "depth"]
    semantic, depth = gallery.examples
    assert semantic.titles == ("after semantic", "after depth")
    assert depth.titles == ("after depth",)
    assert {shown.method for shown in depth.shown} == {"naive", "full", "off"}
    assert gallery.left_out == ""
