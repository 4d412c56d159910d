"""Keys: what they depend on, what they do not, and that they stay what they are."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from plan_specs import DATA, configs, specs

from had_core.canonical import canonical_json, digest
from had_core.configs import (
    Augment,
    Encoder,
    NetConfig,
    Norm,
    Optimizer,
    Precision,
    Schedule,
    SlicingConfig,
    TeacherCache,
    TrainConfig,
    View,
)
from had_core.errors import BadInput
from had_core.fit_config import FitConfig
from had_core.methods import HadConfig, HadLossConfig, LwfConfig, NaiveConfig
from orchestrator.plan import EvalSpec, FitSpec, MemorySpec


def config(tasks: str = "a", **changes) -> FitConfig:
    values = {
        "tasks": tuple(tasks),
        "views": (View(tasks[-1], len(tasks) - 1),),
        "method": NaiveConfig() if len(tasks) == 1 else HadConfig(),
        "net": NetConfig(),
        "train": TrainConfig(),
        "slicing": SlicingConfig(slices=3),
        "seed": 0,
    }
    return FitConfig(**{**values, **changes})


def first(**changes) -> FitSpec:
    return FitSpec(None, config("a", **changes), DATA)


def second(**changes) -> FitSpec:
    return FitSpec(first(), config("ab", **changes), DATA)


def train(**changes) -> TrainConfig:
    return TrainConfig(**changes)


GOLDEN = {
    "first": "9acd42ced68f43751a775b43b8f7304203bb5e4af952234ab000beba724dc173",
    "second": "bc18c33afa08edf75360db7e0eae48398cb4e9cc761c7bb710ccdc1b8ee1ada4",
    "had settings": "fe72c71284b08444a1ca58ff6e00c344a8b56e467701835c88ebe5a148518dce",
    "weights a task": "5976df417097c39dc8a9bfa869570f2565f777a569b5b19f323d8b6f39fba418",
    "resnet": "1fce13af8f0afa95a77574f91be6e1e6d0b579e8170fe909ac78ec94b466e769",
    "joint": "b5642d82a39078d5291760b16c28ba3d7986e839402e1a6eab6d0e916dfa0162",
    "memory": "06457050544078855f008f05fba749a2ceb766180d123690f8952f87bab6b32a",
    "test": "a0c15199efb5c668066f8b70d862610ef762ab3ff233b0d402426bc19d104248",
    "val": "b66233bc9902f37e826bc1d22dd8f7936dcc71346b8534c453de7224263e2091",
}


def golden_specs() -> dict[str, FitSpec | MemorySpec | EvalSpec]:
    resnet = NetConfig(
        encoder=Encoder.RESNET18,
        output_stride=16,
        norm=Norm.BATCH,
        decoder_channels=256,
        aspp_rates=(12, 24, 36),
        weights="/anywhere/resnet18.safetensors",
        weights_sha256="e" * 64,
    )
    sgd = train(
        epochs=3,
        batch_size=64,
        drop_last=False,
        optimizer=Optimizer.SGD,
        lr=0.01,
        weight_decay=0.0,
        schedule=Schedule.COSINE,
        precision=Precision.BF16,
        freeze_bn=True,
        augment=Augment.FLIP,
        teacher_cache=TeacherCache.OFF,
    )
    views = (View("a", None), View("b", None))
    return {
        "first": first(),
        "second": second(),
        "had settings": second(
            method=HadConfig(weight=1.5, loss=HadLossConfig(delta=0.25, k=0.5, beta=0.75, eps=1e-6))
        ),
        "weights a task": second(method=HadConfig(weight={"a": 0.1, "b": 2})),
        "resnet": FitSpec(first(), config("ab", net=resnet, train=sgd, seed=7), DATA, 32),
        "joint": FitSpec(None, config("ab", views=views, method=NaiveConfig()), DATA),
        "memory": MemorySpec(second(), HadConfig(), MemorySpec(first(), HadConfig())),
        "test": EvalSpec(second(), "test", "b" * 64),
        "val": EvalSpec(second(), "val", DATA),
    }


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden_keys(name):
    """A changed key retrains everything everywhere: bump a version, or find out why it changed."""
    assert golden_specs()[name].key == GOLDEN[name]


def test_a_key_written_out():
    """The definition, without any of the project's code."""
    text = (
        f'{{"data":"{DATA}","method":{{"name":"naive"}},"net":{{"aspp_rates":[2,4,6],'
        '"decoder_channels":32,"encoder":"tiny","norm":"group","output_stride":8,'
        '"weights_sha256":null},"parent":null,"parent_memory":null,"seed":0,'
        '"slicing":{"slices":3,"split_seed":0,"val_fraction":0.1},"tasks":["a"],'
        '"train":{"augment":"none","batch_size":8,"drop_last":true,"epochs":20,"lr":0.0001,'
        '"optimizer":"adam","precision":"float32","schedule":"constant","weight_decay":1e-05},'
        '"version":1,"views":[{"slice":0,"task":"a"}],"worker_batch":null}'
    )
    assert first().key == hashlib.sha256(text.encode()).hexdigest()


def test_the_key_is_the_digest_of_the_key_fields():
    for spec in golden_specs().values():
        if isinstance(spec, FitSpec):
            assert spec.key == digest(spec.key_fields())


def test_every_field_of_the_config_is_in_the_key():
    fields = second().key_fields()
    assert {f.name for f in dataclasses.fields(FitConfig)} <= set(fields)
    assert set(fields["net"]) == {f.name for f in dataclasses.fields(NetConfig)} - {"weights"}
    assert set(fields["method"]["loss"]) == {f.name for f in dataclasses.fields(HadLossConfig)}


def test_key_fields_are_a_copy():
    spec = second()
    spec.key_fields()["train"]["lr"] = 5.0
    assert spec.key == digest(spec.key_fields()) == second().key


SGD = train(optimizer=Optimizer.SGD)
EQUAL = {
    "path of the weights": (
        second(net=NetConfig(weights="/here/w", weights_sha256="e" * 64)),
        second(net=NetConfig(weights="/there/w", weights_sha256="e" * 64)),
    ),
    "weights without their path": (
        second(net=NetConfig(weights_sha256="e" * 64)),
        second(net=NetConfig(weights="/there/w", weights_sha256="e" * 64)),
    ),
    "momentum of adam": (second(), second(train=train(momentum=0.5))),
    "no cache and a float32 cache": (
        second(train=train(teacher_cache=TeacherCache.OFF)),
        second(train=train(teacher_cache=TeacherCache.FLOAT32)),
    ),
    "any cache without a teacher": (
        first(train=train(teacher_cache=TeacherCache.FLOAT16)),
        first(train=train(teacher_cache=TeacherCache.FLOAT32)),
    ),
    "any cache under naive": (
        second(method=NaiveConfig(), train=train(teacher_cache=TeacherCache.FLOAT16)),
        second(method=NaiveConfig()),
    ),
    "frozen norms before there is an old task": (first(), first(train=train(freeze_bn=True))),
    "frozen norms that are frozen anyway": (
        second(net=NetConfig(norm=Norm.FROZEN)),
        second(net=NetConfig(norm=Norm.FROZEN), train=train(freeze_bn=True)),
    ),
    "whole number as a float": (
        second(method=HadConfig(weight=3), train=train(lr=1)),
        second(method=HadConfig(weight=3.0), train=train(lr=1.0)),
    ),
    "order of weights a task": (
        second(method=HadConfig(weight={"a": 1.0, "b": 2.0})),
        second(method=HadConfig(weight={"b": 2.0, "a": 1.0})),
    ),
}


@pytest.mark.parametrize("what", sorted(EQUAL))
def test_what_cannot_matter_is_not_in_the_key(what):
    left, right = EQUAL[what]
    assert left.key == right.key


DIFFERENT = {
    "content of the weights": (
        second(net=NetConfig(weights="/w", weights_sha256="e" * 64)),
        second(net=NetConfig(weights="/w", weights_sha256="f" * 64)),
    ),
    "momentum of sgd": (second(train=SGD), second(train=replace(SGD, momentum=0.5))),
    "a float16 cache": (second(), second(train=train(teacher_cache=TeacherCache.FLOAT16))),
    "frozen norms": (second(), second(train=train(freeze_bn=True))),
    "method": (second(), second(method=LwfConfig())),
    "weights a task": (
        second(method=HadConfig(weight={"a": 1.0})),
        second(method=HadConfig(weight={"a": 2.0})),
    ),
    "seed": (second(), second(seed=1)),
    "slice": (first(), first(views=(View("a", 1),))),
    "all slices": (first(), first(views=(View("a", None),))),
    "slices": (first(), first(slicing=SlicingConfig(slices=4))),
    "data": (first(), replace(first(), data_fingerprint="0" * 64)),
    "batch a worker": (first(), replace(first(), worker_batch=4)),
    "parent": (second(), replace(second(), parent=first(seed=1))),
    "fresh weights": (second(), replace(second(), parent=None)),
    "version": (first(), replace(first(), version=2)),
    "memory": (second(), replace(second(), parent_memory=MemorySpec(first(), HadConfig()))),
}


@pytest.mark.parametrize("what", sorted(DIFFERENT))
def test_what_matters_is_in_the_key(what):
    left, right = DIFFERENT[what]
    assert left.key != right.key


def test_weights_without_a_digest_are_refused():
    with pytest.raises(
        BadInput, match=r"net\.weights=/w is not allowed without net\.weights_sha256"
    ):
        _ = second(net=NetConfig(weights="/w")).key


def test_an_eval_key_tells_splits_and_held_out_images_apart():
    fit = first()
    keys = {
        EvalSpec(fit, "test", "b" * 64).key,
        EvalSpec(fit, "test", "c" * 64).key,
        EvalSpec(fit, "val", "b" * 64).key,
        EvalSpec(second(), "test", "b" * 64).key,
        EvalSpec(fit, "test", "b" * 64, version=2).key,
    }
    assert len(keys) == 5


def test_an_evaluation_scores_the_tasks_of_its_fit():
    assert EvalSpec(second(), "test", DATA).tasks == ("a", "b")


def test_a_memory_key_depends_on_fit_method_and_past():
    mine = MemorySpec(first(), HadConfig())
    keys = {
        mine.key,
        MemorySpec(second(), HadConfig()).key,
        MemorySpec(first(), HadConfig(weight=1.0)).key,
        MemorySpec(first(), NaiveConfig()).key,
        MemorySpec(first(), HadConfig(), mine).key,
    }
    assert len(keys) == 5


def test_changing_a_shared_method_object_cannot_go_unseen():
    """Texts are remembered by identity; another object with the same id must not inherit them."""
    keys = {second(method=HadConfig(weight={"a": float(k)})).key for k in range(1, 200)}
    assert len(keys) == 199


@given(specs, specs)
def test_equal_keys_mean_equal_fields(left, right):
    assert (left.key == right.key) == (left.key_fields() == right.key_fields())


@given(specs)
def test_the_text_that_is_hashed_is_canonical(spec):
    fields = spec.key_fields()
    assert spec.key == digest(fields)
    assert canonical_json(fields) == spec._text()


@given(configs, configs)
def test_one_change_decides_like_the_parts(left, right):
    """A key changes exactly when some field that is in the key changes."""
    a, b = FitSpec(None, left, DATA), FitSpec(None, right, DATA)
    changed = {name for name, value in a.key_fields().items() if b.key_fields()[name] != value}
    assert bool(changed) == (a.key != b.key)
