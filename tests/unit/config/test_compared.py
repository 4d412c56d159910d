"""The methods of a comparison: where they come from, their labels, their reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from had_core.errors import BadInput
from had_core.methods import METHODS, HadConfig, JointConfig, LwfConfig, NaiveConfig
from had_core.methods.had import GroupMean, Variant
from had_core.methods.joint import JointSetting
from orchestrator.app.planning import sequences_of
from orchestrator.config import RunConfig, compose

TWO = "tasks=[semantic,depth]"
PRINTS = {"train": "a" * 64, "test": "b" * 64}


def from_record(config: RunConfig) -> RunConfig:
    return RunConfig.from_json(json.loads(json.dumps(config.to_json())))


def keys(config: RunConfig) -> dict[str, list[str]]:
    """Stage keys by label."""
    found: dict[str, list[str]] = {}
    for sequence in sequences_of(config, PRINTS):
        found.setdefault(sequence.method, []).extend(stage.key for stage in sequence.stages)
    return found


@pytest.mark.parametrize(
    ("overrides", "digest"),
    [
        ([], "97585bf52a81b07c6c5a18de66fcf3bdb0b18d0387807ad6c8352b4182ac281f"),
        (
            ["experiment=nyuv2"],
            "602b387a95e6d7c0814fc81a96f9652529e8a34d7a05b9b939a208673ae5d524",
        ),
    ],
)
def test_golden_hashes_of_runs_that_compare_nothing(overrides: list[str], digest: str) -> None:
    config = compose(overrides)
    assert config.hash == digest
    assert "compared" not in config.to_json()


def test_options_by_name() -> None:
    config = compose([TWO, "methods=[lwf,had,mtl]", "methods.had.lambda=5"])
    assert dict(config.compared) == {
        "lwf": LwfConfig(),
        "had": HadConfig(weight=5.0),
        "mtl": JointConfig(setting=JointSetting.MTL),
    }
    assert config.methods == tuple(config.compared.items())
    assert config.reference_label is None
    again = from_record(config)
    assert again == config
    assert list(again.compared) == ["lwf", "had", "mtl"], "tables keep the order"


def test_every_method_can_be_compared_by_its_name() -> None:
    config = compose([TWO, f"methods=[{','.join(METHODS)}]"])
    assert dict(config.compared) == {name: method() for name, method in METHODS.items()}


def test_labels_of_ones_own() -> None:
    config = compose(
        [TWO, "methods=[had]", "+methods.soft={name:had,lambda:1}", "+methods.off.name=naive"]
    )
    assert list(config.compared) == ["had", "soft", "off"]
    assert config.compared["soft"] == HadConfig(weight=1.0)
    alone = compose([TWO, "methods={soft:{name:had,lambda:1}}"])
    assert dict(alone.compared) == {"soft": HadConfig(weight=1.0)}


def test_the_ablation_changes_one_thing_at_a_time() -> None:
    config = compose([TWO, "methods=[naive,had,ablation]"])
    full = config.compared["had"]
    assert isinstance(full, HadConfig)
    loss = full.loss
    assert dict(config.compared) == {
        "naive": NaiveConfig(),
        "had": full,
        "no_db": replace(full, weight=full.weight / 2, loss=replace(loss, beta=1.0)),
        "no_sg": replace(full, weight=full.weight / 2, loss=replace(loss, beta=0.0)),
        "arithmetic": replace(full, loss=replace(loss, mean=GroupMean.ARITHMETIC)),
        "bins5": replace(full, loss=replace(loss, bins=5)),
        "bins10": replace(full, loss=replace(loss, bins=10)),
        "bins15": replace(full, loss=replace(loss, bins=15)),
        "eps1e-6": replace(full, loss=replace(loss, eps=1e-6)),
        "released": replace(full, loss=replace(loss, variant=Variant.RELEASED)),
    }


@pytest.mark.parametrize(
    ("overrides", "label", "labels"),
    [
        (["methods=[had,naive]"], "naive", ["naive", "had"]),
        (["methods=[had,lwf]"], None, ["had", "lwf"]),
        (["methods=[had,lwf]", "reference=naive"], "naive", ["naive", "had", "lwf"]),
        (["methods=[naive,had,lwf]", "reference=lwf"], "lwf", ["lwf", "naive", "had"]),
        (["methods={a:{name:naive},b:{name:had}}"], "a", ["a", "b"]),
        (["methods={a:{name:had,lambda:1},b:{name:had}}", "reference=b"], "b", ["b", "a"]),
    ],
)
def test_the_reference_comes_first_under_its_label(
    overrides: list[str], label: str | None, labels: list[str]
) -> None:
    config = compose([TWO, *overrides])
    assert config.reference_label == label
    assert [name for name, _ in config.methods] == labels
    assert from_record(config) == config


def test_a_run_whose_reference_has_its_name_tells_them_apart() -> None:
    config = compose([TWO, "method.lambda=9", "reference={name:had}"])
    assert [label for label, _ in config.methods] == ["had-reference", "had"]
    assert config.reference_label == "had-reference"
    same = compose([TWO, "reference={name:had}"])
    assert [label for label, _ in same.methods] == ["had"]


def test_labels_are_in_no_key_and_shared_stages_are_one() -> None:
    first = keys(compose([TWO, "methods={a:{name:had,lambda:1},b:{name:had}}"]))
    second = keys(compose([TWO, "methods={x:{name:had,lambda:1},y:{name:had}}"]))
    assert (first["a"], first["b"]) == (second["x"], second["y"])
    assert first["a"][0] == first["b"][0], "the first stage has no old task"
    assert first["a"][1] != first["b"][1]
    lone = keys(compose([TWO, "method.lambda=1"]))
    assert lone["had"] == first["a"], "a run and a comparison share everything"


def test_settings_decide_the_hash_and_their_order_does_not() -> None:
    config = compose([TWO, "methods=[lwf,had]"])
    assert compose([TWO, "methods=[had,lwf]"]).hash != config.hash  # another first method
    turned = replace(config, compared=dict(reversed(config.compared.items())))
    assert turned.hash == config.hash
    assert compose([TWO, "methods=[lwf,had]", "methods.had.lambda=4"]).hash != config.hash


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["methods=[naive,hat]"], "methods=hat is not allowed (did you mean 'had'?): ablation"),
        (["methods=[had,had]"], "methods=[had,had] names 'had' twice"),
        (["methods=null"], "methods=null is not allowed: ablation, "),
        (["methods=3"], "methods=3 is not allowed: ablation, "),
        (["methods.had.lambda=1"], "methods is null: choose one first (methods=ablation|had"),
        (["methods=[had]", "methods.hat.lambda=1"], "methods.hat is not one of the methods (did"),
        (["methods=[had]", "methods.had.lambd=1"], "methods.had.lambd is not a known key (did you"),
        (["methods={a:{lambda:1}}"], "methods.a.name is missing: naive, joint"),
        (["methods={a:{name:hat}}"], "methods.a.name=hat is not allowed (did you mean 'had'?)"),
        (["methods={a:{name:had,loss:{delta:2}}}"], "methods.a.loss.delta=2.0 is not allowed"),
        (["methods={a:{name:had,lambda:{depth:1}}}"], "methods.a.lambda={'depth': 1.0}"),
        (["methods={a:{name:had,lambda:{dept:1}}}"], "methods.a.lambda=[dept] names the unknown"),
        (["methods={_a:{name:had}}"], "methods._a is not allowed: a label has up to 40"),
        (["methods={a:{name:had},b:{name:had}}"], "methods.b is not allowed: it has the settings"),
        (
            ["methods={lwf:{name:had}}", "reference=lwf", "method.lambda=3"],
            "method.lambda=3 is not allowed together with methods: set methods.lwf",
        ),
        (["methods=[had]", "method=lwf"], "method=lwf is not allowed together with methods"),
        (
            ["methods={lwf:{name:had}}", "reference={name:lwf}"],
            "reference=lwf is not allowed: methods.lwf has other settings",
        ),
        (["methods=[had]", "search=tpe"], "methods=had is not allowed: null in a search"),
    ],
)
def test_bad_methods_are_one_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        compose([TWO, *overrides])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


methods = st.one_of(
    st.builds(NaiveConfig),
    st.builds(LwfConfig, weight=st.sampled_from([1.0, 2.0])),
    st.builds(HadConfig, weight=st.sampled_from([0.5, 3.0])),
)
labels = st.sampled_from(["a", "b", "c", "naive", "had"])


@given(
    compared=st.dictionaries(labels, methods, max_size=4),
    reference=st.none() | methods,
    method=methods,
)
def test_every_method_has_one_label_and_the_reference_is_among_them(
    plain_config: Callable[..., RunConfig],
    compared: dict[str, Any],
    reference: Any,
    method: Any,
) -> None:
    try:
        config = plain_config(method=method, reference=reference, compared=compared)
    except BadInput:
        return
    pairs = config.methods
    wanted = [*compared.values()] or [method]
    settings = [settings for _, settings in pairs]
    assert len(dict(pairs)) == len(pairs)
    assert all(one in settings for one in wanted)
    assert len(pairs) == len(wanted) + (reference is not None and reference not in wanted)
    if reference is not None:
        assert pairs[0] == (config.reference_label, reference)
    assert from_record(config) == config
