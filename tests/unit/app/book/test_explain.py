"""``had explain`` over a made-up store: what it names, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from had_core.configs import TrainConfig
from had_core.methods import HadConfig, LwfConfig
from orchestrator.plan import ArtifactKind, StageSpec


@pytest.fixture
def stages(made):
    """The stages of two runs that differ in the weight of HAD."""
    runs = [made.run(f"lambda-{weight}", method=HadConfig(weight=weight)) for weight in (1.0, 3.0)]
    return [sequence.stages for (sequence,) in runs]


def test_what_differs_is_named_where_it_begins(stages, document):
    left, right = stages
    found = document("explain", left[2].key[:12], right[2].key[:12])
    assert (found["left"], found["right"], found["same"]) == (left[2].key, right[2].key, False)
    (first,) = found["levels"][:1]
    assert (first["depth"], first["left"], first["right"]) == (2, left[1].key, right[1].key)
    assert first["fields"] == [{"field": "method.lambda", "left": 1.0, "right": 3.0}]


def test_people_read_it_as_a_table(stages, had):
    left, right = stages
    shown = had("explain", left[2].key[:12], right[2].key[:12]).stdout
    for text in ("method.lambda", "(as above)", f"part at stage 2 ({left[1].key[:12]} and"):
        assert text in shown


def test_a_stage_that_both_runs_share_is_the_same(stages, document, had):
    left, right = stages
    assert left[0].key == right[0].key
    found = document("explain", left[0].key, right[0].key[:20])
    assert found["same"] and found["levels"] == []
    assert "the same stage" in had("explain", left[0].key, right[0].key).stdout


def test_a_descendant_goes_on_from_its_ancestor(stages, document, had):
    (first, _, last), _ = stages
    (one, two) = document("explain", first.key, last.key)["levels"]
    assert (one["depth"], one["left"], two["depth"]) == (2, None, 3)
    assert (
        f"{last.key[:12]} goes on from {first.key[:12]}"
        in had("explain", last.key, first.key).stdout
    )


def test_a_field_without_effect_on_one_side_is_told(stages, made, had):
    (other,) = made.run("lwf", method=LwfConfig())
    shown = had("explain", stages[0][1].key, other.stages[1].key).stdout
    assert "(absent): has no effect there" in shown


def test_lists_do_not_become_markup(made, had):
    orders = (("semantic", "depth"), ("semantic", "normal"))
    (left, right) = (made.run("-".join(order), orders=(order,))[0] for order in orders)
    shown = had("explain", left.stages[1].key, right.stages[1].key).stdout
    assert '["semantic", "depth"]' in shown and '["semantic", "normal"]' in shown


def test_bad_input_is_refused_by_name(stages, made, refused):
    key = stages[0][0].key
    assert "begins no fit" in refused("explain", key, "0000000000")
    assert "key 'zz' is not allowed" in refused("explain", "zz", key)
    assert "holds no store" in refused("explain", key, key, "--store", f"{made.store.uri}-not")
    assert "is unknown: nothing is tracked at" in refused("explain", key, "0" * 32)


def test_an_ambiguous_prefix_lists_the_candidates(made, refused):
    keys = []
    for seed in range(17):  # 17 first stages: two begin with the same digit
        (sequence,) = made.run(f"seed-{seed}", seeds=(seed,), orders=(("depth",),))
        keys.append(sequence.stages[0].key)
    digit = next(d for d in "0123456789abcdef" if sum(key[0] == d for key in keys) > 1)
    sentence = refused("explain", digit, keys[0])
    assert all(key[:9] in sentence for key in keys if key[0] == digit)


def test_a_damaged_stage_is_told(stages, made, refused):
    key = stages[0][2].key
    (net,) = (p for p in Path(made.store.uri).rglob(f"{key}/*/net.safetensors"))
    net.write_bytes(b"short")
    assert f"stage {key[:12]} is damaged" in refused("explain", key[:12], stages[1][0].key)


def test_a_stage_of_an_older_version_differs_by_its_version(stages, made, document):
    new = stages[0][0]
    old = StageSpec(replace(new.fit, version=0), ())
    made.seal("old", "had:semantic:s0", old)
    (level,) = document("explain", old.key, new.key)["levels"]
    assert level["fields"] == [{"field": "version", "left": 0, "right": 1}]


def test_a_key_that_does_not_follow_from_its_fields_is_refused(stages, made, refused):
    stage = stages[0][0]
    manifest = {**made.store.manifest(ArtifactKind.FIT, stage.key)}
    manifest["spec"] = replace(stage.fit, config=replace(stage.fit.config, seed=9)).to_json()
    key = "f" * 63 + "0"
    made.store.seal(ArtifactKind.FIT, key, {"net.safetensors": b""}, manifest)
    assert "cannot be compared" in refused("explain", key, stage.key)


def test_settings_of_the_optimiser_part_at_the_first_stage(made, document):
    (left,) = made.run("slow", train=TrainConfig(lr=1e-4))
    (right,) = made.run("fast", train=TrainConfig(lr=1e-3))
    levels = document("explain", left.stages[2].key, right.stages[2].key)["levels"]
    assert [level["depth"] for level in levels] == [1, 2, 3]
    for level in levels:
        assert level["fields"] == [{"field": "train.lr", "left": 1e-4, "right": 1e-3}]
