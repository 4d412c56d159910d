"""``had rerun`` over a real store: verifying, branching, and what it refuses."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from had_core.errors import BadInput
from had_core.tensors import from_bytes, to_bytes
from orchestrator.app.rerun import rerun
from orchestrator.app.rerun.training import eval_of
from orchestrator.app.rerun.verifying import store_with_parent
from orchestrator.app.run import recorded
from orchestrator.app.stages import find_stage
from orchestrator.config import StoreConfig
from orchestrator.display.rerun_tables import rerun_tables
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store

pytestmark = pytest.mark.integration

FIT = ArtifactKind.FIT
STEPS = 4  # 40 images less 10 %, two slices, batches of 4, one epoch


@pytest.fixture
def store(ran, tmp_path):
    """A copy of the store of a finished run; it lies elsewhere than where it was made."""
    shutil.copytree(ran.store, tmp_path / "moved")
    return Store.open(tmp_path / "moved")


@pytest.fixture
def again(store, display):
    return lambda name, *overrides: rerun(name, StoreConfig(store.uri), overrides, display)


def stages_of(ran, method):
    return next(s for s in ran.result.sequences if s.method == method).stages


def seals(store):
    return sorted(key for key in store.keys(FIT))


@pytest.mark.parametrize(("method", "number"), [("had", 0), ("had", 1), ("naive", 1)])
def test_every_stage_comes_out_as_sealed(ran, store, again, method, number):
    stage, before = stages_of(ran, method)[number], seals(store)
    result = again(stage.key[:12])
    assert (result.key, result.new_key) == (stage.key, stage.key)
    assert result.reproduced is True and result.same_numerics is True
    assert result.steps_run == STEPS
    assert result.row == result.sealed_row != {}
    assert seals(store) == before


def test_a_stage_that_comes_out_otherwise_is_told_by_tensor(ran, store, again):
    stage = stages_of(ran, "had")[1]
    sealed = store.load(FIT, stage.key)
    files = {file.name: sealed.read(file.name) for file in sealed.files}
    tensors, _ = from_bytes(files[formats.NET])
    name = sorted(tensors)[3]
    tensors = {**tensors, name: tensors[name] + 0.5}
    shutil.rmtree(f"{store.uri}/fit/{stage.key[:2]}/{stage.key}")
    store.seal(FIT, stage.key, {**files, formats.NET: to_bytes(tensors)}, sealed.manifest)
    result = again(stage.key)
    assert result.reproduced is False and result.same_numerics is True
    assert result.first_difference == name
    assert result.difference == pytest.approx(0.5, abs=1e-6)
    kept, _ = from_bytes(store.load(FIT, stage.key).read(formats.NET))
    assert (kept[name] == tensors[name]).all(), "the sealed stage was replaced"


def test_a_stage_of_mixed_numerics_need_not_come_out_bit_for_bit(ran, store, again):
    stage = stages_of(ran, "had")[1]
    sealed = store.load(FIT, stage.key)
    files = {file.name: sealed.read(file.name) for file in sealed.files}
    shutil.rmtree(f"{store.uri}/fit/{stage.key[:2]}/{stage.key}")
    store.seal(FIT, stage.key, files, {**sealed.manifest, "mixed_numerics": True})
    result = again(stage.key)
    assert (result.same_numerics, result.mixed_numerics, result.bitwise_with) == (False, True, None)
    assert result.reproduced and result.holds


def test_an_interrupted_verification_goes_on_where_it_stood(ran, store):
    fit = find_stage(store, stages_of(ran, "had")[1].key).fit
    scratch = Path(store.uri) / "scratch"

    def found(place="1x1-cpu"):
        with store_with_parent(fit, store, place) as aside:
            assert list(aside.keys(FIT)) == [fit.parent.key]
            return aside.partial(fit.key).read()

    def interrupted(act):
        with (
            pytest.raises(KeyboardInterrupt),
            store_with_parent(fit, store, "1x1-cpu") as aside,
        ):
            assert found() is None, "two at a time see each other"
            act(aside)
            raise KeyboardInterrupt

    interrupted(lambda aside: aside.partial(fit.key).write(b"state", {"epoch": 3}))
    assert found("2x1-cpu") is None, "another numerics class goes on there"
    assert found()[0] == b"state"
    assert list(scratch.iterdir()) == []
    interrupted(lambda aside: aside.seal(FIT, fit.key, {"net": b"x"}, {}))
    assert found() is None, "it has to be trained"
    assert list(scratch.iterdir()) == []


def test_an_override_makes_a_new_stage_beside_the_old_one(ran, store, again):
    stage, before = stages_of(ran, "had")[1], seals(store)
    result = again(stage.key, "method.lambda=10")
    assert result.reproduced is None
    assert seals(store) == sorted([*before, result.new_key])
    assert store.manifest(FIT, result.new_key)["spec"]["parent"] is not None
    assert again(result.new_key).reproduced is True


def test_a_new_stage_is_tracked_where_the_overrides_say(ran, again, monkeypatch, tmp_path):
    told = []

    class Writer(contextlib.nullcontext):
        behind = None

        def __init__(self, store, run, location, **more) -> None:
            super().__init__()
            told.append(location.uri)

    monkeypatch.setattr("orchestrator.app.run.TrackingWriter", Writer)
    stage = stages_of(ran, "had")[1]
    again(stage.key, "method.lambda=9")
    assert told == [], "the sealing run was not tracked"
    elsewhere = f"sqlite:///{tmp_path}/else/where"
    again(stage.key, "method.lambda=8", "tracking=sqlite", f"tracking.uri={elsewhere}")
    assert told == [elsewhere]


def test_a_new_stage_that_fits_nothing_is_refused_before_anything_is_written(
    ran, store, again, files_below
):
    stage, before = stages_of(ran, "had")[1], files_below(store.uri)
    for overrides, sentence in [
        (["train.batch_size=19"], "train.batch_size=19 is not allowed: at most the 18 images"),
        (["method.lambda=9", "tracking=sqlite", "tracking.uri=no"], "tracking.uri=no is not"),
        (["method.lambda=9", "cluster=local", "cluster.threads=999"], "wants 999 CPUs"),
    ]:
        with pytest.raises(BadInput, match=sentence):
            again(stage.key, *overrides)
        assert files_below(store.uri) == before


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["net.norm=frozen"], "net.norm cannot be changed here: it would change the parent"),
        (["order=[depth,semantic]"], "order cannot be changed here"),
        (["data.slices=3"], "data.slices cannot be changed here"),
        (["method.lambda=3"], "method.lambda=3 changes nothing in stage"),
        (["method=naive"], "with these settings is in the store already"),
        (["method.lamda=3"], "method.lamda"),
        (["tracking.uri=foo://x"], "tracking.uri=foo://x is not allowed: http"),
        (["cluster=[inline,local]"], r"cluster=\[inline,local\] is not allowed: one of inline"),
    ],
)
def test_overrides_that_make_no_new_stage(ran, store, again, files_below, overrides, sentence):
    before = files_below(store.uri)
    with pytest.raises(BadInput, match=sentence):
        again(stages_of(ran, "had")[1].key, *overrides)
    assert files_below(store.uri) == before


def test_a_place_that_cannot_be_had_is_refused_before_anything_is_verified(
    ran, store, again, files_below, monkeypatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    stage, before = stages_of(ran, "had")[1], files_below(store.uri)
    for override, sentence in [
        ("cluster.threads=4096", "wants 4096 CPUs"),
        ("cluster.device=cuda", "cluster.device=cuda is not allowed"),
    ]:
        with pytest.raises(BadInput, match=sentence):
            again(stage.key, override)
        assert files_below(store.uri) == before


def test_a_mistyped_folder_of_the_data_set_gets_none_built(
    ran, store, again, files_below, tmp_path
):
    before = files_below(store.uri)
    for more in ([], ["method.lambda=9"], ["dataset=rooms"]):
        with pytest.raises(
            BadInput, match=r"dataset\.path=.*/typo does not exist: name the folder"
        ):
            again(stages_of(ran, "had")[1].key, *more, f"dataset.path={tmp_path}/typo")
    assert files_below(store.uri) == before and not (tmp_path / "typo").exists()


def test_stages_that_cannot_be_found(ran, store, again):
    one, two = (stage.key for stage in stages_of(ran, "had"))
    for name, sentence in [
        ("0123456789", "begins no fit"),
        ("xyz", "1 to 64 lower-case hexadecimal digits"),
        ("0" * 32, "0" * 32),
    ]:
        with pytest.raises(BadInput, match=sentence):
            again(name)
    shutil.rmtree(f"{store.uri}/fit/{one[:2]}/{one}")
    with pytest.raises(
        BadInput,
        match=rf"the parent of stage {two[:12]} is not in the store: 1 stage .*\({one[:12]}, .*"
        "--ancestors does that",
    ):
        again(two)


def test_a_damaged_stage_is_named(ran, store, again, monkeypatch):
    stage = stages_of(ran, "had")[1]
    (net,) = Path(store.uri, "fit", stage.key[:2], stage.key).glob(f"data-*/{formats.NET}")
    raw = bytearray(net.read_bytes())
    raw[-1] ^= 1
    net.write_bytes(raw)
    monkeypatch.setattr(
        "orchestrator.app.rerun.training.execute", None
    )  # nothing is trained for it
    with pytest.raises(BadInput, match=f"stage {stage.key[:12]} is damaged"):
        again(stage.key)


def test_where_no_store_is_none_is_made(tmp_path, display):
    with pytest.raises(BadInput, match="holds no store"):
        rerun("abc", StoreConfig(str(tmp_path / "nowhere")), [], display)
    with pytest.raises(BadInput, match="holds no store"):
        recorded(str(tmp_path / "nowhere"), "tiny")
    assert list(tmp_path.iterdir()) == []


def test_a_stage_that_only_a_sweep_scored_shows_its_validation_row(ran, store, again):
    stage = stages_of(ran, "had")[0]
    fit = FitSpec.from_json(store.manifest(FIT, stage.key)["spec"])
    fingerprints = {"train": fit.data_fingerprint, "test": ""}
    shutil.rmtree(f"{store.uri}/eval")
    row = {"semantic": {"miou": 0.25, "pixel_acc": 0.5}}
    key = eval_of(fit, "val", fingerprints).key
    store.seal(ArtifactKind.EVAL, key, {formats.ROW: formats.row_to_bytes("val", row)}, {})
    result = again(stage.key)
    assert (result.split, result.sealed_row) == ("val", row)
    assert set(result.row) == {"semantic"} and result.reproduced
    console = Console(file=io.StringIO(), width=100)
    console.print(rerun_tables(result))
    shown = console.file.getvalue()
    assert "validation part" in shown and "0.250" in shown
