"""Fixtures of the plan's tests: requests with short defaults."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from had_core.configs import NetConfig, SlicingConfig, TrainConfig
from had_core.methods import HadConfig
from orchestrator.plan import PlanRequest, PrefixTree, expand

FINGERPRINTS = {"train": "a" * 64, "test": "b" * 64}


@pytest.fixture
def request_for() -> Callable[..., PlanRequest]:
    """``request_for("abc", "acb", method=..., slices=5)``: one letter a task, one word an order."""

    def make(*orders: str, slices: int = 5, val_fraction: float = 0.1, **changes: Any):
        values: dict[str, Any] = {
            "method": HadConfig(),
            "orders": tuple(tuple(order) for order in orders),
            "seeds": (0,),
            "net": NetConfig(),
            "train": TrainConfig(),
            "slicing": SlicingConfig(slices=slices, val_fraction=val_fraction),
            "fingerprints": FINGERPRINTS,
        }
        return PlanRequest(**{**values, **changes})

    return make


@pytest.fixture
def all_orders() -> Callable[[str], list[str]]:
    return lambda letters: ["".join(order) for order in itertools.permutations(letters)]


@pytest.fixture
def plan(request_for) -> Callable[..., PrefixTree]:
    """The tree of one request."""
    return lambda *orders, **changes: PrefixTree.of(expand(request_for(*orders, **changes)))
