"""The decoder: inverse of ``to_plain``, strict, with errors a person can act on."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from had_core.canonical import Json, to_plain
from had_core.configs import (
    Encoder,
    NetConfig,
    Norm,
    Optimizer,
    Schedule,
    SlicingConfig,
    TeacherCache,
    TrainConfig,
)
from had_core.decode import decode, decode_method
from had_core.errors import BadInput
from had_core.methods import METHODS, HadConfig, LwfConfig
from had_core.tasks import DenseTask, TaskKind

trains = st.builds(
    TrainConfig,
    epochs=st.integers(1, 99),
    batch_size=st.integers(1, 512),
    lr=st.floats(1e-8, 1.0),
    optimizer=st.sampled_from(Optimizer),
    schedule=st.sampled_from(Schedule),
    teacher_cache=st.sampled_from(TeacherCache),
    freeze_bn=st.booleans(),
)
nets = st.builds(
    NetConfig,
    encoder=st.sampled_from(Encoder),
    norm=st.sampled_from(Norm),
    output_stride=st.sampled_from([8, 16]),
    aspp_rates=st.tuples(*[st.integers(1, 40)] * 3),
    weights=st.none() | st.text(max_size=9),
)
weights = st.floats(0, 100) | st.dictionaries(st.sampled_from(["a", "b"]), st.floats(0, 9))
methods = st.builds(HadConfig, weight=weights) | st.builds(LwfConfig, weight=st.floats(0, 9))


@given(trains, nets, st.builds(SlicingConfig, slices=st.integers(1, 9)))
def test_plain_values_come_back_equal(
    train: TrainConfig, net: NetConfig, slicing: SlicingConfig
) -> None:
    for value in (train, net, slicing):
        assert decode(type(value), to_plain(value)) == value


@given(methods)
def test_methods_come_back_by_name(method: HadConfig | LwfConfig) -> None:
    raw = {"name": method.name, **to_plain(method)}
    assert decode_method(raw, at="method") == method


def test_every_method_has_a_default_that_comes_back() -> None:
    for name, config in METHODS.items():
        assert decode_method({"name": name}, at="method") == config()


def test_tasks_come_back() -> None:
    task = DenseTask("semantic", TaskKind.LABELS, 2, invalid=-1.0, class_names=("wall", "floor"))
    assert decode(DenseTask, to_plain(task)) == task


class Colour(enum.Enum):
    RED = "red"
    OFF = "off"


@dataclass(frozen=True)
class Inner:
    n: int


@dataclass(frozen=True)
class Outer:
    needed: str
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    names: Mapping[str, Inner] = field(default_factory=dict)
    colour: Colour = Colour.RED
    either: int | tuple[int, ...] = 1
    blob: Json = None
    anything: Any = None
    renamed: bool = field(default=True, metadata={"name": "global"})
    items: list[str] = field(default_factory=list)


def test_nested_values() -> None:
    raw = {
        "needed": "x",
        "inner": {"n": 1},
        "many": [{"n": 2}, {"n": 3}],
        "pair": [4, 5],
        "names": {"a": {"n": 6}},
        "colour": "off",
        "either": [7, 8],
        "blob": {"deep": [1, None, {"x": True}]},
        "anything": [object],
        "global": False,
        "items": ["p", "q"],
    }
    value = decode(Outer, raw)
    assert value == Outer(
        "x",
        Inner(1),
        (Inner(2), Inner(3)),
        (4, 5.0),
        {"a": Inner(6)},
        Colour.OFF,
        (7, 8),
        {"deep": [1, None, {"x": True}]},
        [object],
        False,
        ["p", "q"],
    )
    assert isinstance(value.pair[1], float)


def test_yaml_reads_a_bare_off_as_false() -> None:
    assert decode(Colour, False) is Colour.OFF


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({}, "at.needed is missing: a text"),
        (3, "at=3 is not allowed: a mapping with needed, inner"),
        ({"needed": 3}, "at.needed=3 is not allowed: a text"),
        ({"needed": "x", "inner": {"m": 1}}, "at.inner.m is not a known key"),
        ({"needed": "x", "inner": {"n": 1.5}}, "at.inner.n=1.5 is not allowed: a whole number"),
        ({"needed": "x", "inner": {"n": True}}, "at.inner.n=true is not allowed"),
        ({"needed": "x", "many": [{"n": "a"}]}, "at.many[0].n=a is not allowed"),
        ({"needed": "x", "many": "abc"}, "at.many=abc is not allowed: a list"),
        ({"needed": "x", "pair": [1]}, "at.pair=[1] is not allowed: a list of 2"),
        ({"needed": "x", "names": {"a": 1}}, "at.names.a=1 is not allowed: a mapping with n"),
        ({"needed": "x", "names": []}, "at.names=[] is not allowed: a mapping of names"),
        ({"needed": "x", "colour": "rad"}, "(did you mean 'red'?): red, off"),
        ({"needed": "x", "either": "a"}, "a whole number or a list, each a whole number"),
        ({"needed": "x", "renamed": True}, "at.renamed is not a known key"),
        ({"needed": "x", "nedded": "x"}, "(did you mean 'needed'?)"),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(raw: Any, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        decode(Outer, raw, at="at")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), "1", True, None, 10**400, -(10**400), 10**5000],
    ids=lambda value: type(value).__name__,
)
def test_only_finite_numbers_are_numbers(value: Any) -> None:
    with pytest.raises(BadInput, match=r"train\.lr=.* is not allowed: a number") as caught:
        decode(TrainConfig, {"lr": value}, at="train")
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("raw", [None, {}, {"name": "hat"}, "had"])
def test_an_unknown_method_names_the_known_ones(raw: Any) -> None:
    with pytest.raises(BadInput, match=r"method\.name.*naive.*had"):
        decode_method(raw, at="method")
