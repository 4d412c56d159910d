"""Input that no stage could use is refused before anything is written or started."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from had_core.configs import NetConfig
from had_core.data.manifest import MANIFEST_FILE
from had_core.errors import BadInput
from had_core.nets.lifelong import LifelongNet
from had_core.tensors import to_bytes
from orchestrator.app.datasets import fingerprints, open_dataset, training_images
from orchestrator.app.plan import plan
from orchestrator.app.preflight import check_place
from orchestrator.app.rerun import rerun
from orchestrator.app.run import run
from orchestrator.app.sweep import sweep
from orchestrator.execution.cluster import usable_cpus
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store

OF_THE_DATA = [
    (["train.batch_size=24"], r"train\.batch_size=24 is not allowed: at most the 18 images"),
    (["data.slices=37"], r"data\.slices=37 is not allowed: 40 training images, 4 of them held out"),
    (["data.val_fraction=0.99"], r"data\.slices=2 .* leave a slice empty"),
    (
        ["method=joint", "method.setting=mtl", "train.batch_size=37"],
        r"train\.batch_size=37 is not allowed: at most the 36 images",
    ),
    (
        ["cluster=local", "cluster.workers=4", "train.drop_last=false", "train.batch_size=16"],
        r"train\.drop_last=false is not allowed: the last batch has 2",
    ),
    (["train.batch_size=24", "train.drop_last=false"], r"train\.batch_size=24 is not allowed"),
]


@pytest.mark.parametrize(("overrides", "sentence"), OF_THE_DATA)
def test_sizes_that_do_not_fit_the_data(config_of, display, tmp_path, overrides, sentence):
    config = config_of(*overrides)
    for command in (lambda: run(config, display), lambda: plan(config)):
        with pytest.raises(BadInput, match=sentence):
            command()
        assert not (tmp_path / "store").exists()


def test_fewer_images_than_tasks_are_refused_before_the_data_set_is_built(
    config_of, display, tmp_path
):
    config = config_of(f"dataset.path={tmp_path}/rooms", "dataset.build.train=1")
    for command in (lambda: run(config, display), lambda: plan(config)):
        with pytest.raises(BadInput, match=r"data\.slices=2 is not allowed: 1 training images"):
            command()
        assert list(tmp_path.iterdir()) == []


def test_a_damaged_manifest_is_bad_input(config_of, micro_dataset, tmp_path):
    raw = json.loads((micro_dataset.path / MANIFEST_FILE).read_text())
    raw["splits"]["train"]["count"] += 1
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / MANIFEST_FILE).write_text(json.dumps(raw))
    dataset = config_of(f"dataset.path={tmp_path}/set").dataset
    for use in (
        training_images,
        lambda d: fingerprints(d, print),
        lambda d: open_dataset(d, print),
    ):
        with pytest.raises(BadInput, match=f"{MANIFEST_FILE}' is damaged: split 'train'"):
            use(dataset)


OF_THE_PLACE = [
    (["tracking=sqlite", "tracking.uri=nowhere"], r"tracking\.uri=nowhere is not allowed"),
    (["tracking=sqlite", "tracking.uri=sqlite:////dev/null"], "/dev/null is no regular file"),
    (["cluster=local", "cluster.workers=2", "cluster.threads=512"], "wants 1024 CPUs, there are"),
    (["dataset.tasks=[semantic,depth,smell]"], "dataset.tasks names 'smell'"),
]


@pytest.mark.parametrize(("overrides", "sentence"), OF_THE_PLACE)
def test_places_that_cannot_be_had(config_of, display, tmp_path, overrides, sentence):
    with pytest.raises(BadInput, match=sentence):
        run(config_of(*overrides), display)
    assert not (tmp_path / "store").exists()


def test_more_workers_than_this_machine_has(config_of, display, tmp_path):
    workers = usable_cpus() + 1
    config = config_of("cluster=local", f"cluster.workers={workers}", f"train.batch_size={workers}")
    with pytest.raises(BadInput, match=f"cluster.workers={workers} .*wants {workers} CPUs"):
        run(config, display)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("backend", ["local", "inline"])
def test_more_threads_than_this_machine_has_cpus(config_of, backend):
    config = config_of(f"cluster={backend}", "cluster.threads=4096")
    with pytest.raises(BadInput, match=r"cluster\.threads=4096 wants 4096 CPUs, there are"):
        check_place(config)
    check_place(config_of(f"cluster={backend}", f"cluster.threads={usable_cpus()}"))


def test_a_stage_of_a_larger_machine_may_be_repeated_without_ray(config_of):
    check_place(config_of("cluster=inline", "cluster.threads=4096"), more_threads=True)
    with pytest.raises(BadInput, match="wants 4096 CPUs"):
        check_place(config_of("cluster=local", "cluster.threads=4096"), more_threads=True)


@pytest.mark.parametrize("backend", ["local", "inline"])
def test_a_machine_without_a_gpu(config_of, display, tmp_path, monkeypatch, backend):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "store").mkdir()  # a folder is no store
    config = config_of(f"cluster={backend}", "cluster.device=cuda")
    with pytest.raises(BadInput, match=r"cluster\.device=cuda is not allowed: cpu where torch"):
        run(config, display)
    assert list((tmp_path / "store").iterdir()) == []


def test_fewer_gpus_than_lanes(config_of, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("orchestrator.app.preflight.usable_cpus", lambda: 8)
    one = config_of("cluster=local", "cluster.device=cuda")
    check_place(one)
    with pytest.raises(BadInput, match=r"cluster\.lanes=2 .* wants 2 GPUs, there are 1"):
        check_place(replace(one, cluster=replace(one.cluster, lanes=2)))


def test_a_store_that_cannot_be_made_is_refused_before_the_data_set_is_built(
    config_of, display, tmp_path
):
    (tmp_path / "file").touch()
    config = config_of(f"dataset.path={tmp_path}/rooms", f"store.root={tmp_path}/file/store")
    with pytest.raises(BadInput, match=r"store=.*/store cannot be written \(.*/file is no folder"):
        run(config, display)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


BATCHES = "search.space.train.batch_size"
OF_THE_SEARCH = [
    ([f"{BATCHES}=[2,999]"], rf"{BATCHES} reaches .*: train\.batch_size=999 is not .* 18 images"),
    (
        [f"{BATCHES}=[2,19]", "search=tpe", "search.trials=1"],
        rf"{BATCHES} reaches .*: train\.batch_size=19 is not allowed: at most the 18",
    ),
    (
        ["cluster=local", "cluster.workers=2", f"{BATCHES}={{low: 2, high: 6, step: 1}}"],
        rf"{BATCHES} reaches .*: train\.batch_size=3 is not allowed: a multiple",
    ),
    (
        [
            *["method=joint", "method.setting=mtl", "train.batch_size=36"],
            *["search.space.method.setting=[mtl,joint]", "data.slices=3"],
            "reference={name:joint,setting:mtl}",
        ],
        r"search\.space\.method\.setting reaches .*: train\.batch_size=36 is not .* 24 images",
    ),
    (["search.storage=foo"], r"search\.storage=foo cannot be opened"),
    (["search.storage=sqlite:////dev/null"], r"search\.storage=.* /dev/null is no regular file"),
]


@pytest.mark.parametrize(("overrides", "sentence"), OF_THE_SEARCH)
def test_a_search_that_reaches_what_cannot_be_trained_or_kept(
    config_of, display, tmp_path, overrides, sentence
):
    space = [] if any("search.space" in text for text in overrides) else [f"{BATCHES}=[2,4]"]
    with pytest.raises(BadInput, match=sentence):
        sweep(config_of("search=grid", "search.space.method=null", *space, *overrides), display)
    assert not (tmp_path / "store").exists()


def test_more_trials_than_a_space_has_settings(config_of, display, tmp_path):
    words = ["search=random", "search.trials=2", f"{BATCHES}=[2,4]", "search.space.method=null"]
    with pytest.raises(BadInput, match=r"search\.trials=3 is not allowed: up to 2"):
        sweep(config_of(*words), display, more=1)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("command", "more"), [(run, []), (sweep, ["search=tpe"])])
def test_a_damaged_shard_leaves_no_store(
    micro_dataset, config_of, display, tmp_path, command, more
):
    shutil.copytree(micro_dataset.path, tmp_path / "rooms")
    shard = tmp_path / "rooms" / "train-00000.arrow"
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(raw)
    config = config_of(f"dataset.path={tmp_path}/rooms", *more)
    with pytest.raises(BadInput, match=r"shard 'train-00000.arrow' .* is damaged"):
        command(config, display)
    assert [path.name for path in tmp_path.iterdir()] == ["rooms"]


def test_a_cluster_that_nobody_answers_for(config_of, display, tmp_path):
    config = config_of("cluster=local", "cluster.address=127.0.0.1:9")
    refused = pytest.raises(BadInput, match=r"cluster\.address=127\.0\.0\.1:9 cannot be reached")
    with refused:
        run(config, display)
    assert not (tmp_path / "store").exists()
    Store.open(tmp_path / "store")
    with refused:
        run(config, display)
    assert not (tmp_path / "store" / "runs").exists()


# The file of weights --------------------------------------------------------------------------


@pytest.fixture
def encoders(tmp_path):
    """Two files of an encoder's weights, and one that is none."""
    paths = [tmp_path / name for name in ("one", "other", "none")]
    for seed, path in enumerate(paths[:2]):
        encoder = LifelongNet(NetConfig(), seed).encoder
        path.write_bytes(to_bytes(encoder.state_dict()))
    paths[2].write_text("weights")
    return paths


@pytest.mark.parametrize("begun", [False, True], ids=["no store", "a store"])
@pytest.mark.parametrize("command", [run, sweep])
def test_a_file_that_holds_no_encoder(config_of, display, tmp_path, encoders, command, begun):
    more = ("method=had", "search=grid", "search.space.method.lambda=[1,2]")
    config = config_of(f"net.weights={encoders[2]}", *(more if command is sweep else ()))
    if begun:
        Store.open(config.store.root)
    with pytest.raises(BadInput, match="none' is neither a safetensors file nor"):
        command(config, display)
    assert (tmp_path / "store").exists() == begun
    assert not begun or not Store.open(config.store.root).runs.names()


def test_another_file_than_the_keys_is_needed_by_first_stages_alone(
    config_of, display, tmp_path, encoders
):
    one, other, _ = encoders
    config = config_of(f"net.weights={one}")
    run(config, display)
    other.replace(one)
    first, second = _fits(config.store.root)
    sentence = f"weights file '{one}' has SHA-256 [0-9a-f]+, net.weights_sha256 allows"
    for changes in ((), ("train.lr=0.01",)):
        with pytest.raises(BadInput, match=sentence):
            rerun(first.key, config.store, changes, display)
    assert rerun(second.key, config.store, (), display).reproduced
    run(config, display)  # everything is sealed
    shutil.rmtree(f"{config.store.root}/fit")
    with pytest.raises(BadInput, match=sentence):
        run(config, display)


def _fits(root):
    store = Store.open(root)
    specs = [store.manifest(ArtifactKind.FIT, key)["spec"] for key in store.keys(ArtifactKind.FIT)]
    return sorted((FitSpec.from_json(spec) for spec in specs), key=lambda f: len(f.config.tasks))
