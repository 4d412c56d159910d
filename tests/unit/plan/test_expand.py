"""From requests to sequences: what is shared, what is not, and what is refused."""

from __future__ import annotations

import pytest
from plan_specs import Keeper

from had_core.configs import NetConfig, Norm, TrainConfig, View
from had_core.errors import BadInput
from had_core.methods import HadConfig, HadLossConfig, NaiveConfig
from had_core.methods.had import Variant
from had_core.methods.joint import JointConfig, JointSetting
from had_core.methods.lwf import LwfConfig
from had_core.methods.single import SingleConfig
from orchestrator.plan import PrefixTree, expand

SETTINGS = [NaiveConfig(), LwfConfig(), HadConfig(), HadConfig(weight=1.0), SingleConfig()]


def keys(sequence) -> list[str]:
    return [stage.key for stage in sequence.stages]


def test_one_stage_a_task_each_from_the_one_before(request_for):
    (sequence,) = expand(request_for("abc"))
    one, two, three = sequence.stages
    assert (sequence.method, sequence.order, sequence.seed) == ("had", ("a", "b", "c"), 0)
    assert (one.fit.parent, two.fit.parent, three.fit.parent) == (None, one.fit, two.fit)
    assert [stage.fit.config.tasks for stage in sequence.stages] == [
        ("a",),
        ("a", "b"),
        ("a", "b", "c"),
    ]
    assert [stage.fit.config.views for stage in sequence.stages] == [
        (View("a", 0),),
        (View("b", 1),),
        (View("c", 2),),
    ]
    assert [stage.position for stage in sequence.stages] == [1, 2, 3]
    assert [stage.fit.config.method.name for stage in sequence.stages] == ["naive", "had", "had"]
    assert all(stage.memory is None for stage in sequence.stages)


def test_evaluations_know_their_split(request_for):
    (sequence,) = expand(request_for("ab", eval_splits=("val", "test")))
    for stage in sequence.stages:
        val, test = stage.evals
        assert (val.split, val.split_fingerprint) == ("val", "a" * 64)
        assert (test.split, test.split_fingerprint) == ("test", "b" * 64)
        assert val.fit is test.fit is stage.fit


def test_stage_one_is_shared_by_methods_and_weights(request_for):
    firsts = {expand(request_for("abc", method=m))[0].stages[0].key for m in SETTINGS}
    assert len(firsts) == 1


def test_lambda_zero_is_naive(request_for):
    zero = expand(request_for("abc", method=HadConfig(weight=0.0)))[0]
    naive = expand(request_for("abc", method=NaiveConfig()))[0]
    assert keys(zero) == keys(naive)
    assert (zero.method, naive.method) == ("had", "naive")


def test_weights_of_later_tasks_do_not_matter_yet(request_for):
    one = HadConfig(weight={"a": 1.0, "b": 2.0, "c": 9.0})
    two = HadConfig(weight={"a": 1.0, "b": 5.0, "c": 7.0})
    left, right = (keys(expand(request_for("abc", method=m))[0]) for m in (one, two))
    assert left[:2] == right[:2]
    assert left[2] != right[2]


def test_equal_weights_a_task_are_one_weight(request_for):
    one = HadConfig(weight={"a": 2.0, "b": 2.0, "c": 5.0})
    assert keys(expand(request_for("abc", method=one))[0]) == keys(
        expand(request_for("abc", method=HadConfig(weight=2)))[0]
    )


def test_appending_a_task_reuses_the_prefix(request_for):
    short = keys(expand(request_for("ab", slices=5))[0])
    assert keys(expand(request_for("abc", slices=5))[0])[:2] == short
    assert keys(expand(request_for("ab", slices=4))[0])[0] != short[0]


def test_shared_stages_are_one_object(request_for):
    one, two = expand(request_for("abc", "abd"))
    assert one.stages[1] is two.stages[1]
    assert one.stages[2] is not two.stages[2]


def test_orders_vary_fastest_over_seeds(request_for):
    planned = expand(request_for("ab", "ba", seeds=(3, 5)))
    assert [(s.seed, "".join(s.order)) for s in planned] == [
        (3, "ab"),
        (3, "ba"),
        (5, "ab"),
        (5, "ba"),
    ]
    assert len({key for s in planned for key in keys(s)}) == 8


@pytest.mark.parametrize(("tasks", "nodes"), [(1, 1), (2, 4), (3, 15), (4, 64), (5, 325)])
def test_all_orders_share_prefixes(tasks, nodes, plan, all_orders):
    """sum_k T! / (T - k)! stages instead of T * T!."""
    tree = plan(*all_orders("abcde"[:tasks]))
    assert len(tree) == nodes


@pytest.mark.parametrize("settings", [1, 2, 5])
def test_settings_share_first_stages(settings, request_for, all_orders):
    """3 tasks, N weights: 3 + 12 N instead of 18 N."""
    sequences = []
    for k in range(settings):
        method = HadConfig(weight=1.0 + k)
        sequences += expand(request_for(*all_orders("abc"), method=method))
    tree = PrefixTree.of(sequences)
    assert tree.wanted == 18 * settings
    assert len(tree) == 3 + 12 * settings


def test_single_trains_every_task_afresh(request_for):
    (sequence,) = expand(request_for("ba", method=SingleConfig()))
    for k, (stage, task) in enumerate(zip(sequence.stages, "ba", strict=True)):
        assert stage.fit.parent is None
        assert stage.fit.config.tasks == stage.evals[0].tasks == (task,)
        assert stage.fit.config.views == (View(task, k),)
        assert stage.position == k + 1


def test_single_shares_by_task_and_position(plan, all_orders):
    assert len(plan(*all_orders("abc"), method=SingleConfig())) == 9


def test_joint_is_one_fit_on_several_views(request_for):
    (sequence,) = expand(request_for("cab", method=JointConfig()))
    (stage,) = sequence.stages
    assert stage.fit.parent is None
    assert {(v.task, v.slice) for v in stage.fit.config.views} == {("c", 0), ("a", 1), ("b", 2)}
    assert stage.position == 3
    assert set(stage.evals[0].tasks) == set("abc")


def test_joint_on_all_images_is_one_fit_for_all_orders(plan, all_orders):
    assert len(plan(*all_orders("abc"), method=JointConfig(JointSetting.MTL))) == 1
    assert len(plan(*all_orders("abc"), method=JointConfig(JointSetting.JOINT))) == 6


def test_worker_batch_enters_only_where_it_decides(request_for):
    def batches(workers: int, **changes) -> list[int | None]:
        request = request_for("ab", workers=workers, train=TrainConfig(batch_size=8), **changes)
        return [stage.fit.worker_batch for stage in expand(request)[0].stages]

    for norm in (Norm.GROUP, Norm.SYNC, Norm.FROZEN):
        assert batches(2, net=NetConfig(norm=norm)) == [None, None]
    assert batches(2, net=NetConfig(norm=Norm.BATCH)) == [4, 4]
    assert batches(1, net=NetConfig(norm=Norm.BATCH)) == [8, 8]
    released = HadConfig(loss=HadLossConfig(variant=Variant.RELEASED))
    # Stage 1 has no old task: plain supervision, whatever the method pools later.
    assert batches(2, method=released) == [None, 4]


def test_worker_batch_must_divide_where_it_decides(request_for):
    train = TrainConfig(batch_size=8)
    with pytest.raises(BadInput, match=r"train\.batch_size=8 .*multiple of the 3 workers.*batch"):
        expand(request_for("ab", workers=3, train=train, net=NetConfig(norm=Norm.BATCH)))
    assert expand(request_for("ab", workers=3, train=train))


def test_workers_are_not_in_the_key_elsewhere(request_for):
    assert keys(expand(request_for("ab", workers=1))[0]) == keys(
        expand(request_for("ab", workers=4))[0]
    )


def test_memories_follow_the_stages(request_for):
    (sequence,) = expand(request_for("abc", method=Keeper()))
    one, two, three = sequence.stages
    assert one.fit.parent_memory is None
    assert two.fit.parent_memory is one.memory
    assert three.fit.parent_memory is two.memory
    assert [stage.memory.fit for stage in sequence.stages] == [one.fit, two.fit, three.fit]
    assert (one.memory.parent, two.memory.parent) == (None, one.memory)


def test_a_kept_memory_leaves_the_first_fit_shared(request_for):
    keeper = keys(expand(request_for("abc", method=Keeper()))[0])
    naive = keys(expand(request_for("abc", method=NaiveConfig()))[0])
    assert keeper[0] == naive[0]
    assert set(keeper[1:]).isdisjoint(naive)


WRONG = [
    ({"slices": 2}, r"data\.slices=2 is not allowed: 3 or more"),
    ({"workers": 0}, "workers=0 is not allowed"),
    ({"seeds": ()}, "seeds"),
    ({"orders": ()}, "orders"),
    ({"orders": ((),)}, r"order=\[\] is not allowed"),
    ({"orders": (("a", "a"),)}, "each named once"),
    ({"eval_splits": ("train",)}, "eval_splits=train is not allowed: test or val"),
    ({"fingerprints": {"train": "a"}}, "a test split"),
    ({"fingerprints": {"test": "a"}}, "a train split"),
    ({"eval_splits": ("val",), "val_fraction": 0.0}, r"data\.val_fraction=0\.0 is not allowed"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_requests_that_cannot_be_planned(request_for, changes, message):
    with pytest.raises(BadInput, match=message):
        request_for("abc", **changes)


def test_weights_for_a_missing_task_are_refused(request_for):
    with pytest.raises(BadInput, match=r"method\.lambda"):
        expand(request_for("abc", method=HadConfig(weight={"a": 1.0})))
