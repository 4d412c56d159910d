"""Orders: explicit, all, sampled."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from had_core.errors import BadInput
from orchestrator.plan import resolve_orders

ABC = ("a", "b", "c")
KNOWN = (("c", "b", "a"), ("c", "a", "b"), ("a", "b", "c"))


def test_all():
    assert resolve_orders("all", ABC, 0) == tuple(itertools.permutations(ABC))
    assert resolve_orders("all", ("a",), 0) == (("a",),)


def test_explicit():
    assert resolve_orders([["c", "a", "b"], ABC], ABC, 0) == (("c", "a", "b"), ABC)


@given(st.integers(0, 2**32), st.integers(1, 24))
def test_a_sample_is_of_different_orders_and_grows(seed, count):
    tasks = ("a", "b", "c", "d")
    sample = resolve_orders(f"sample:{count}", tasks, seed)
    assert len(set(sample)) == count
    assert all(sorted(order) == sorted(tasks) for order in sample)
    assert resolve_orders("sample:24", tasks, seed)[:count] == sample


def test_a_sample_of_all_is_a_shuffle():
    everything = set(itertools.permutations("abcd"))
    assert set(resolve_orders("sample:24", tuple("abcd"), 3)) == everything


def test_seeds_and_tasks_decide_the_sample():
    samples = {resolve_orders("sample:5", tuple("abcde"), seed) for seed in range(20)}
    assert len(samples) == 20


def test_a_known_sample():
    """The same on every machine and Python version: orders are part of what was published."""
    assert resolve_orders("sample:3", ABC, 0) == KNOWN


def test_sampling_is_uniform():
    first = [resolve_orders("sample:1", ABC, seed)[0] for seed in range(600)]
    counts = [first.count(order) for order in itertools.permutations(ABC)]
    assert min(counts) > 60  # 100 expected; 4.4 standard deviations below


def test_a_small_sample_of_many_tasks_is_quick():
    sample = resolve_orders("sample:10", tuple("abcdefghijklmnop"), 0)  # of 2e13
    assert len(set(sample)) == 10


WRONG = [
    ([["a", "b"]], r"order=\['a', 'b'\] is not allowed: each of a, b, c exactly once"),
    ([["a", "b", "b"]], "exactly once"),
    ([["a", "b", "c", "a"]], "exactly once"),
    ([["a", "b", "x"]], "names 'x', which is not a task: a, b, c"),
    ([], r"orders=\[\] is not allowed: all, sample:K"),
    ([["a", "b", "c"], ["a", "b", "c"]], "twice"),
    ("some", "orders=some is not allowed: all, sample:K"),
    ("sample", "orders=sample is not allowed"),
    ("sample:0", "orders=sample:0 is not allowed"),
    ("sample:-1", "orders=sample:-1 is not allowed"),
    ("sample:x", "orders=sample:x is not allowed"),
    ("sample:00", "orders=sample:00 is not allowed"),
    (f"sample:{'9' * 5000}", r"orders=sample:9{50}\.\.\. is not allowed: 3 tasks have 6 orders"),
    ("sample:7", "orders=sample:7 is not allowed: 3 tasks have 6 orders"),
]


@pytest.mark.parametrize(("orders", "message"), WRONG)
def test_wrong_orders_are_refused(orders, message):
    with pytest.raises(BadInput, match=message):
        resolve_orders(orders, ABC, 0)


@pytest.mark.parametrize("tasks", [(), ("a", "a")])
def test_wrong_tasks_are_refused(tasks):
    with pytest.raises(BadInput, match="at least one, each named once"):
        resolve_orders("all", tasks, 0)
