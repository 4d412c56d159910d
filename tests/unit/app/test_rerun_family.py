"""``had rerun`` with what a stage starts from, and with what starts from it."""

from __future__ import annotations

import shutil

import pytest

from had_core.errors import BadInput
from orchestrator.app.book.reporting import report
from orchestrator.app.rerun import rerun
from orchestrator.app.run import recorded
from orchestrator.config import StoreConfig
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store

pytestmark = pytest.mark.integration

FIT = ArtifactKind.FIT


@pytest.fixture
def store(ran, tmp_path):
    shutil.copytree(ran.store, tmp_path / "moved")
    return Store.open(tmp_path / "moved")


@pytest.fixture
def again(store, display):
    return lambda name, *words, **more: rerun(name, StoreConfig(store.uri), words, display, **more)


@pytest.fixture
def keys(ran):
    """Of the common first stage, and of the second one of had and of naive."""
    by_method = {s.method: [stage.key for stage in s.stages] for s in ran.result.sequences}
    return by_method["had"][0], by_method["had"][1], by_method["naive"][1]


def spec(store, key):
    return FitSpec.from_json(store.manifest(FIT, key)["spec"])


def net(store, key):
    return store.load(FIT, key).read(formats.NET)


def test_a_lost_parent_is_trained_again_first(store, again, keys):
    first, second, _ = keys
    before = net(store, first)
    shutil.rmtree(f"{store.uri}/fit/{first[:2]}/{first}")
    with pytest.raises(BadInput, match="1 stage would have to be trained first"):
        again(second)
    assert not store.is_sealed(FIT, first)
    result = again(second, ancestors=True)
    assert result.ancestors == (first,) and result.reproduced is True
    assert net(store, first) == before
    (record,) = [run for run in store.runs.list() if run.keeps]
    assert set(record.keeps) == {first, second}
    assert again(second, ancestors=True).ancestors == ()
    with pytest.raises(BadInput, match="the same had rerun command continues it"):
        recorded(store.uri, record.name)
    with pytest.raises(BadInput, match="is of had rerun, whose stages"):
        report(record.name, store.uri)


def test_every_descendant_is_verified(store, again, keys):
    first, *seconds = keys
    sealed = store.keys(FIT)
    result = again(first, descendants=True)
    assert {each.key for each in result.descendants} == set(seconds)
    everyone = (result, *result.descendants)
    assert all(each.reproduced and each.steps_run == 4 for each in everyone) and result.holds
    assert store.keys(FIT) == sealed


def test_a_descendant_that_comes_out_otherwise_fails_the_whole(store, again, keys, tampered):
    first, second, _ = keys
    tampered(store, second)
    result = again(first, descendants=True)
    assert result.reproduced is True and result.holds is False
    assert [each.key for each in result.descendants if each.reproduced is False] == [second]


def test_descendants_are_made_again_below_the_new_stage(store, again, keys, display, monkeypatch):
    first, *seconds = keys
    result = again(first, "train.lr=0.002", descendants=True)
    made = {each.key: each.new_key for each in result.descendants}
    assert set(made) == set(seconds)
    for old, new in made.items():
        was, now = spec(store, old), spec(store, new)
        assert now.parent.key == result.new_key and now.config == was.config
    (record,) = [run for run in store.runs.list() if run.keeps]
    assert set(record.keeps) == {result.new_key, *made.values()}
    with pytest.raises(BadInput, match="and 2 that start from it are in the store already"):
        again(first, "train.lr=0.002", descendants=True)

    # One is lost: it alone is made again, and that is said.
    told = []
    monkeypatch.setattr(display, "note", told.append)
    lost = made[seconds[0]]
    shutil.rmtree(f"{store.uri}/fit/{lost[:2]}/{lost}")
    repeated = again(first, "train.lr=0.002", descendants=True)
    assert (repeated.steps_run, {e.new_key for e in repeated.descendants if e.steps_run}) == (
        0,
        {lost},
    )
    assert "is not trained again: 1 of the 2" in told[0]


def test_in_another_numerics_class_nothing_may_differ_by_more_than_rounding(
    store, again, keys, tampered
):
    result = again(keys[1], "cluster.threads=2")
    assert (result.same_numerics, result.agrees, result.holds) == (False, True, True)
    assert [check.name for check in result.checks] == ["opening", "weights", "metrics"]
    assert (result.sealed_in.threads, result.rerun_in.threads) == (1, 2)
    assert result.bitwise_with == ("cluster.workers=1", "cluster.threads=1")
    tampered(store, keys[1])
    result = again(keys[1], "cluster.threads=2")
    assert (result.agrees, result.holds) == (False, False)
    assert [check.name for check in result.checks if not check.holds] == ["weights"]


def test_in_another_numerics_class_a_stage_of_other_settings_is_told(store, again, keys):
    """The sealed files are those of a training with another learning rate: 10 % off."""
    second = keys[1]
    other = again(second, "train.lr=0.0011").new_key
    mine, theirs = (store.load(FIT, key) for key in (second, other))
    files = {file.name: theirs.read(file.name) for file in theirs.files}
    shutil.rmtree(f"{store.uri}/fit/{second[:2]}/{second}")
    store.seal(FIT, second, files, mine.manifest)
    result = again(second, "cluster.threads=2")
    assert "opening" in [check.name for check in result.checks if not check.holds]
    assert not result.holds
    assert not result.holds


def test_a_store_that_cannot_be_written_is_refused_before_anything_is_trained(
    store, again, keys, read_only, monkeypatch
):
    monkeypatch.setattr("orchestrator.app.rerun.training.execute", None)
    read_only(store.uri)
    for words in ([], ["train.lr=0.002"]):
        with pytest.raises(BadInput, match="cannot be written"):
            again(keys[1], *words)
