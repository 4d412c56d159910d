"""The search section: spaces nested as the settings are, their checks, one trial's settings."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from had_core.errors import BadInput
from had_core.methods import HadConfig, LwfConfig, NaiveConfig
from orchestrator.config import RunConfig, apply_overrides, compose, with_params
from orchestrator.config.composing import KEYS, build, compose_raw
from orchestrator.search.settings import (
    Choice,
    FloatRange,
    IntRange,
    Objective,
    Pruner,
    Sampler,
    SearchConfig,
)

THREE = "tasks=[semantic,depth,normal]"


@cache
def base() -> dict[str, Any]:
    return compose_raw([THREE, "search=tpe"])[0]


def sweep(*overrides: str) -> RunConfig:
    """``compose`` of a sweep for overrides of values: the tree is read once for all tests."""
    raw = apply_overrides(base(), overrides, allowed={key: key for key in KEYS})
    return build(raw, recipe=None, cwd=Path.cwd())


def search(*overrides: str) -> SearchConfig:
    config = sweep(*overrides)
    assert config.search is not None
    return config.search


def test_the_space_of_the_method() -> None:
    found = search()
    assert (found.sampler, found.objective, found.pruner) == (
        Sampler.TPE,
        Objective.MEAN,
        Pruner.NONE,
    )
    assert found.space == {
        "method.lambda": FloatRange(0.1, 30.0, log=True),
        "method.loss.delta": FloatRange(0.2, 0.8),
        "method.loss.k": FloatRange(0.5, 0.98),
        "method.loss.beta": FloatRange(0.0, 1.0),
    }


def test_the_kind_of_a_range_follows_from_the_setting() -> None:
    space = search(
        "search.space.train.epochs={low: 1, high: 9, step: 4}",
        "search.space.train.lr={low: 0.0001, high: 1, log: true}",
        "search.space.net.norm=[group, sync]",
        "search.space.train.freeze_bn=[true, false]",
    ).space
    assert space["train.epochs"] == IntRange(1, 9, step=4)
    assert space["train.lr"] == FloatRange(0.0001, 1.0, log=True)
    assert space["net.norm"] == Choice(("group", "sync"))
    assert space["train.freeze_bn"] == Choice((True, False))


def test_an_override_replaces_a_leaf_and_null_takes_it_out() -> None:
    overrides = [
        "search.space.method.lambda={low: 1, high: 2}",
        "search.space.method.loss.k=null",
        "search.space.method.loss.delta.high=0.9",
        "search.space.train.lr={low: 1, high: 2}",
    ]
    given = sweep(*overrides).search
    assert given is not None
    assert given.space["method.lambda"] == FloatRange(1.0, 2.0)
    assert "method.loss.k" not in given.space
    assert given.space["method.loss.delta"] == FloatRange(0.2, 0.9)
    composed = compose([THREE, *overrides], search="tpe")
    assert composed.search == given


def test_a_run_leaves_out_its_recipes_search_and_refuses_another() -> None:
    assert compose(["experiment=quickstart"]).search is not None
    run = compose(["experiment=quickstart"], searches=False)
    assert run.search is None
    for text in ("search=tpe", "search.trials=3", "search.space.method.lambda=[1.0]"):
        with pytest.raises(BadInput, match=r"is not allowed here: had sweep searches"):
            compose([text], searches=False)


def test_a_whole_space_replaces_the_options() -> None:
    found = compose(
        [THREE, "search.trials=2", "search.space={method:{lambda:[1.0,2.0]}}"], search="tpe"
    ).search
    assert found is not None
    assert found.space == {"method.lambda": Choice((1.0, 2.0))}


def test_a_recipes_space_meets_another_option() -> None:
    """The option's own space, of lists or ranges, does not mix with the recipe's ranges."""
    words = ["experiment=quickstart", "search=grid", "search.trials=null"]
    lists = ["search.space.method.lambda=[1.0,3.0]", "search.space.method.loss.beta=[0.5]"]
    found = compose([*words, *lists]).search
    assert found is not None
    assert found.space == {"method.lambda": Choice((1.0, 3.0)), "method.loss.beta": Choice((0.5,))}
    with pytest.raises(BadInput, match=r"search\.space\.method\.loss\.beta=.* a list, or a range"):
        compose([*words, lists[0]])


def test_one_weight_a_task_for_the_tasks_that_become_old() -> None:
    weights = "search.space.method.lambda={low: 1, high: 2, per_task: true}"
    paths = [path for path in search(weights).space if "lambda" in path]
    assert paths == ["method.lambda.semantic", "method.lambda.depth"]
    paths = [path for path in search(weights, "orders=all").space if "lambda" in path]
    assert paths == [f"method.lambda.{task}" for task in ("semantic", "depth", "normal")]
    mapping = "method.lambda={semantic: 1, depth: 2, normal: 3}"
    assert search(weights, mapping).space["method.lambda.depth"] == FloatRange(1.0, 2.0)


def test_a_search_has_a_reference() -> None:
    assert sweep().reference == NaiveConfig()
    assert sweep("reference=lwf").reference == LwfConfig()
    assert sweep("search=null").reference is None
    with pytest.raises(BadInput, match="reference=null is not allowed: a method such as naive"):
        replace(sweep(), reference=None)


@pytest.mark.parametrize("option", ["tpe", "random", "grid", "nsga2"])
def test_every_option_composes_and_comes_back(option: str) -> None:
    config = compose([THREE, f"search={option}"])
    assert config.search is not None
    assert config.search.sampler.value == option
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_grid_has_as_many_trials_as_points() -> None:
    grid = search(
        "search=grid",
        "search.space.method.lambda=[1, 2, 3]",
        "search.space.method.loss.delta={low: 0.2, high: 0.5, step: 0.1}",
    )
    assert (grid.size, grid.trials) == (12, 12)
    assert grid.space["method.loss.delta"].points == (0.2, 0.3, 0.4, 0.5)


def test_whole_and_broken_numbers_survive_json() -> None:
    config = sweep("search.space.train.epochs={low: 1, high: 3}")
    back = RunConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert back == config
    assert back.search is not None
    assert isinstance(back.search.space["train.epochs"], IntRange)
    assert isinstance(back.search.space["method.loss.beta"], FloatRange)


def test_a_single_run_does_not_know_of_searches() -> None:
    plain = sweep("search=null")
    assert "search" not in plain.to_json()
    # Written down before there were searches.
    assert compose(["store.root=/s", "dataset.path=/d"]).name == "rooms-97585bf5"


def test_what_may_change_from_one_command_to_the_next_is_not_in_the_hash() -> None:
    name = sweep().name
    for same in (
        "search.trials=40",
        "search.max_concurrent=1",
        "search.time_budget_s=9",
        "search.stage_budget=9",
        "search.storage=sqlite:////tmp/x.db",
    ):
        assert sweep(same).name == name
    for other in ("search.seed=1", "search.sampler=random", "search.objective=worst"):
        assert sweep(other).name != name


def test_the_default_option_of_had_sweep() -> None:
    assert compose([THREE]).search is None
    composed = compose([THREE, "search.trials=3"], search="tpe").search
    assert composed is not None and composed.trials == 3
    chosen = compose([THREE, "search=grid"], search="tpe").search
    assert chosen is not None and chosen.sampler is Sampler.GRID


def test_with_params() -> None:
    config = sweep("method.lambda=3")
    trial = with_params(
        config, {"method.lambda": 0.5, "method.loss.mean": "arithmetic", "train.epochs": 2}
    )
    assert trial.search is None
    assert isinstance(trial.method, HadConfig)
    assert (trial.method.weight, trial.method.loss.mean.value) == (0.5, "arithmetic")
    assert trial.train.epochs == 2
    assert replace(trial, method=config.method, train=config.train, search=config.search) == config


def test_with_params_makes_a_weight_a_task() -> None:
    trial = with_params(sweep("method.lambda=3"), {"method.lambda.depth": 0.5})
    assert isinstance(trial.method, HadConfig)
    assert trial.method.weight == {"semantic": 3.0, "depth": 0.5, "normal": 3.0}


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"method.lambd": 1.0}, "method.lambd is not a known key (did you mean 'lambda'?)"),
        ({"method.lambda.dept": 1.0}, "(did you mean 'depth'?)"),
        ({"method.lambda": -1.0}, "method.lambda=-1.0 is not allowed: 0 or more"),
        ({"seed": 1}, "seed cannot be searched: allowed are the settings of method, net, train"),
        ({"net.weights": "x"}, "net.weights cannot be searched"),
    ],
)
def test_bad_params(params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        with_params(sweep(), params)
    assert sentence in str(caught.value)


SPACE = "search.space.method.loss"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["search.space=3"], "search.space=3 is not allowed: a mapping"),
        (["search.space.method=null"], "search.space={} is not allowed: one setting"),
        (["search.foo=1"], "search.foo is not a known key"),
        (["search.sampler=tpee"], "search.sampler=tpee is not allowed (did you mean 'tpe'?)"),
        (["search.trials=0"], "search.trials=0 is not allowed: 1 to 100000"),
        (["search.trials=100001"], "search.trials=100001 is not allowed: 1 to 100000"),
        (["search.trials=null"], "search.trials=null is not allowed: a whole number"),
        (["search.seed=-1"], "search.seed=-1 is not allowed: 0 to"),
        (["search.max_concurrent=0"], "search.max_concurrent=0 is not allowed: 1 or more"),
        (["search.cvar_alpha=0"], "search.cvar_alpha=0.0 is not allowed"),
        (["search.time_budget_s=0"], "search.time_budget_s=0.0 is not allowed: a number above 0"),
        (["search.pruner_warmup_orders=0"], "search.pruner_warmup_orders=0 is not allowed"),
        (["search.pruner_percentile=100"], "search.pruner_percentile=100.0 is not allowed"),
        (
            ["search.objective=final_and_forgetting", "search.pruner=median"],
            "search.pruner=median is not allowed: none with the two objectives",
        ),
        (["data.val_fraction=0"], "data.val_fraction=0.0 is not allowed: above 0 for a search"),
        (["search.space.method.lambd=[1]"], "search.space.method.lambd is not a known key (did"),
        (["method=lwf"], "search.space.method.loss is not a known key: allowed are lambda"),
        (["search.space.train.aspp=[1]"], "search.space.train.aspp is not a known key"),
        (["search.space.seed=[1]"], "search.space.seed cannot be searched: allowed are"),
        (["search.space.orders=[all]"], "search.space.orders cannot be searched"),
        (["search.space.data.slices=[4]"], "search.space.data.slices cannot be searched"),
        ([f"{SPACE}.delta=3"], f"{SPACE}.delta=3 is not allowed: a list, or a mapping"),
        ([f"{SPACE}.delta=[]"], f"{SPACE}.delta=[] is not allowed: one choice or more"),
        ([f"{SPACE}.delta=[0.2,0.2]"], f"{SPACE}.delta=[0.2, 0.2] is not allowed: no choice twice"),
        ([f"{SPACE}.delta=[0.2,2]"], f"{SPACE}.delta reaches what the settings refuse: method"),
        ([f"{SPACE}.delta=[x]"], f"{SPACE}.delta reaches what the settings refuse"),
        ([f"{SPACE}.delta=[[1]]"], f"{SPACE}.delta.values[0]=[1] is not allowed"),
        ([f"{SPACE}.delta.high=2"], f"{SPACE}.delta reaches what the settings refuse: method"),
        ([f"{SPACE}.delta.hig=2"], f"{SPACE}.delta.hig is not a known key (did you mean 'high'?)"),
        ([f"{SPACE}.delta={{low: 0.2}}"], f"{SPACE}.delta.high is missing: a number"),
        ([f"{SPACE}.delta={{low: x, high: 1}}"], f"{SPACE}.delta.low=x is not allowed: a number"),
        ([f"{SPACE}.bins={{low: 2, high: 3.5}}"], f"{SPACE}.bins.high=3.5 is not allowed: a whole"),
        ([f"{SPACE}.bins={{low: 5, high: 2}}"], f"{SPACE}.bins=5..2 is not allowed: low below"),
        ([f"{SPACE}.mean={{low: 5, high: 2}}"], "a list of choices, because method.loss.mean is"),
        (
            ["search.space.method.lambda={low: 0, high: 1, log: true}"],
            "search.space.method.lambda=0..1 is not allowed: low above 0 where log is true",
        ),
        (
            ["search.space.method.lambda={low: 1, high: 2, log: true, step: 1}"],
            "search.space.method.lambda.step=1.0 is not allowed: null where log is true",
        ),
        (
            ["search.space.method.lambda={low: 0, high: 1, step: 0.3}"],
            "search.space.method.lambda.step=0.3 is not allowed: a number that divides 1",
        ),
        (["search.space.method={lambda: [1, 2]}"], "search.trials=20 is not allowed: up to 2"),
        (["search=grid", "search.trials=5"], "search.trials=5 is not allowed: 4, the points"),
        (
            ["search=grid", "search.space.method.lambda={low: 0, high: 1}"],
            "search.space.method.lambda=a range without step is not allowed: a list, or a range",
        ),
    ],
)
def test_bad_searches_are_one_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        sweep(*overrides)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_option_comes_first() -> None:
    with pytest.raises(BadInput, match=r"search is null: choose one first \(search=grid\|nsga2"):
        compose([THREE, "search.trials=3"])


def test_settings_import_no_libraries() -> None:
    code = (
        "import sys, orchestrator.search.settings, orchestrator.config\n"
        "print([name for name in ('hydra', 'optuna', 'ray', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
