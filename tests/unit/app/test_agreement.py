"""What may differ between two trainings of one stage in two numerics classes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from had_core.configs import Precision
from orchestrator.app.rerun.agreement import (
    FIRST_EPOCH,
    OPENING,
    bitwise_overrides,
    metrics_check,
    opening_check,
    weights_allowed,
)
from orchestrator.plan.numerics import NumericsClass

FLOAT32 = Precision.FLOAT32
CLASS = NumericsClass(workers=1, threads=1, device="cpu", torch="2.9", cpu_capability="AVX2")


def history(*opening, **terms):
    return [{"terms": terms, "steps": 4, "opening": list(opening)}]


def test_the_first_steps_are_compared_term_by_term():
    sealed = history({"new/depth": 2.0, "db/semantic": 1.0}, {"new/depth": 1.0, "db/semantic": 0.5})
    near = history(
        {"new/depth": 2.0, "db/semantic": 1.0}, {"new/depth": 1.00001, "db/semantic": 0.5}
    )
    far = history({"new/depth": 2.0, "db/semantic": 1.002}, {"new/depth": 1.0, "db/semantic": 0.5})
    found = opening_check(near, sealed, FLOAT32)
    assert found.holds and found.value == pytest.approx(1e-5)
    assert found.where == "new/depth in step 2"
    found = opening_check(far, sealed, FLOAT32)
    assert not found.holds and found.value == pytest.approx(2e-3)
    assert found.where == "db/semantic in step 1"
    assert opening_check(far, sealed, Precision.BF16).holds


def test_distillation_is_compared_in_the_first_step_alone():
    first = {"new/depth": 2.0, "sg/normal": 0.0}
    sealed = history(first, {"new/depth": 1.0, "sg/normal": 0.2}, {"new/depth": 0.5})
    mine = history(first, {"new/depth": 1.0, "sg/normal": 0.4}, {"new/depth": 0.8})
    assert opening_check(mine, sealed, FLOAT32).holds
    other = history(first, {"new/depth": 1.001, "sg/normal": 0.2})
    assert not opening_check(other, sealed, FLOAT32).holds


def test_a_term_that_one_of_them_lacks_is_no_rounding():
    found = opening_check(history({"new/depth": 1.0}), history({"new/semantic": 1.0}), FLOAT32)
    assert found.value is None and not found.holds


def test_a_term_that_hardly_matters_is_measured_by_the_whole_loss():
    sealed, mine = {"new/depth": 1.0, "sg/depth": 0.0}, {"new/depth": 1.0, "sg/depth": 1e-7}
    assert opening_check(history(mine), history(sealed), FLOAT32).value == pytest.approx(1e-5)


def test_where_first_steps_were_not_kept_the_first_epoch_is_compared():
    sealed = history(**{"new/depth": 1.0, "db/normal": 1.0})
    mine = history({"new/depth": 9.0}, **{"new/depth": 1.0005, "db/normal": 1.4})
    for one in (sealed, [{k: v for k, v in sealed[0].items() if k != "opening"}]):
        found = opening_check(mine, one, FLOAT32)
        assert found.holds and found.allowed == FIRST_EPOCH[FLOAT32] > OPENING[FLOAT32]
        assert found.where == "new/depth in the first epoch"
    assert not opening_check([], sealed, FLOAT32).holds


def test_weights_may_part_with_the_steps_up_to_a_bound():
    allowed = [weights_allowed(steps) for steps in (0, 4, 20, 230, 1000)]
    assert allowed == pytest.approx([0.05, 0.07, 0.15, 1.2, 1.2])


def test_metrics_are_compared_in_their_own_units():
    sealed = {"depth": {"abs_err": 0.5, "rel_err": None}, "semantic": {"miou": 0.01}}
    near = {"depth": {"abs_err": 0.52, "rel_err": None}, "semantic": {"miou": 0.012}}
    found = metrics_check(near, sealed)
    assert found.holds and (found.value, found.where) == (pytest.approx(0.04), "depth/abs_err")
    lost = {**near, "depth": {"abs_err": None, "rel_err": None}}
    assert not metrics_check(lost, sealed).holds
    assert not metrics_check({"depth": sealed["depth"]}, sealed).holds
    assert metrics_check({}, {}).holds


@pytest.mark.parametrize(
    ("sealed", "mixed", "overrides"),
    [
        ({"threads": 2}, False, ("cluster.workers=1", "cluster.threads=2")),
        ({"workers": 3}, False, ("cluster.workers=3", "cluster.threads=1")),
        ({"threads": 2}, True, None),
        ({"torch": "2.8"}, False, None),
        ({"threads": 2, "cpu_capability": "AVX512"}, False, None),
        ({"device": "NVIDIA H100"}, False, None),
    ],
)
def test_what_to_say_for_a_check_bit_for_bit(sealed, mixed, overrides):
    assert bitwise_overrides(CLASS, replace(CLASS, **sealed), mixed) == overrides


def test_a_stage_of_the_cpu_is_checked_on_the_cpu():
    there = replace(CLASS, device="NVIDIA H100")
    assert bitwise_overrides(there, CLASS, False)[-1] == "cluster.device=cpu"
