"""Specs through JSON and back: nothing lost, nothing unknown let through."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from plan_specs import specs

from had_core.configs import NetConfig, TeacherCache, TrainConfig
from had_core.errors import BadInput
from had_core.methods import METHODS, HadConfig
from orchestrator.plan import FitSpec, MemorySpec, NumericsClass, SequenceSpec, StageSpec, expand


@pytest.fixture
def sequence(request_for) -> SequenceSpec:
    request = request_for("abc", method=HadConfig(weight={"a": 1.0, "b": 2.0, "c": 3}))
    return expand(request)[0]


def through_text(raw):
    return json.loads(json.dumps(raw))


def keys_of(sequence: SequenceSpec) -> list[str]:
    return [stage.key for stage in sequence.stages]


def test_fit(sequence):
    for stage in sequence.stages:
        back = FitSpec.from_json(through_text(stage.fit.to_json()))
        assert back == stage.fit
        assert back.key == stage.key


def test_stage(sequence):
    for stage in sequence.stages:
        back = StageSpec.from_json(through_text(stage.to_json()))
        assert back == stage
        assert [e.key for e in back.evals] == [e.key for e in stage.evals]


def test_sequence(sequence):
    back = SequenceSpec.from_json(through_text(sequence.to_json()))
    assert back == sequence
    assert keys_of(back) == keys_of(sequence)
    # The parents are the stages themselves, not copies.
    assert back.stages[2].fit.parent is back.stages[1].fit


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method(method, request_for):
    (sequence,) = expand(request_for("abc", method=METHODS[method](), eval_splits=("val", "test")))
    back = SequenceSpec.from_json(through_text(sequence.to_json()))
    assert back == sequence
    assert keys_of(back) == keys_of(sequence)


def test_what_is_not_in_the_key_survives_too(request_for):
    request = request_for(
        "ab",
        net=NetConfig(weights="/some/file", weights_sha256="e" * 64),
        train=TrainConfig(teacher_cache=TeacherCache.OFF, momentum=0.25),
    )
    fit = expand(request)[0].stages[1].fit
    back = FitSpec.from_json(through_text(fit.to_json()))
    assert back.config.net.weights == "/some/file"
    assert back.config.train.teacher_cache is TeacherCache.OFF
    assert back.config.train.momentum == 0.25


def test_memory(sequence):
    one, two, three = (stage.fit for stage in sequence.stages)
    before = MemorySpec(one, HadConfig())
    kept = MemorySpec(two, HadConfig(), before)
    fit = FitSpec(two, three.config, three.data_fingerprint, parent_memory=kept)
    stage = StageSpec(fit, (), MemorySpec(fit, HadConfig(), kept), row=3)
    back = StageSpec.from_json(through_text(stage.to_json()))
    assert back == stage
    assert back.fit.key == fit.key
    assert back.memory.key == stage.memory.key
    assert back.fit.parent_memory.fit is back.fit.parent


def test_an_old_version_keeps_its_own_key(sequence):
    from dataclasses import replace

    old = replace(sequence.stages[0].fit, version=0)
    assert FitSpec.from_json(through_text(old.to_json())).key == old.key


WRONG = [
    (("extra",), 1, r"stage\.fit\.extra is not a known key"),
    (("config", "train", "lrr"), 1, r"stage\.fit\.config\.train\.lrr .*did you mean 'lr'"),
    (("config", "train", "optimizer"), "adamw", r"config\.train\.optimizer=adamw .*adam, sgd"),
    (("config", "method", "name"), "haad", r"config\.method\.name=haad .*'had'"),
    (("config", "method", "lamda"), 1, r"config\.method\.lamda .*'lambda'"),
    (("config", "views"), "a", r"config\.views=a is not allowed"),
    (("config", "tasks"), None, r"config\.tasks"),
    (("parent", "config", "seed"), "x", r"stage\.fit\.parent\.config\.seed=x"),
    (("worker_batch",), "4", r"worker_batch=4"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG)
def test_wrong_values_are_named(sequence, path, value, message):
    raw = through_text(sequence.stages[1].to_json())
    target = raw["fit"]
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    with pytest.raises(BadInput, match=message):
        StageSpec.from_json(raw)


def test_missing_keys_are_named(sequence):
    raw = through_text(sequence.stages[1].to_json())
    del raw["fit"]["config"]["net"]
    with pytest.raises(BadInput, match=r"stage\.fit\.config\.net is missing"):
        StageSpec.from_json(raw)


def test_memory_without_a_fit_is_refused(sequence):
    raw = through_text(sequence.stages[0].fit.to_json())
    raw["parent_memory"] = {"method": {"name": "naive"}, "parent": None, "version": 1}
    with pytest.raises(BadInput, match="parent_memory is not allowed: null where there is no fit"):
        FitSpec.from_json(raw)


@pytest.mark.parametrize("parent", [1, 2, -1, True, "0", 0.5])
def test_a_parent_must_come_before_its_child(sequence, parent):
    raw = through_text(sequence.to_json())
    raw["stages"][1]["fit"]["parent"] = parent
    with pytest.raises(BadInput, match=r"stages\[1\]\.fit\.parent=.*a stage before it, or null"):
        SequenceSpec.from_json(raw)


def test_a_sequence_without_its_parents_is_not_written(sequence):
    torn = SequenceSpec("had", ("c",), 0, sequence.stages[2:])
    with pytest.raises(ValueError, match="is not a stage before it"):
        torn.to_json()


@given(specs)
def test_any_method_of_any_stage(spec):
    back = FitSpec.from_json(through_text(spec.to_json()))
    assert back == spec
    assert back.key == spec.key


def test_numerics_class():
    mine = NumericsClass(2, 1, "cpu", "2.13.0+cpu", "AVX512")
    assert NumericsClass.from_json(through_text(mine.to_json())) == mine
    other = NumericsClass(1, 1, "cpu", "2.13.0+cpu", "AVX2")
    assert mine.differences(other) == {"workers": (2, 1), "cpu_capability": ("AVX512", "AVX2")}
    assert mine.differences(mine) == {}
    with pytest.raises(BadInput, match=r"numerics\.thread is not a known key"):
        NumericsClass.from_json({**mine.to_json(), "thread": 1})
