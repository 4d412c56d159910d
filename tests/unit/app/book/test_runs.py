"""``had runs`` over a made-up store: the list, its filters, and the page of one run."""

from __future__ import annotations

import pytest
from made_up_store import row_of
from made_up_sweep import MadeUpSweep

from orchestrator.tracking.events import End
from orchestrator.tracking.journal import Journal

ORDERS = (("semantic", "depth", "normal"), ("semantic", "normal", "depth"))


@pytest.fixture
def filled(made):
    """Two finished runs that share stages, a failed, a killed and a new one, and a sweep."""
    made.run("first", orders=ORDERS)
    made.run("second", orders=ORDERS[:1])
    made.run("broken", orders=(("depth", "normal"),), end=End.FAILED)
    made.run("gone", orders=(("normal", "depth"),), end=None)
    config = made.store.runs.read("first").config
    made.store.runs.create("waiting", {**config, "name": "waiting"})
    made.store.runs.create("swept", {**config, "name": "swept", "search": {"trials": 3}})
    journal = Journal(made.store.uri, "swept")
    journal.append(*MadeUpSweep("swept", orders=2).whole(3))
    journal.close()
    return made


def by_name(found):
    return {line["name"]: line for line in found["runs"]}


def test_every_run_with_its_state_and_counts(filled, document):
    found = by_name(document("runs"))
    states = {name: line["state"] for name, line in found.items()}
    assert states == {
        "first": "finished",
        "second": "finished",
        "broken": "failed",
        "gone": "killed",
        "waiting": "new",
        "swept": "finished",
    }
    first, second, swept = (found[name] for name in ("first", "second", "swept"))
    assert (first["sequences"], first["stages_trained"], first["stages_reused"]) == (2, 5, 0)
    assert (second["sequences"], second["stages_trained"], second["stages_reused"]) == (1, 0, 3)
    assert (swept["kind"], swept["trials"], first["kind"]) == ("sweep", 3, "run")
    assert found["waiting"]["sequences"] == 0 and found["waiting"]["created"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--kind", "sweep"], {"swept"}),
        (["--state", "killed"], {"gone"}),
        (["*s*"], {"first", "second", "swept"}),
        (["?irst"], {"first"}),
        (["s*", "--kind", "run", "--state", "finished"], {"second"}),
        (["none*"], set()),
    ],
)
def test_filters(filled, document, words, names):
    assert set(by_name(document("runs", *words))) == names


def test_a_run_lists_its_sequences_with_their_last_headline_metrics(filled, document):
    page = document("runs", "first")
    assert page["run"]["name"] == "first"
    one, two = page["sequences"]
    assert (one["order"], one["method"], one["seed"]) == (list(ORDERS[0]), "had", 0)
    assert [len(each["stages"]) for each in (one, two)] == [3, 3]
    assert one["stages"][0] == two["stages"][0]
    last = row_of(ORDERS[0], 3)
    headline = {"semantic": "miou", "depth": "abs_err", "normal": "mean_deg"}
    assert one["headline"] == {t: {m: last[t][m]} for t, m in headline.items()}
    assert (one["split"], one["delta_m_pct"], one["forgetting"]) == ("test", -1.5, 0.25)
    assert (one["state"], one["trial"], page["trials"]) == ("finished", None, [])


def test_a_sweep_lists_its_trials(filled, document, had):
    page = document("runs", "swept")
    assert [trial["label"] for trial in page["trials"]] == ["t0000", "t0001", "t0002"]
    assert all(trial["params"] for trial in page["trials"])
    assert {each["trial"] for each in page["sequences"]} >= {"t0000", "t0002"}
    assert "t0002" in had("runs", "swept").stdout


def test_people_read_tables(filled, had):
    shown = had("runs").stdout
    assert all(name in shown for name in ("first", "broken", "killed", "sweep"))
    page = had("runs", "first").stdout
    assert "had:semantic>depth>normal:s0" in page and "miou 38.0" in page
    assert "no runs" in had("runs", "none*").stdout
    assert "waiting: new" in had("runs", "waiting").stdout


def test_a_damaged_record_leaves_the_journal_to_tell(filled, document, refused):
    path = f"{filled.store.uri}/runs/second.json"
    with open(path, "w") as file:
        file.write("{}")
    line = by_name(document("runs"))["second"]
    assert (line["kind"], line["state"], line["stages_reused"]) == ("run", "finished", 3)
    assert line["created"].startswith("2023-11-14T")
    assert "run 'second' has no record in store" in refused("report", "second")


def test_bad_input_is_refused_by_name(filled, refused):
    assert "is it one of first" in refused("runs", "frist")
    assert "run 'zzz' is not in store" in refused("runs", "zzz")
    assert "run, compare, sweep" in refused("runs", "--kind", "trial")
    assert "running, finished" in refused("runs", "--state", "done")
    assert "holds no store" in refused("runs", "--store", f"{filled.store.uri}-not")
