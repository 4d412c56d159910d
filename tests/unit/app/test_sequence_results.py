"""What is drawn from sealed rows, where some are missing or undefined."""

from __future__ import annotations

import math

import pytest
from micro import MICRO_NET, MICRO_SLICING, MICRO_TRAIN

from had_core.data.rooms import TASKS
from had_core.methods import HadConfig, LwfConfig, NaiveConfig, SingleConfig
from orchestrator.app.scores import Reference, sequence_results
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.expand import PlanRequest, expand
from orchestrator.store import Store

AB, BA = ("semantic", "depth"), ("depth", "semantic")
KNOWN = {task.name: task for task in TASKS[:2]}
CONSTANT = {name: {m.name: 0.01 for m in task.metrics} for name, task in KNOWN.items()}


def scores(miou=0.4, abs_err=0.5):
    return {
        "semantic": {"miou": miou, "pixel_acc": 0.5},
        "depth": {"abs_err": abs_err, "rel_err": 0.5},
    }


METHODS = {"naive": NaiveConfig(), "lwf": LwfConfig(), "had": HadConfig()}


def planned(label, method):
    return expand(
        PlanRequest(
            method=method,
            label=label,
            orders=(AB, BA),
            seeds=(0,),
            net=MICRO_NET,
            train=MICRO_TRAIN,
            slicing=MICRO_SLICING,
            fingerprints={"train": "a" * 64, "test": "b" * 64},
        )
    )


@pytest.fixture
def results(tmp_path):
    """Results of three methods in two orders; ``rows`` maps (label, order) to the last row, None
    where the last stage was never scored."""
    store = Store.open(tmp_path / "store")

    def seal(spec, row):
        raw = formats.row_to_bytes("test", row)
        store.seal(ArtifactKind.EVAL, spec.key, {formats.ROW: raw}, {})

    def make(rows, reference="naive", methods=METHODS):
        sequences = [s for label, method in methods.items() for s in planned(label, method)]
        for sequence in sequences:
            for number, stage in enumerate(sequence.stages):
                known = {name: scores()[name] for name in stage.fit.config.tasks}
                last = number == len(sequence.stages) - 1
                row = rows.get((sequence.method, sequence.order), known) if last else known
                if row is not None:
                    seal(stage.evals[0], row)
        known = Reference(reference, CONSTANT) if reference else None
        found = sequence_results(sequences, KNOWN, store, frozenset(), known)
        return {(result.method, result.order): result for result in found}

    return make


def test_ranks_where_every_method_has_finished(results):
    found = results(
        {
            ("naive", AB): scores(0.1, 0.9),
            ("lwf", AB): scores(0.2, 0.8),
            ("had", AB): scores(0.4, 0.5),
            ("lwf", BA): None,
        }
    )
    # Two of the four metrics are equal for all: rank 2.
    assert [found[name, AB].mean_rank for name in ("naive", "lwf", "had")] == [2.5, 2, 1.5]
    assert {found[name, BA].mean_rank for name in ("naive", "lwf", "had")} == {None}
    assert found["had", BA].delta_m_pct == 0
    assert found["lwf", BA].delta_m_pct is None
    assert not found["lwf", BA].is_complete


def test_delta_m_is_paired_with_the_reference_of_the_same_order(results):
    found = results({("naive", AB): scores(0.2), ("naive", BA): None, ("had", AB): scores(0.3)})
    assert found["had", AB].delta_m_pct == pytest.approx(100 * 0.5 / 2 / 2)
    assert found["naive", AB].delta_m_pct is None
    assert found["had", BA].delta_m_pct is None
    assert found["had", AB].floored == found["had", AB].undefined == ()


def test_what_delta_m_leaves_out_is_named(results):
    found = results({("had", AB): scores(abs_err=math.nan), ("naive", BA): scores(miou=0.001)})
    had = found["had", AB]
    assert had.undefined == ("depth/abs_err",)
    assert had.delta_m_pct == 0, "over what is left"
    assert had.final["depth"]["abs_err"] is None
    assert found["had", BA].floored == ("semantic/miou",)
    # abs_err ranks nobody in this order: three metrics, all equal.
    assert found["lwf", AB].mean_rank == 2


def test_delta_m_as_the_literature_has_it_stands_beside_ours(results):
    found = results({("naive", AB): scores(0.001), ("had", AB): scores(0.4)})
    had = found["had", AB]
    assert had.delta_m_pct == pytest.approx(100 * 0.399 / 0.01 / 2 / 2)
    assert had.delta_m_plain_pct == pytest.approx(100 * 399 / 2 / 2)
    assert had.delta_m_by_task == pytest.approx({"semantic": 100 * 0.399 / 0.01 / 2, "depth": 0})


def test_what_was_forgotten_half_way_is_no_result(results):
    found = results({("had", AB): None})
    assert (found["had", AB].forgetting, found["had", AB].bwt) == (None, None)
    assert found["had", BA].forgetting == 0


def test_plasticity_where_there_are_nets_of_their_own(results):
    assert {result.plasticity for result in results({}).values()} == {None}
    methods = {"naive": NaiveConfig(), "single": SingleConfig(), "had": HadConfig()}
    # semantic comes second in BA; single learned it to 0.2, the others to 0.4
    second = {"semantic": scores(0.2)["semantic"]}
    found = results({("single", BA): second}, methods=methods)
    assert found["had", BA].plasticity == pytest.approx(100 * 0.5 / 2 / 100)
    assert found["had", AB].plasticity == 0
    assert found["single", BA].plasticity is None


def test_without_a_reference_there_is_no_delta_m(results):
    assert {result.delta_m_pct for result in results({}, reference=None).values()} == {None}
