"""Specs for the plan's tests: strategies over every field, and a method that keeps a memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hypothesis import strategies as st

from had_core.configs import (
    NetConfig,
    Norm,
    Optimizer,
    SlicingConfig,
    TeacherCache,
    TrainConfig,
    View,
)
from had_core.fit_config import FitConfig
from had_core.methods import (
    HadConfig,
    HadLossConfig,
    LwfConfig,
    Method,
    MethodConfig,
    NaiveConfig,
)
from orchestrator.plan import FitSpec

DATA = "d" * 64


@dataclass(frozen=True)
class Keeper(MethodConfig):
    """A method like EWC: plain at stage 1, reads what it kept from then on."""

    name: ClassVar[str] = "keeper"
    weight: float = 1.0

    def effective(self, old_tasks: Sequence[str]) -> MethodConfig:
        return self if old_tasks else NaiveConfig()

    def build(self) -> Method:
        raise AssertionError("a plan builds nothing")

    @property
    def reads_memory(self) -> bool:
        return True

    @property
    def keeps_memory(self) -> bool:
        return True


names = st.sampled_from("abcd")
loss = st.builds(
    HadLossConfig,
    delta=st.sampled_from([0.25, 0.5]),
    beta=st.sampled_from([0.0, 0.5, 1.0]),
    bins=st.sampled_from([2, 5]),
)
methods = st.one_of(
    st.just(NaiveConfig()),
    st.builds(LwfConfig, weight=st.sampled_from([1, 1.0, 2.5])),
    st.builds(
        HadConfig,
        weight=st.one_of(
            st.sampled_from([1, 1.0, 3.0]),
            st.dictionaries(names, st.sampled_from([0.5, 1, 1.0]), min_size=4, max_size=4),
        ),
        loss=loss,
    ),
)
trains = st.builds(
    TrainConfig,
    optimizer=st.sampled_from(Optimizer),
    momentum=st.sampled_from([0.5, 0.9]),
    freeze_bn=st.booleans(),
    teacher_cache=st.sampled_from(TeacherCache),
)
nets = st.builds(
    NetConfig,
    norm=st.sampled_from(Norm),
    weights=st.sampled_from([None, "/a", "/b"]),
    weights_sha256=st.sampled_from(["e" * 64, "f" * 64]),
)
views = st.lists(st.builds(View, names, st.sampled_from([None, 0, 1])), min_size=1, max_size=2).map(
    tuple
)
configs = st.builds(
    FitConfig,
    tasks=st.lists(names, min_size=1, max_size=3, unique=True).map(tuple),
    views=views,
    method=methods,
    net=nets,
    train=trains,
    slicing=st.builds(SlicingConfig, slices=st.sampled_from([3, 4])),
    seed=st.integers(0, 1),
)
fits = st.builds(FitSpec, st.none(), configs, st.sampled_from([DATA, "0" * 64]))
specs = st.one_of(
    fits, st.builds(FitSpec, fits, configs, st.just(DATA), st.sampled_from([None, 4]))
)
