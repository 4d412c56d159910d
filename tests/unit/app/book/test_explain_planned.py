"""``had explain`` of a stage that was expected in the store and is not, or of one alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestrator.app.plan import plan
from orchestrator.config import compose
from orchestrator.plan import ArtifactKind
from orchestrator.store import Store


@pytest.fixture
def words(tiny, ran):
    """Overrides of the run whose store is looked into."""
    return tiny(ran.store, "reference=naive")


@pytest.fixture
def keys(ran):
    return {s.method: [stage.key for stage in s.stages] for s in ran.result.sequences}


@pytest.fixture
def explained(document, ran):
    return lambda *words: document("explain", *words, "--store", str(ran.store))


def planned(words):
    rows = plan(compose(words)).plan["rows"]
    return {(row["stage"].partition(":")[0], row["position"]): row["key"] for row in rows}


def test_settings_that_do_not_find_a_stage_are_told_by_field(words, keys, explained, had, ran):
    asked = [*words, "method.lambda=7", "train.lr=0.002"]
    found = explained(keys["had"][1], *asked)
    assert (found["chosen"], found["left_sealed"], found["right_sealed"]) == (
        "planned",
        True,
        False,
    )
    assert found["right"] == planned(asked)["had", 2]
    fields = [[each["field"] for each in level["fields"]] for level in found["levels"]]
    assert fields == [["train.lr"], ["method.lambda", "train.lr"]]
    shown = had("explain", keys["had"][1][:12], *asked, "--store", str(ran.store)).stdout
    for text in ("is planned by these settings", "is not in the store", "they part at stage 1"):
        assert text in shown


def test_settings_that_do_find_it_are_the_same_stage(words, keys, explained):
    found = explained(keys["had"][1], *words)
    assert found["same"] and found["right_sealed"]


def test_a_planned_key_is_compared_with_the_nearest_sealed_stage(words, keys, explained, refused):
    asked = [*words, "method.lambda=7"]
    key = planned(asked)["had", 2]
    found = explained(key[:12], *asked)
    assert (found["left"], found["right"]) == (key, keys["had"][1])
    assert (found["chosen"], found["left_sealed"]) == ("nearest", False)
    (level,) = found["levels"]
    assert level["fields"] == [{"field": "method.lambda", "left": 7, "right": 3}]
    two = explained(key[:12], keys["naive"][1], *asked)
    assert (two["chosen"], two["right"]) == ("named", keys["naive"][1])
    assert "begins no fit" in refused("explain", key[:12], "--store", two["store"])


def test_a_stage_alone_is_compared_with_the_nearest_other(keys, explained, refused, ran):
    found = explained(keys["had"][1])
    assert (found["right"], found["chosen"]) == (keys["naive"][1], "nearest")
    assert "no other stage that knows semantic" in refused(
        "explain", keys["had"][0], "--store", str(ran.store)
    )


def test_a_stage_that_a_recorded_run_plans_is_found_by_its_key(keys, ran, tmp_path, document):
    shutil.copytree(ran.store, tmp_path / "copy")
    key = keys["had"][1]
    shutil.rmtree(tmp_path / "copy" / "fit" / key[:2] / key)
    found = document("explain", key[:12], "--store", str(tmp_path / "copy"))
    assert (found["left"], found["left_sealed"]) == (key, False)
    assert found["right"] == keys["naive"][1]


def test_what_cannot_be_compared_is_refused(words, keys, refused, ran):
    where = ["--store", str(ran.store)]
    other = [word for word in words if not word.startswith("order=")]
    for given, sentence in [
        (["method=had"], "a stage is missing"),
        (["a", "b", "c"], "a b c are 3 stages"),
        ([keys["had"][1], *other, "order=[depth,semantic]"], "plan no stage that knows semantic"),
        ([keys["had"][1], *words, "method.lamda=3"], "method.lamda"),
        ([keys["had"][1][:12], "search=tpe"], "search"),
    ]:
        assert sentence in refused("explain", *given, *where)


def test_a_read_only_store_is_explained_shown_and_listed(ran, keys, tmp_path, had, read_only):
    root = tmp_path / "copy"
    shutil.copytree(ran.store, root)
    (net,) = Path(root, "fit", keys["had"][1][:2], keys["had"][1]).glob("data-*/net.safetensors")
    net.write_bytes(b"short")
    before = sorted(str(path) for path in root.rglob("*"))
    read_only(root)
    where = ["--store", str(root)]
    assert had("runs", *where).exit_code == had("runs", "tiny", *where).exit_code == 0
    assert had("show", keys["had"][0], *where).exit_code == 0
    assert had("explain", keys["had"][0], keys["naive"][1], *where).exit_code == 0
    damaged = had("explain", keys["had"][1], keys["naive"][1], *where)
    assert damaged.exit_code == 2 and "is damaged" in damaged.stderr
    assert sorted(str(path) for path in root.rglob("*")) == before
    assert Store.open(root).keys(ArtifactKind.FIT)
