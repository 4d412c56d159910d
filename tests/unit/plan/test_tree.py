"""The prefix tree and the dry run over it."""

from __future__ import annotations

import gc
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_specs import Keeper

from had_core.configs import NetConfig, SlicingConfig, TrainConfig
from had_core.methods import HadConfig, NaiveConfig
from orchestrator.plan import (
    ArtifactKind,
    PlanRequest,
    PrefixTree,
    SequenceSpec,
    dry_run,
    expand,
)


def name(node) -> str:
    return "".join(node.fit.config.tasks)


def by_name(tree: PrefixTree) -> dict:
    return {name(node): node for node in tree}


def test_shape_of_a_small_tree(plan):
    tree = plan("abc", "acb", "bc")
    nodes = by_name(tree)
    assert sorted(nodes) == ["a", "ab", "abc", "ac", "acb", "b", "bc"]
    assert [name(tree[key]) for key in nodes["a"].children] == ["ab", "ac"]
    assert nodes["ab"].parent == nodes["a"].key
    assert [name(node) for node in tree.roots] == ["a", "b"]
    assert {n: nodes[n].depth for n in ("a", "ab", "abc")} == {"a": 1, "ab": 2, "abc": 3}
    assert {n: nodes[n].remaining for n in ("a", "ab", "abc", "b")} == {
        "a": 3,
        "ab": 2,
        "abc": 1,
        "b": 2,
    }
    assert nodes["a"].sequences == (0, 1)
    assert nodes["bc"].sequences == (2,)
    assert tree.wanted == 8
    assert [name(tree[key]) for key in tree.descendants(nodes["a"].key)] == [
        "ab",
        "ac",
        "abc",
        "acb",
    ]
    assert tree.at_depth() == {1: 2, 2: 3, 3: 2}


orders = st.lists(
    st.permutations("abcd").flatmap(lambda o: st.integers(1, 4).map(lambda n: tuple(o[:n]))),
    min_size=1,
    max_size=8,
)


@given(orders, st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=2, unique=True))
def test_invariants(orders, weights):
    sequences: list[SequenceSpec] = []
    for weight in weights:
        sequences += expand(
            PlanRequest(
                method=HadConfig(weight=weight),
                orders=tuple(orders),
                seeds=(0,),
                net=NetConfig(),
                train=TrainConfig(),
                slicing=SlicingConfig(slices=4),
                fingerprints={"train": "a", "test": "b"},
            )
        )
    tree = PrefixTree.of(sequences)
    seen: set[str] = set()
    for node in tree:
        assert node.parent is None or node.parent in seen  # parents first
        seen.add(node.key)
        assert all(tree[child].parent == node.key for child in node.children)
        below = [tree[child].remaining for child in node.children]
        assert node.remaining == 1 + max(below, default=0)
        assert node.depth == len(node.fit.lineage())
        wanted_by = [i for i, s in enumerate(sequences) if node.key in {x.key for x in s.stages}]
        assert list(node.sequences) == wanted_by
    assert seen == {stage.key for s in sequences for stage in s.stages}
    assert tree.wanted == sum(len(order) for order in orders) * len(weights)


def test_evaluations_of_a_shared_stage_are_united(request_for):
    test = expand(request_for("ab", method=NaiveConfig()))
    val = expand(request_for("ab", method=HadConfig(), eval_splits=("val",)))
    nodes = by_name(PrefixTree.of([*test, *val]))
    assert [e.split for e in nodes["a"].evals] == ["test", "val"]
    same = PrefixTree.of([*test, *expand(request_for("ab", method=NaiveConfig()))])
    assert [len(node.evals) for node in same] == [1, 1]


def test_memories_of_a_shared_stage_are_all_kept(request_for):
    sequences = [
        *expand(request_for("ab", method=Keeper())),
        *expand(request_for("ab", method=Keeper(weight=2.0))),
        *expand(request_for("ab", method=NaiveConfig())),
    ]
    tree = PrefixTree.of(sequences)
    (root,) = tree.roots
    assert [memory.method.weight for memory in root.memories] == [1.0, 2.0]
    assert sorted(len(node.memories) for node in tree) == [0, 1, 1, 2]


def test_a_stage_by_itself_is_a_root(request_for):
    """A rerun asks for one stage whose parent lies in the store."""
    (sequence,) = expand(request_for("abc"))
    tree = PrefixTree.of([SequenceSpec("had", ("c",), 0, sequence.stages[2:])])
    (node,) = tree
    assert node.parent is None
    assert node.fit.parent is not None
    assert (node.depth, node.remaining) == (3, 1)
    assert tree.roots == (node,)


def test_parents_come_first_whoever_asks_first(request_for):
    """A stage asked for by itself, then the whole sequence it belongs to."""
    (whole,) = expand(request_for("abc"))
    alone = SequenceSpec("had", ("c",), 0, whole.stages[2:])
    tree = PrefixTree.of([alone, whole])
    assert [name(node) for node in tree] == ["a", "ab", "abc"]
    assert by_name(tree)["abc"].sequences == (0, 1)
    assert by_name(tree)["a"].remaining == 3


def test_no_sequences():
    tree = PrefixTree.of([])
    assert (len(tree), tree.wanted, tree.roots) == (0, 0, ())


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled, plan):
    was = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        plan("ab")
        assert gc.isenabled() is enabled
    finally:
        gc.enable() if was else gc.disable()


def test_dry_run_of_an_empty_store(plan, all_orders):
    tree = plan(*all_orders("abc"))
    report = dry_run(tree, lambda kind, key: False)
    assert (report.sequences, report.stages_wanted, report.unique) == (6, 18, 15)
    assert (report.cached, report.to_train, report.to_evaluate) == (0, 15, 15)
    first = report.rows[0]
    assert (first.stage, first.position, first.tasks) == ("naive: a", 1, ("a",))
    assert (first.parent, first.sequences, first.to_evaluate) == (None, 2, ("test",))
    assert {row.stage for row in report.rows[3:]} == {"had: a", "had: b", "had: c"}
    keys = [row.key for row in report.rows]
    assert all(row.parent is None or row.parent in keys[:k] for k, row in enumerate(report.rows))


def test_dry_run_against_what_is_sealed(plan):
    tree = plan("abc", "acb")
    nodes = by_name(tree)
    sealed = {
        (ArtifactKind.FIT, nodes["a"].key),
        (ArtifactKind.FIT, nodes["ab"].key),
        (ArtifactKind.EVAL, nodes["a"].evals[0].key),
    }
    report = dry_run(tree, lambda kind, key: (kind, key) in sealed)
    assert (report.cached, report.to_train, report.to_evaluate) == (2, 3, 4)
    rows = {"".join(row.tasks): row for row in report.rows}
    assert (rows["a"].cached, rows["a"].to_evaluate) == (True, ())
    assert (rows["ab"].cached, rows["ab"].to_evaluate) == (True, ("test",))
    assert (rows["ac"].cached, rows["ac"].to_evaluate) == (False, ("test",))
    assert json.loads(json.dumps(report.to_json()))["unique"] == 5


def test_dry_run_against_a_store(plan, tmp_path):
    from orchestrator.store import Store

    store, tree = Store.open(tmp_path), plan("ab")
    first, second = tree
    store.seal(ArtifactKind.FIT, first.key, {"model": b"x"}, {"spec": first.fit.to_json()})
    report = dry_run(tree, store.is_sealed)
    assert [row.cached for row in report.rows] == [True, False]
    assert report.rows[1].key == second.key
