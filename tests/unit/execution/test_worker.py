from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from stages import RUN, attempts, execute, outcomes, rows, tree_of, weights, worker_on
from thread_parallel import on_ranks

from had_core.errors import BadInput, NonFiniteLoss, NonFiniteNet
from had_core.evaluation import evaluate
from had_core.methods import HadConfig, NaiveConfig
from had_core.progress import FitProgress
from had_core.sequence import run_sequence
from had_core.stage import Runtime
from had_core.tensors import from_bytes, to_bytes
from orchestrator.execution import formats
from orchestrator.execution.driver import survey
from orchestrator.execution.messages import FailureKind, Lease, Status
from orchestrator.execution.worker import StageWorker, WorkerSettings
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store
from orchestrator.tracking.events import EpochEnded, StageFinished, StageStarted, sequence_id
from orchestrator.tracking.journal import JournalReader


def copy_of(store: Store, tmp_path) -> Store:
    shutil.copytree(store.uri, tmp_path / "copy")
    return Store.open(tmp_path / "copy")


def journal(store: Store, kind: type) -> list:
    return [e for e in JournalReader.open(store.uri, RUN).events() if isinstance(e, kind)]


def run_one(work, dataset, store, *, tell=lambda progress: True, attempt=1):
    worker = worker_on(dataset, store)
    return worker.run(Lease(work.key, "lane", attempt), work, tell)


# What is sealed ---------------------------------------------------------------------------------


def test_sealed_weights_are_those_of_a_plain_sequence(pair, finished, micro_dataset):
    sealed = weights(pair, finished)
    for method in (NaiveConfig(), HadConfig()):
        config = pair.roots[0].fit.config
        stages = run_sequence(
            micro_dataset,
            ["semantic", "depth"],
            method,
            net=config.net,
            train=config.train,
            slicing=config.slicing,
        )
        keys = [s.key for q in pair.sequences if q.method == method.name for s in q.stages]
        for key, stage in zip(keys, stages, strict=True):
            assert sealed[key] == to_bytes(stage.state)


def test_a_sealed_fit_tells_where_it_came_from(pair, finished):
    for node in pair:
        manifest = finished.manifest(ArtifactKind.FIT, node.key)
        assert FitSpec.from_json(manifest["spec"]).key == node.key
        assert manifest["attempts"] == [{"attempt": 1, "from_epoch": 1, "steps": 4}]
        assert manifest["numerics"]["workers"] == 1
        assert manifest["commit"] == "abc"
        assert manifest["run"] == RUN
        first = pair.sequences[node.sequences[0]]
        assert manifest["sequence"] == sequence_id(first.method, first.order, first.seed)
        assert manifest["steps"] == 4 and manifest["seconds"] > 0
        distils = manifest["spec"]["config"]["method"]["name"] == "had"
        assert (manifest["teacher_seconds"] > 0) is distils
        assert "torch" in manifest["versions"]
        history = formats.read_history(finished, node.key)
        assert [record["epoch"] for record in history] == [1, 2]


def test_an_evaluation_holds_the_row_and_pictures_of_every_task(pair, finished, micro_dataset):
    for node in pair:
        spec = node.evals[0]
        sealed = finished.load(ArtifactKind.EVAL, spec.key)
        state, _ = from_bytes(weights(pair, finished)[node.key])
        expected = evaluate(node.fit.config, state, micro_dataset, "test")
        assert formats.read_row(finished, spec.key) == expected
        assert sealed.manifest["seconds"] > 0
        assert set(sealed.manifest["pictures"]) == set(node.fit.config.tasks)
        for file in sealed.manifest["pictures"].values():
            assert sealed.read(file).startswith(b"\x89PNG")


def test_the_journal_tells_the_whole_story(pair, finished):
    ended = journal(finished, StageFinished)
    assert {event.stage.key for event in ended} == {node.key for node in pair}
    for event in ended:
        node = pair[event.stage.key]
        assert event.rows == {"test": formats.read_row(finished, node.evals[0].key)}
        assert event.evals == {"test": node.evals[0].key}
        assert {picture.task for picture in event.pictures} == set(node.fit.config.tasks)
        assert event.stage.position == len(node.fit.config.tasks)
        assert event.steps_run == 4
        epochs = [e for e in journal(finished, EpochEnded) if e.key == node.key]
        assert [e.epoch for e in epochs] == [1, 2]
        assert all(e.sequence == event.stage.sequence for e in epochs)
    assert all(e.first_epoch == 1 for e in journal(finished, StageStarted))


def test_nothing_partial_is_left(pair, finished):
    assert all(finished.partial(node.key).read() is None for node in pair)
    assert survey(pair, finished, RUN).open == ()


# What is not made again -------------------------------------------------------------------------


def test_a_sealed_stage_is_not_trained_even_when_leased(pair, finished, micro_dataset, monkeypatch):
    monkeypatch.setattr("orchestrator.execution.worker.fit", None)  # calling it would raise
    before = len(journal(finished, StageFinished))
    work = survey(pair, finished, RUN).works[0]
    outcome = run_one(work, micro_dataset, finished)
    assert (outcome.status, outcome.trained, outcome.steps_run) == (Status.SEALED, False, 0)
    assert len(journal(finished, StageFinished)) == before


def test_only_the_missing_evaluation_is_made(pair, finished, micro_dataset, tmp_path, monkeypatch):
    store = copy_of(finished, tmp_path)
    key = pair.roots[0].evals[0].key
    shutil.rmtree(tmp_path / "copy" / "eval" / key[:2] / key)
    assert len(survey(pair, store, RUN).open) == 1
    monkeypatch.setattr("orchestrator.execution.worker.fit", None)
    events = execute(pair, micro_dataset, store)
    assert [o.status for o in outcomes(events).values()] == [Status.SEALED]
    assert rows(pair, store) == rows(pair, finished)


def test_a_damaged_net_is_trained_again_to_the_same_weights(
    pair, finished, micro_dataset, tmp_path
):
    store = copy_of(finished, tmp_path)
    root = pair.roots[0].key
    victim = next((tmp_path / "copy" / "fit" / root[:2] / root).glob("data-*/net.safetensors"))
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    child = next(node for node in pair if node.parent == root)
    shutil.rmtree(tmp_path / "copy" / "fit" / child.key[:2] / child.key)  # so that it is needed
    events = execute(pair, micro_dataset, store)
    assert {o.key for o in outcomes(events).values() if o.trained} == {root, child.key}
    assert [damage.key for damage in store.damaged] == [root]
    assert weights(pair, store) == weights(pair, finished)


def test_a_missing_parent_is_reported_not_guessed(pair, micro_dataset, store):
    child = next(work for work in survey(pair, store, RUN).works if work.parent)
    assert run_one(child, micro_dataset, store).status is Status.PARENT_MISSING
    assert store.keys(ArtifactKind.FIT) == []


# Resume -----------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def test_a_killed_fit_goes_on_from_its_last_finished_epoch(micro_dataset, store, tmp_path):
    tree = tree_of(micro_dataset, methods=[NaiveConfig()], order=("semantic",), epochs=3)
    work = survey(tree, store, RUN).works[0]

    def die_in_epoch_3(progress):
        kept = store.partial(work.key).read()  # a slow machine reports steps as well as epochs
        if kept is not None and FitProgress.from_bytes(kept[0]).epoch == 2:
            raise Killed
        return True

    with pytest.raises(Killed):
        run_one(work, micro_dataset, store, tell=die_in_epoch_3)
    assert store.partial(work.key).read() is not None
    outcome = run_one(work, micro_dataset, store)
    assert (outcome.status, outcome.steps_run) == (Status.SEALED, 2)
    assert attempts(tree, store)[work.key] == [
        {"attempt": 1, "from_epoch": 1, "steps": 4},
        {"attempt": 2, "from_epoch": 3, "steps": 2},
    ]
    other = Store.open(tmp_path / "other")
    execute(tree, micro_dataset, other)
    assert weights(tree, store) == weights(tree, other)
    assert rows(tree, store) == rows(tree, other)
    starts = journal(store, StageStarted)
    assert [(e.attempt, e.first_epoch) for e in starts] == [(1, 1), (2, 3)]
    assert {e.epoch for e in journal(store, EpochEnded)} == {1, 2, 3}


def test_a_cancelled_fit_keeps_its_epochs(micro_dataset, store):
    tree = tree_of(micro_dataset, methods=[NaiveConfig()], order=("semantic",), epochs=3)
    work = survey(tree, store, RUN).works[0]
    outcome = run_one(work, micro_dataset, store, tell=lambda progress: progress.epoch < 1)
    assert outcome.status is Status.CANCELLED
    assert len(journal(store, EpochEnded)) == 1
    assert run_one(work, micro_dataset, store).steps_run == 4


@pytest.mark.parametrize(
    ("changed", "mixed"), [({}, False), ({"threads": 2}, True), ({"cache": "off"}, True)]
)
def test_a_fit_resumed_with_other_numerics_says_so(
    pair, finished, micro_dataset, store, tmp_path, changed, mixed
):
    """Threads and a live teacher are not in the key: the resume is right, its bits differ."""
    store = copy_of(finished, tmp_path)
    work = survey(pair, store, RUN).works[-1]
    shutil.rmtree(f"{store.uri}/fit/{work.key[:2]}/{work.key}")
    stopped = run_one(work, micro_dataset, store, tell=lambda progress: progress.epoch < 1)
    assert stopped.status is Status.CANCELLED
    if "cache" in changed:
        spec = json.loads(json.dumps(work.spec))
        spec["fit"]["config"]["train"]["teacher_cache"] = changed["cache"]
        work = replace(work, spec=spec)
    settings = WorkerSettings(store.uri, str(micro_dataset.path), changed.get("threads", 1))
    worker = StageWorker(settings, micro_dataset, store, Runtime())
    ended = worker.run(Lease(work.key, "lane", 2), work, lambda progress: True)
    assert (ended.status, ended.steps_run) == (Status.SEALED, 2)
    manifest = store.manifest(ArtifactKind.FIT, work.key)
    assert manifest["mixed_numerics"] is mixed
    assert finished.manifest(ArtifactKind.FIT, work.key)["mixed_numerics"] is False


def test_a_partial_that_cannot_be_read_means_from_the_start(micro_dataset, store):
    tree = tree_of(micro_dataset, methods=[NaiveConfig()], order=("semantic",))
    work = survey(tree, store, RUN).works[0]
    store.partial(work.key).write(b"no safetensors", {"attempts": []})
    assert run_one(work, micro_dataset, store).steps_run == 4
    assert store.partial(work.key).read() is None


# Two writers ------------------------------------------------------------------------------------


def test_the_loser_of_a_race_scores_the_winner(pair, finished, micro_dataset, store, monkeypatch):
    """Another driver seals other weights under the same key while this worker trains."""
    work = survey(pair, store, RUN).works[0]
    theirs = from_bytes(weights(pair, finished)[work.key])[0]
    theirs = {name: tensor * 1.5 for name, tensor in theirs.items()}

    def other_driver(progress):
        if not store.is_sealed(ArtifactKind.FIT, work.key):
            files = {formats.NET: to_bytes(theirs), formats.HISTORY: b"[]"}
            manifest = dict(finished.manifest(ArtifactKind.FIT, work.key))
            store.seal(ArtifactKind.FIT, work.key, files, manifest)
        return True

    assert run_one(work, micro_dataset, store, tell=other_driver).status is Status.SEALED
    node = pair.roots[0]
    expected = evaluate(node.fit.config, theirs, micro_dataset, "test")
    assert formats.read_row(store, node.evals[0].key) == expected


# Failures ---------------------------------------------------------------------------------------


def test_divergence_is_an_outcome_with_place_and_traceback(pair, micro_dataset, store, monkeypatch):
    def diverging(*args, **kwargs):
        raise NonFiniteLoss(2, 4, "db/depth")

    monkeypatch.setattr("orchestrator.execution.worker.fit", diverging)
    failure = run_one(survey(pair, store, RUN).works[0], micro_dataset, store).failure
    assert failure.kind is FailureKind.NON_FINITE
    assert (failure.epoch, failure.step, failure.term) == (2, 4, "db/depth")
    assert "diverging" in failure.traceback


def test_a_real_divergence_leaves_nothing_sealed(micro_dataset, store):
    tree = tree_of(micro_dataset, methods=[NaiveConfig()], order=("depth",), lr=1e30)
    ended = outcomes(execute(tree, micro_dataset, store))
    assert [o.failure.kind for o in ended.values()] == [FailureKind.NON_FINITE]
    assert store.keys(ArtifactKind.FIT) == []


def test_a_net_whose_outputs_diverged_has_no_row(pair, micro_dataset, store, monkeypatch):
    def diverging(*args, **kwargs):
        raise NonFiniteNet("the net's outputs are not finite on the test images")

    monkeypatch.setattr("orchestrator.execution.worker.evaluate", diverging)
    failure = run_one(survey(pair, store, RUN).works[0], micro_dataset, store).failure
    assert (failure.kind, failure.term) == (FailureKind.NON_FINITE, None)
    assert store.keys(ArtifactKind.EVAL) == []


def test_another_data_set_is_refused(pair, micro_dataset, store):
    node = pair.roots[0]
    other = replace(node.fit, data_fingerprint="0" * 64)
    work = survey(pair, store, RUN).works[0]
    work = replace(work, key=other.key, spec={**work.spec, "fit": other.to_json()})
    failure = run_one(work, micro_dataset, store).failure
    assert failure.kind is FailureKind.BAD_INPUT
    assert "the plan was made for 000000000000" in failure.message


def test_another_version_of_the_code_is_refused(pair, micro_dataset, store):
    work = replace(survey(pair, store, RUN).works[0], key="f" * 64)
    failure = run_one(work, micro_dataset, store).failure
    assert failure.kind is FailureKind.BAD_INPUT
    assert "same version" in failure.message


# Ranks ------------------------------------------------------------------------------------------


def on_two(dataset, store, work):
    def rank(parallel):
        worker = worker_on(dataset, store, parallel=parallel)
        return worker.run(Lease(work.key, "lane", 1), work, lambda progress: True)

    return on_ranks(2, rank)


def test_two_ranks_seal_once_and_say_the_same(micro_dataset, store, tmp_path):
    tree = tree_of(micro_dataset, methods=[NaiveConfig()], order=("semantic",))
    work = survey(tree, store, RUN).works[0]
    first, second = on_two(micro_dataset, store, work)
    assert first.status is second.status is Status.SEALED
    manifest = store.manifest(ArtifactKind.FIT, work.key)
    assert manifest["numerics"]["workers"] == 2
    solo = Store.open(tmp_path / "solo")
    execute(tree, micro_dataset, solo)
    mine, theirs = (from_bytes(weights(tree, s)[work.key])[0] for s in (store, solo))
    gaps = [(mine[name] - theirs[name]).abs().max().item() for name in mine]
    assert max(gaps) < 1e-4


def test_trouble_of_rank_0_alone_does_not_pass_for_an_agreed_failure(
    micro_dataset, store, monkeypatch
):
    """A full disk on rank 0: the group has to break, or rank 1 would wait in a collective."""
    tree = tree_of(micro_dataset, methods=[NaiveConfig()], order=("semantic",))
    work = survey(tree, store, RUN).works[0]

    def full(self, data, meta):
        raise BadInput("store cannot be written (no space left)")

    monkeypatch.setattr("orchestrator.store.partial.Partial.write", full)
    with pytest.raises(RuntimeError, match="no space left"):
        on_two(micro_dataset, store, work)


def test_row_json_has_no_nan():
    raw = formats.row_to_bytes("test", {"depth": {"abs_err": float("nan"), "rel_err": 0.5}})
    assert json.loads(raw)["row"] == {"depth": {"abs_err": None, "rel_err": 0.5}}
