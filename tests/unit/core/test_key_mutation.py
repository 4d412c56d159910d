"""The key holds everything that decides weights, and nothing else.

For every field of a fit's key (except versions) there is a fixture here that changes it and gets
other weights; a field without one fails the test. Fields outside the key are changed too, and
must not change anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from micro import MICRO_NET, MICRO_TRAIN, ORDER, fit_config
from thread_parallel import on_ranks

from had_core.configs import (
    Augment,
    Encoder,
    Norm,
    Optimizer,
    Precision,
    Schedule,
    TeacherCache,
    View,
)
from had_core.errors import BadInput
from had_core.methods import (
    METHODS,
    HadConfig,
    HadLossConfig,
    LwfConfig,
    MethodConfig,
    NaiveConfig,
)
from had_core.methods.had import GroupMean, Variant
from had_core.methods.lwf import Targets
from had_core.stage import Runtime, fit
from had_core.tensors import first_difference
from orchestrator.plan.specs import FitSpec

BASE = replace(MICRO_TRAIN, epochs=1)
POSITION = 3  # old tasks of two kinds, so that every setting of the loss can matter


@dataclass(frozen=True)
class Case:
    """Two fits that differ in one key field."""

    base: Callable[[], FitSpec]
    changed: Callable[[], FitSpec]
    workers: tuple[int, int] = (1, 1)


def spec(
    workers_batch: int | None = None, parent_seed: int = 0, position: int = POSITION, **changes
) -> FitSpec:
    config = fit_config(position, **{"train": BASE, **changes})
    parent = None
    for before in range(1, position):
        earlier = fit_config(before, NaiveConfig(), net=config.net, train=BASE, seed=parent_seed)
        parent = FitSpec(parent, earlier, "data-a")
    return FitSpec(parent, config, "data-a", workers_batch)


def train(**changes) -> dict:
    return {"train": replace(BASE, **changes)}


def net(**changes) -> dict:
    """At position 1: a chain has one net, and the fits before would be trained anew as well."""
    return {"net": replace(MICRO_NET, **changes), "position": 1}


def loss(**changes) -> dict:
    return {"method": HadConfig(loss=HadLossConfig(**changes))}


def slicing(**changes) -> dict:
    return {"slicing": replace(fit_config().slicing, **changes)}


def case(changed: dict, base: dict | None = None) -> Case:
    return Case(lambda: spec(**(base or {})), lambda: spec(**changed))


SMALL = {"batch_size": 5}
CASES: dict[str, Case] = {
    "parent": Case(spec, lambda: spec(parent_seed=1)),
    "data": Case(spec, lambda: replace(spec(), data_fingerprint="data-b")),
    "worker_batch": Case(
        lambda: spec(workers_batch=6, **net(norm=Norm.BATCH)),
        lambda: spec(workers_batch=3, **net(norm=Norm.BATCH)),
        workers=(1, 2),
    ),
    "tasks": case({"tasks": ("depth", "semantic", "normal")}),
    "views": case({"views": (View(ORDER[POSITION - 1], 0),)}),
    "method.name": case({"method": NaiveConfig()}),
    "method.lambda": case({"method": HadConfig(weight=1.0)}),
    "method.loss.delta": case(loss(delta=0.3)),
    "method.loss.k": case(loss(k=0.5)),
    "method.loss.beta": case(loss(beta=0.2)),
    "method.loss.eps": case(loss(eps=1e-6)),
    "method.loss.mean": case(loss(mean=GroupMean.ARITHMETIC)),
    "method.loss.bins": case(loss(bins=5)),
    "method.loss.variant": case(loss(variant=Variant.RELEASED)),
    "net.encoder": case(net(encoder=Encoder.RESNET18), net()),
    "net.output_stride": case(net(output_stride=16), net()),
    "net.norm": case(net(norm=Norm.SYNC), net()),
    "net.decoder_channels": case(net(decoder_channels=4), net()),
    "net.aspp_rates": case(net(aspp_rates=(1, 1, 2)), net()),
    "train.epochs": case(train(epochs=2)),
    "train.batch_size": case(train(batch_size=4)),
    "train.drop_last": case(train(**SMALL, drop_last=False), train(**SMALL)),
    "train.optimizer": case(train(optimizer=Optimizer.SGD)),
    "train.lr": case(train(lr=2e-3)),
    "train.weight_decay": case(train(weight_decay=1e-2)),
    "train.momentum": case(
        train(optimizer=Optimizer.SGD, momentum=0.5), train(optimizer=Optimizer.SGD)
    ),
    "train.schedule": case(train(schedule=Schedule.COSINE)),
    "train.precision": case(train(precision=Precision.BF16)),
    "train.freeze_bn": case(train(freeze_bn=True)),
    "train.augment": case(
        train(augment=Augment.FLIP, teacher_cache=TeacherCache.OFF),
        train(teacher_cache=TeacherCache.OFF),
    ),
    "train.teacher_cache": case(
        train(epochs=2, teacher_cache=TeacherCache.FLOAT16), train(epochs=2)
    ),
    "slicing.slices": case(slicing(slices=4)),
    "slicing.val_fraction": case(slicing(val_fraction=0.3)),
    "slicing.split_seed": case(slicing(split_seed=1)),
    "seed": case({"seed": 1}),
}
# Of the other methods: settings that differ from the defaults in one field each.
OF_METHODS: dict[str, dict[str, MethodConfig]] = {
    "lwf": {
        "method.lambda": LwfConfig(weight=2.0),
        "method.temperature": LwfConfig(temperature=4.0),
        "method.targets": LwfConfig(targets=Targets.HARD),
    },
}

# weights_sha256 is decided by a file: test_weights_file_enters_the_key covers it. parent_memory
# waits for the first method that reads one: test_no_method_reads_a_memory_yet fails on that day.
ELSEWHERE = {"version", "net.weights_sha256", "parent_memory"}


def leaves(fields: dict, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in fields.items():
        nested = isinstance(value, dict) and value
        found |= leaves(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}"}
    return found


@pytest.fixture(scope="module")
def other_dataset(tmp_path_factory):
    from had_core.data import ShardDataset
    from had_core.data.rooms import RoomsConfig, build

    path = tmp_path_factory.mktemp("data") / "other"
    build(path, RoomsConfig(seed=1, train=26, test=1, height=24, width=32))
    return ShardDataset.open(path)


@pytest.fixture(scope="module")
def weights(micro_dataset, other_dataset):
    """Train a spec's whole chain; parents are trained once a module."""
    data = {"data-a": micro_dataset, "data-b": other_dataset}
    known: dict[tuple[str, int], dict] = {}

    def trained(wanted: FitSpec, workers: int = 1):
        if (wanted.key, workers) not in known:
            parent = trained(wanted.parent) if wanted.parent else None
            dataset = data[wanted.data_fingerprint]

            def run(parallel):
                runtime = Runtime(parallel=parallel)
                return fit(wanted.config, dataset, parent=parent, runtime=runtime).state

            known[wanted.key, workers] = on_ranks(workers, run)[0]
        return known[wanted.key, workers]

    return trained


def test_every_key_field_has_a_case():
    fields = leaves(spec().key_fields()) | leaves(CASES["train.momentum"].base().key_fields())
    fields |= leaves(CASES["worker_batch"].base().key_fields())
    assert fields - ELSEWHERE == set(CASES)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"had"}))
def test_every_setting_of_another_method_has_a_case(name):
    effective = METHODS[name]().effective(ORDER[: POSITION - 1])
    fields = leaves({"method": spec(method=effective).key_fields()["method"]}) - {"method.name"}
    assert fields == set(OF_METHODS.get(effective.name, {}))


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, cases in OF_METHODS.items() for field in cases]
)
def test_changing_a_setting_of_another_method_changes_key_and_weights(name, field, weights):
    base, changed = spec(method=METHODS[name]()), spec(method=OF_METHODS[name][field])
    assert base.key != changed.key
    assert first_difference(weights(base), weights(changed)) is not None


def test_no_method_reads_a_memory_yet():
    assert not any(config().reads_memory for config in METHODS.values())


@pytest.mark.parametrize("field", sorted(CASES))
def test_changing_a_key_field_changes_key_and_weights(field, weights):
    torch.set_num_threads(1)
    base, changed = CASES[field].base(), CASES[field].changed()
    differing = {
        name
        for name in leaves(base.key_fields()) | leaves(changed.key_fields())
        if _at(base.key_fields(), name) != _at(changed.key_fields(), name)
    }
    assert base.key != changed.key
    assert field in differing or field == "method.name"
    left = weights(base, CASES[field].workers[0])
    right = weights(changed, CASES[field].workers[1])
    assert first_difference(left, right) is not None


def _at(fields: dict, path: str):
    value = fields
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def test_fields_outside_the_key_change_neither_key_nor_weights(weights, micro_dataset, tmp_path):
    base = spec()
    off = spec(**train(teacher_cache=TeacherCache.OFF))
    assert base.key == off.key == spec(**train(eval_every=1)).key
    again = fit(
        base.config,
        micro_dataset,
        parent=weights(base.parent),
        runtime=Runtime(scratch=tmp_path),
    ).state
    assert first_difference(weights(base), again) is None


def test_norms_that_are_frozen_anyway_are_not_frozen_by_a_setting(weights, micro_dataset):
    frozen = {"net": replace(MICRO_NET, norm=Norm.FROZEN), "position": 2}
    base, again = spec(**frozen), spec(**frozen, **train(freeze_bn=True))
    assert base.key == again.key
    state = fit(again.config, micro_dataset, parent=weights(base.parent)).state
    assert first_difference(weights(base), state) is None


def test_weights_file_enters_the_key_by_content_not_by_path(weights, micro_dataset, tmp_path):
    from had_core.nets.weights import sha256
    from had_core.tensors import to_bytes

    state = weights(spec())
    encoder = {
        name.removeprefix("encoder."): tensor
        for name, tensor in state.items()
        if name.startswith("encoder.")
    }
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(to_bytes(encoder))

    def stage_1(path) -> FitSpec:
        return spec(**net(weights=str(path), weights_sha256=sha256(path)))

    first, second = stage_1(tmp_path / "a.safetensors"), stage_1(tmp_path / "b.safetensors")
    plain = spec(**net())
    assert first.key == second.key != plain.key
    assert first_difference(weights(first), fit(second.config, micro_dataset).state) is None
    assert first_difference(weights(first), weights(plain)) is not None


def test_another_file_of_weights_than_the_keys_is_refused_on_every_rank(
    weights, micro_dataset, tmp_path
):
    """One machine's file was replaced after the plan was made."""
    from had_core.nets.weights import sha256
    from had_core.tensors import to_bytes

    state = weights(spec())
    encoder = {
        name.removeprefix("encoder."): tensor
        for name, tensor in state.items()
        if name.startswith("encoder.")
    }
    planned, replaced = tmp_path / "planned.safetensors", tmp_path / "replaced.safetensors"
    planned.write_bytes(to_bytes(encoder))
    replaced.write_bytes(to_bytes({name: 2 * tensor for name, tensor in encoder.items()}))

    def attempt(parallel):
        path = replaced if parallel.rank == 1 else planned
        config = spec(**net(weights=str(path), weights_sha256=sha256(planned))).config
        with pytest.raises(BadInput) as caught:
            fit(config, micro_dataset, runtime=Runtime(parallel=parallel))
        return str(caught.value)

    there, here = on_ranks(2, attempt)
    assert f"weights file '{replaced}' has SHA-256 {sha256(replaced)}" in here
    assert there == "another worker of this lane cannot build the net"


def test_a_digest_without_a_file_starts_no_fresh_net(micro_dataset):
    config = spec(**net(weights_sha256="e" * 64)).config
    with pytest.raises(BadInput, match=r"net\.weights is missing: .*e{64}"):
        fit(config, micro_dataset)
