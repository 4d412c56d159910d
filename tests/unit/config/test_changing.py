"""Recorded settings with overrides on top: what changes, what is refused, what a fork is called."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from had_core.errors import BadInput
from had_core.methods import HadConfig, LwfConfig
from orchestrator import resources
from orchestrator.config import RunConfig, changed, compose, differences, forked, in_short

TREE = resources.folder("experiments")
RECIPES = sorted(p.stem for p in (TREE / "experiment").glob("*.yaml"))
TWO = "tasks=[semantic,depth]"


@cache
def recorded(*overrides: str) -> RunConfig:
    """As it comes back from the store."""
    return RunConfig.from_json(json.loads(json.dumps(compose([TWO, *overrides]).to_json())))


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_override_changes_nothing(recipe: str) -> None:
    config = compose([f"experiment={recipe}"])
    assert changed(config, []) == config
    assert differences(config, changed(config, [])) == ()


def test_a_sweep_changes_nothing_either() -> None:
    config = recorded("search=tpe")
    assert changed(config, []) == config
    assert changed(config, ["search.trials=99"]).hash == config.hash
    with pytest.raises(BadInput, match=r"search\.space\.method\.lambda cannot be changed here"):
        changed(config, ["search.space.method.lambda=[1,2]"])
    with pytest.raises(BadInput, match="search cannot be changed here: start another sweep"):
        changed(config, ["search=random"])


def test_where_it_runs_is_no_difference(tmp_path: Path) -> None:
    config = recorded("name=try")
    moved = changed(config, ["cluster.lanes=2", "tracking=off", f"dataset.path={tmp_path}"])
    assert (moved.cluster.lanes, moved.tracking.enabled) == (2, False)
    assert moved.dataset.path == str(tmp_path)
    assert differences(config, moved) == ()
    assert moved.name == "try"


def test_a_relative_path_is_made_absolute() -> None:
    assert Path(changed(recorded(), ["dataset.path=here"]).dataset.path).is_absolute()


@pytest.mark.parametrize(
    ("override", "difference"),
    [
        ("train.epochs=9", "train.epochs=9 instead of 10"),
        ("method.lambda=5", "method.lambda=5 instead of 3"),
        ("method.lambda={semantic:1,depth:2}", "method.lambda={semantic:1,depth:2} instead of 3"),
        ("seed=[0,1]", "seed=[0,1] instead of [0]"),
        ("seed=3", "seed=[3] instead of [0]"),
        ("order=[depth,semantic]", "orders=[[depth,semantic]] instead of [[semantic,depth]]"),
        ("reference=naive", "reference={name:naive} instead of null"),
        ("data.val_fraction=0", "data.val_fraction=0 instead of 0.1"),
        ("cluster.workers=2", "cluster.workers=2 instead of 1"),
        ("train.freeze_bn=true", "train.freeze_bn=true instead of false"),
        ("methods=[had]", "methods={had:{name:had,"),
    ],
)
def test_what_decides_results_is_told_as_an_override(override: str, difference: str) -> None:
    config = recorded()
    found = differences(config, changed(config, [override]))
    assert any(text.startswith(difference) for text in found), found


def test_options_and_methods_of_a_comparison() -> None:
    config = recorded("methods=[naive,had]")
    assert changed(config, ["train=paper"]).train.batch_size == 64
    more = changed(config, ["methods=[naive,had,lwf]", "methods.had.lambda=1"])
    assert list(more.compared) == ["naive", "had", "lwf"]
    assert more.compared["had"] == HadConfig(weight=1.0)
    assert more.compared["lwf"] == LwfConfig()
    assert differences(config, changed(config, ["methods.had.lambda=1"])) == (
        "methods.had.lambda=1 instead of 3",
    )


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("name=x", "name cannot be changed here: allowed are cluster, data, dataset"),
        ("store.root=/x", "store cannot be changed here"),
        ("experiment=nyuv2", "experiment cannot be changed here"),
        ("train.epochs=0", "train.epochs=0 is not allowed"),
        ("methods=[naive,hat]", "methods=hat is not allowed (did you mean 'had'?)"),
        ("order=[depth,foo]", "names the unknown task 'foo'"),
    ],
)
def test_bad_overrides_are_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        changed(recorded(), [override])
    assert sentence in str(caught.value)


def test_the_settings_of_one_method_have_no_place_in_a_comparison() -> None:
    with pytest.raises(BadInput, match="method=lwf is not allowed together with methods"):
        changed(recorded("methods=[naive,had]"), ["method=lwf"])


def test_a_weights_file_that_is_gone_matters_only_to_a_new_net(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"weights")
    config = recorded(f"net.weights={file}")
    file.unlink()
    assert changed(config, ["cluster.lanes=2"]).net == config.net
    with pytest.raises(BadInput, match=r"net\.weights"):
        changed(config, ["net.norm=sync"])


def test_a_fork_is_named_by_what_it_trains() -> None:
    config, named = recorded(), recorded("name=try")
    other = changed(config, ["train.epochs=9"])
    assert forked(other, config).name == compose([TWO, "train.epochs=9"]).name
    assert forked(changed(named, ["train.epochs=9"]), named).name == f"try-{other.hash[:8]}"
    again = forked(changed(named, ["train.epochs=9"]), named)
    assert forked(changed(again, ["train.epochs=8"]), again).name.count("-") == 1
    long = replace(named, name="a" * 100)
    assert len(forked(changed(long, ["seed=1"]), long).name) == 100


def test_a_sentence_holds_a_few_differences() -> None:
    assert in_short(("a", "b")) == "a; b"
    assert in_short(("a", "b", "c", "d", "e")) == "a; b; c and 2 more"
