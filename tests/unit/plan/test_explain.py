"""Why keys differ."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from plan_specs import Keeper

from had_core.configs import Optimizer, TrainConfig
from had_core.methods import HadConfig, HadLossConfig, NaiveConfig
from orchestrator.plan import FitSpec, expand, explain
from orchestrator.plan.explain import ABSENT


@pytest.fixture
def last(request_for):
    """The last stage of a sequence."""

    def of(order: str = "abc", **changes) -> FitSpec:
        return expand(request_for(order, **changes))[0].stages[-1].fit

    return of


def fields(level) -> dict:
    return {d.field: (d.left, d.right) for d in level.fields}


def test_the_same(last):
    result = explain(last(), last())
    assert result.same
    assert result.first is None
    assert str(result).startswith("same stage")


def test_a_setting_of_all_stages_is_named_at_the_first(last):
    left, right = last(), last(train=TrainConfig(lr=1e-3))
    result = explain(left, right)
    assert (result.left, result.right, result.same) == (left.key, right.key, False)
    assert result.first.depth == 1
    assert fields(result.first) == {"train.lr": (1e-4, 1e-3)}
    assert (result.first.left, result.first.right) == (
        left.lineage()[0].key,
        right.lineage()[0].key,
    )


def test_a_setting_of_later_stages_spares_the_first(last):
    left = last(method=HadConfig(weight=3.0))
    right = last(method=HadConfig(weight=1, loss=HadLossConfig(k=0.5)))
    result = explain(left, right)
    assert result.first.depth == 2
    assert fields(result.first) == {"method.lambda": (3, 1), "method.loss.k": (0.9, 0.5)}


def test_another_method_shows_its_own_settings(last):
    result = explain(last(), last(method=NaiveConfig()))
    shown = fields(result.first)
    assert shown["method.name"] == ("had", "naive")
    assert shown["method.lambda"] == (3, ABSENT)
    assert shown["train.teacher_cache"] == ("float32", ABSENT)


def test_a_changed_ancestor_is_found_below_equal_settings(last, request_for):
    """Only the grandparent was trained otherwise; the stages themselves are told the same."""
    left = last()
    one, two, three = left.lineage()
    old = replace(one, config=replace(one.config, seed=7))
    right = replace(three, parent=replace(two, parent=old))
    result = explain(left, right)
    assert [level.depth for level in result.levels] == [1]
    assert fields(result.first) == {"seed": (0, 7)}


def test_another_order(last):
    result = explain(last("abc"), last("acb"))
    assert result.first.depth == 2
    assert fields(result.first)["tasks"] == (["a", "b"], ["a", "c"])
    assert "views" in fields(result.first)


def test_lineages_of_different_length(last):
    result = explain(last("ab"), last("abc"))
    (level,) = result.levels
    assert (level.depth, level.left) == (3, None)
    assert fields(level)["tasks"] == (ABSENT, ["a", "b", "c"])


def test_versions(last):
    right = last("a")
    result = explain(replace(right, version=0), right)
    assert fields(result.first) == {"version": (0, 1)}


def test_a_setting_that_matters_on_one_side_only(last):
    result = explain(last("a"), last("a", train=TrainConfig(optimizer=Optimizer.SGD)))
    assert fields(result.first) == {
        "train.momentum": (ABSENT, 0.9),
        "train.optimizer": ("adam", "sgd"),
    }


def test_data_and_worker_batch(last):
    fit = last("a")
    other = replace(fit, data_fingerprint="0" * 64, worker_batch=4)
    assert fields(explain(fit, other).first) == {
        "data": ("a" * 64, "0" * 64),
        "worker_batch": (None, 4),
    }


def test_a_memory_is_explained_by_what_it_is_made_of(last):
    result = explain(last(method=Keeper()), last(method=Keeper(weight=2.0)))
    assert result.first.depth == 2
    assert fields(result.first)["parent_memory.method.weight"] == (1, 2)
    assert "parent_memory" not in fields(result.first)


def test_text_and_json_name_everything(last):
    result = explain(last(), last(train=TrainConfig(lr=1e-3, epochs=3)))
    text = str(result)
    assert "differ first at depth 1" in text
    assert "train.lr: 0.0001 -> 0.001" in text
    assert "train.epochs: 20 -> 3" in text
    assert json.loads(json.dumps(result.to_json()))["levels"][0]["depth"] == 1


def test_different_keys_are_always_explained(last):
    specs = [
        last(order, method=method, seeds=(seed,))
        for order in ("abc", "acb")
        for method in (NaiveConfig(), HadConfig())
        for seed in (0, 1)
    ]
    for left in specs:
        for right in specs:
            result = explain(left, right)
            assert result.same == (left.key == right.key) == (not result.levels)
