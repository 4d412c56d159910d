"""What every method promises (``had_core.methods.base``), run over all of them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import replace
from functools import cache

import pytest
from micro import MICRO_NET, MICRO_SLICING, MICRO_TRAIN, ORDER
from thread_parallel import on_ranks

from had_core.fit_config import sequence_fits
from had_core.methods import METHODS
from had_core.stage import Runtime, fit
from had_core.tensors import first_difference


@pytest.fixture(params=sorted(METHODS))
def method(request):
    return METHODS[request.param]()


def fits_of(method):
    train = replace(MICRO_TRAIN, epochs=1)
    return sequence_fits(method, ORDER, MICRO_NET, train, MICRO_SLICING, 0)


def run(method, dataset, parallel=None):
    """All fits of the micro sequence, each from the parent its shape names."""
    runtime = Runtime(parallel=parallel) if parallel else Runtime()
    results = []
    for shape, config in fits_of(method):
        parent = None if shape.parent is None else results[shape.parent]
        results.append(
            fit(
                config,
                dataset,
                parent=parent.state if parent else None,
                memory=parent.memory if parent else None,
                runtime=runtime,
            )
        )
    return results


@pytest.fixture(scope="module")
def trained(micro_dataset):
    """``run``, once a method."""
    return cache(lambda method: run(method, micro_dataset))


def test_configs_are_frozen_dataclasses_with_a_name(method):
    assert dataclasses.is_dataclass(method) and method.__dataclass_params__.frozen
    assert METHODS[method.name] is type(method)


def test_importing_the_methods_imports_no_torch():
    code = "import sys, had_core.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("old", [(), ORDER[:1], ORDER[:2]])
def test_effective_is_idempotent(method, old):
    once = method.effective(old)
    assert once.effective(old) == once


def test_shapes_name_earlier_parents_known_tasks_and_rising_rows(method):
    shapes = method.shape(ORDER)
    for index, shape in enumerate(shapes):
        assert shape.parent is None or shape.parent < index
        assert set(shape.new_tasks) <= set(shape.tasks) <= set(ORDER)
        assert 1 <= shape.row <= len(ORDER)
        if shape.parent is not None:
            assert shapes[shape.parent].tasks == shape.tasks[: -len(shape.new_tasks)]
    rows = [shape.row for shape in shapes]
    assert rows == sorted(set(rows))
    assert {task for shape in shapes for task in shape.tasks} == set(ORDER)


def test_every_order_extends_to_a_longer_one_with_the_same_first_fits(method):
    short, whole = method.shape(ORDER[:2]), method.shape(ORDER)
    if any(len(shape.views) > 1 for shape in whole):
        assert len(whole) == 1  # all tasks at once: there is no prefix to share
    else:
        assert whole[: len(short)] == short


def test_distilled_tasks_are_old_ones(method):
    assert set(method.distilled(ORDER[:2])) <= set(ORDER[:2])
    assert method.distilled(()) == ()


def test_terms_are_finite_and_name_their_task(method, trained):
    for (_, config), result in zip(fits_of(method), trained(method), strict=True):
        for record in result.history:
            assert {f"new/{task}" for task in config.new_tasks} <= set(record.terms)
            assert {name.split("/")[1] for name in record.terms} <= set(config.tasks)
            assert all(value == value for value in record.terms.values())


def test_a_second_run_in_the_same_process_gives_the_same_weights(method, trained, micro_dataset):
    first, second = trained(method), run(method, micro_dataset)
    for left, right in zip(first, second, strict=True):
        assert first_difference(left.state, right.state) is None


def test_terms_are_the_same_over_ranks(method, trained, micro_dataset):
    two = on_ranks(2, lambda rank: run(method, micro_dataset, parallel=rank))[0]
    for left, right in zip(trained(method), two, strict=True):
        assert left.history[0].terms == pytest.approx(right.history[0].terms, rel=2e-2, abs=1e-4)


def test_memory_is_kept_exactly_where_the_config_says(method, trained):
    for (_, config), result in zip(fits_of(method), trained(method), strict=True):
        assert bool(result.memory) == config.method.keeps_memory
