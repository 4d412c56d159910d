"""Hydra's tree and overrides to a RunConfig."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from had_core.configs import NetConfig
from had_core.errors import BadInput
from had_core.methods import METHODS, HadConfig, NaiveConfig
from orchestrator import resources
from orchestrator.config import Device, RunConfig, StoreConfig, apply_overrides, compose
from orchestrator.config.composing import KEYS, build, compose_raw, with_weights_digest

TREE = resources.folder("experiments")
RECIPES = sorted(p.stem for p in (TREE / "experiment").glob("*.yaml"))
OPTIONS = sorted(
    (group.name, path.stem)
    for group in TREE.iterdir()
    if group.is_dir() and group.name != "experiment"
    for path in group.glob("*.yaml")
)


@cache
def base() -> dict[str, Any]:
    return compose_raw([])[0]


def quick(*overrides: str, cwd: Path | None = None) -> RunConfig:
    """``compose`` for overrides of values: the tree is read once for all tests."""
    raw = apply_overrides(base(), overrides, allowed={key: key for key in KEYS})
    return build(raw, recipe=None, cwd=cwd or Path.cwd())


def from_record(config: RunConfig) -> RunConfig:
    return RunConfig.from_json(json.loads(json.dumps(config.to_json())))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_builds_and_comes_back_from_its_record(recipe: str) -> None:
    config = compose([f"experiment={recipe}"])
    assert config.recipe == recipe
    assert config.name == f"{recipe}-{config.hash[:8]}"
    assert from_record(config) == config
    for _, method in config.methods:
        assert all(method.shape(order) for order in config.orders)


LONE = ("method", "methods", "search")


def with_the_others() -> list[list[str]]:
    """Every option of the groups that exclude each other, and along with them every other one."""
    groups = [[f"{g}={o}" for g, o in OPTIONS if g == group] for group in dict(OPTIONS)]
    lone = [text for some in groups for text in some if text.split("=")[0] in LONE]
    free = [some for some in groups if some[0].split("=")[0] not in LONE]
    assert all(len(some) <= len(lone) for some in free)
    return [[text, *(some[k % len(some)] for some in free)] for k, text in enumerate(lone)]


@pytest.mark.parametrize("choices", with_the_others(), ids=",".join)
def test_every_option_of_every_group_builds(choices: list[str]) -> None:
    assert from_record(config := compose(choices)) == config


def test_every_method_has_an_option_that_writes_out_its_defaults() -> None:
    assert {option for group, option in OPTIONS if group == "method"} == set(METHODS)
    for name, method in METHODS.items():
        assert compose([f"method={name}"]).method == method()


def test_overrides_reach_their_places(tmp_path: Path) -> None:
    config = compose(
        [
            "tasks=[depth,normal]",
            "order=[normal,depth]",
            "method.lambda=5",
            "method.loss.k=0.7",
            "net.norm=sync",
            "train.lr=0.5",
            "seed=[3,4]",
            "reference=naive",
            "data.slices=4",
            "data.val_fraction=0",
            "cluster.device=cuda",
            "store.root=s3://bucket/path",
            "tracking.experiment=mine",
            "name=try-1",
        ],
        cwd=tmp_path,
    )
    assert config.tasks == ("depth", "normal")
    assert config.orders == (("normal", "depth"),)
    assert isinstance(config.method, HadConfig)
    assert (config.method.weight, config.method.loss.k) == (5.0, 0.7)
    assert (config.net.norm.value, config.train.lr, config.seeds) == ("sync", 0.5, (3, 4))
    assert config.methods == (("naive", NaiveConfig()), ("had", config.method))
    assert (config.slicing.slices, config.slicing.val_fraction) == (4, 0.0)
    assert config.cluster.device is Device.CUDA
    assert config.store.root == "s3://bucket/path"
    assert (config.experiment, config.name) == ("mine", "try-1")


def test_weights_by_task() -> None:
    config = compose(["tasks=[depth,normal]", "method.lambda={depth:3,normal:1}"])
    assert isinstance(config.method, HadConfig)
    assert config.method.weight == {"depth": 3.0, "normal": 1.0}


def test_paths_are_absolute_from_the_given_folder(tmp_path: Path) -> None:
    config = compose(["dataset=nyuv2"], cwd=tmp_path)
    assert config.dataset.path == str(tmp_path / "had-data" / "nyuv2")
    assert config.store.root == str(tmp_path / "had-store")


def test_the_environment_can_name_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAD_STORE", "/elsewhere")
    assert compose([]).store.root == "/elsewhere"
    assert compose(["store.root=/here"]).store.root == "/here"


def test_slices_default_to_one_a_task() -> None:
    assert quick("tasks=[depth,normal]").slicing.slices == 2
    assert quick("order=[depth]").slicing.slices == 1


def test_tasks_default_to_the_order_and_then_to_the_data_set() -> None:
    assert quick("order=[normal,depth]").tasks == ("normal", "depth")
    assert quick().tasks == quick().dataset.tasks


def test_orders() -> None:
    tasks = "tasks=[semantic,depth,normal]"
    assert len(quick(tasks, "orders=all").orders) == 6
    three = quick(tasks, "orders=sample:3", "seed=1").orders
    assert len(set(three)) == 3
    assert quick(tasks, "orders=sample:5", "seed=1").orders[:3] == three
    given = quick(tasks, "orders=[[depth,semantic,normal],[normal,depth,semantic]]").orders
    assert given == (("depth", "semantic", "normal"), ("normal", "depth", "semantic"))


def test_an_order_on_the_command_line_replaces_a_recipes_orders() -> None:
    assert len(compose(["experiment=nyuv2"]).orders) == 2
    config = compose(["experiment=nyuv2", "order=[depth,normal,semantic]"])
    assert config.orders == (("depth", "normal", "semantic"),)


def test_the_name_follows_from_what_decides_results() -> None:
    config = quick()
    assert quick().name == config.name
    for same in (
        "store.root=/elsewhere",
        "tracking.enabled=false",
        "cluster.lanes=2",
        "cluster.threads=2",
        "dataset.path=/data",
        "search=null",
    ):
        assert quick(same).name == config.name
    changed = ("seed=1", "train.lr=0.1", "method.lambda=1", "reference=naive", "net.norm=frozen")
    names = {quick(other).name for other in changed}
    assert len(names | {config.name}) == len(changed) + 1


def test_a_store_that_moved(tmp_path: Path) -> None:
    config = quick()
    moved = config.at(StoreConfig(str(tmp_path)))
    assert moved.store.root == str(tmp_path)
    assert replace(moved, store=config.store) == config


def test_the_digest_stands_for_the_weights_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    config = quick("net.weights=a.safetensors", cwd=tmp_path)
    assert config.net.weights == str(first)
    assert config.hash == quick(f"net.weights={second}").hash
    second.write_bytes(b"others")
    assert config.hash != quick(f"net.weights={second}").hash
    with pytest.raises(BadInput, match=r"net\.weights_sha256=abc is not allowed"):
        quick(f"net.weights={first}", "net.weights_sha256=abc")


def test_weights_that_cannot_be_read_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    file = tmp_path / "a.safetensors"
    file.write_bytes(b"weights")
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(BadInput, match=f"^net.weights={file} cannot be read: Permission denied$"):
        with_weights_digest(NetConfig(weights=str(file)))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["experiment=quickstar"],
            "experiment=quickstar is not allowed (did you mean 'quickstart'",
        ),
        (["dataset=[rooms,nyuv2]"], "dataset=[rooms,nyuv2] is not allowed: one of nyuv2, rooms"),
        (["net=[tiny]"], "net=[tiny] is not allowed: one of resnet18, resnet50, tiny"),
        (["method=[naive,had]"], "method=[naive,had] is not allowed: one of "),
        (["search=[tpe,grid]"], "search=[tpe,grid] is not allowed: one of grid"),
        (["methods=[]"], "methods=[] is not allowed: one or more of ablation, "),
        (["net=resnet19"], "net=resnet19 is not allowed (did you mean 'resnet18'?): resnet18"),
        (["net=null"], "net=null is not allowed: resnet18"),
        (["experiment=null"], "experiment=null is not allowed: compare_ablation"),
        (["foo=1"], "foo is not a known key: allowed are cluster, data"),
        (["experiment=quickstart", "train.foo=1"], "train.foo is not a known key: allowed are aug"),
        (["nets=tiny"], "nets is not a known key (did you mean 'net'?)"),
        (["+foo.bar=1"], "foo is not a known key"),
        (["train.epochz=3"], "train.epochz is not a known key (did you mean 'epochs'?)"),
        (["+train.epochz=3"], "train.epochz is not a known key (did you mean 'epochs'?)"),
        (["method=naive", "method.lambda=1"], "method.lambda is not a known key"),
        (["train.epochs=1,2"], "train.epochs=1,2 is not allowed: one value"),
        (
            ["experiment=quickstart", "train.epohs=3"],
            "train.epohs is not a known key (did you mean 'epochs'?)",
        ),
        (
            ["experiment=quickstart", "epochs=3"],
            "epochs is not a known key (did you mean train.epochs?): allowed are cluster",
        ),
        (["dataset.path=/tmp/\u00fc"], "write \"dataset.path='/tmp/\u00fc'\""),
        (
            ["orders=[[depth,normal],[depth,normal]]", "tasks=[depth,normal]"],
            "orders names [depth,normal] twice: each may come once",
        ),
        (
            [f"train.epochs={'9' * 5000}"],
            f"train.epochs={'9' * 57}... is not allowed: numbers have up to 4300 digits",
        ),
        ([f"tasks=[{'9' * 5000}]"], "numbers have up to 4300 digits"),
        (["train.epochs"], "'train.epochs' is not a setting: write key=value"),
        (["order=[a,b"], "'order=[a,b' is not a setting"),
        (["dataset.path=???"], "dataset.path is missing"),
        (["dataset.path=${nope}"], "dataset.path refers to something unknown"),
        (["order=[depth]", "orders=all"], "not allowed together with order"),
    ],
)
def test_bad_overrides_are_one_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        compose(overrides)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["train.epochs=x"], "train.epochs=x is not allowed: a whole number"),
        (["train.epochs=0"], "train.epochs=0 is not allowed: 1 to 100000"),
        (["train.epochs=100001"], "train.epochs=100001 is not allowed: 1 to 100000"),
        (["net.decoder_channels=4097"], "net.decoder_channels=4097 is not allowed: 1 to 4096"),
        (["cluster.threads=4097"], "cluster.threads=4097 is not allowed: 1 to 4096, or null"),
        (["tracking.uri=foo://x"], "tracking.uri=foo://x is not allowed: http(s)://"),
        (["tracking=off", "tracking.uri=foo://x"], "tracking.uri=foo://x is not allowed"),
        (["train.eval_every=-1"], "train.eval_every=-1 is not allowed: 0 or more epochs"),
        (
            ["train.eval_every=2", "data.val_fraction=0"],
            "train.eval_every=2 is not allowed: 0 where",
        ),
        (["train.optimizer=adm"], "train.optimizer=adm is not allowed (did you mean 'adam'?)"),
        (["method.loss.delta=2"], "method.loss.delta=2"),
        (["net.norm=layer"], "net.norm=layer is not allowed: batch, frozen, group, sync"),
        (["cluster.device=gpu"], "cluster.device=gpu is not allowed"),
        (["dataset.path=s3://x/y"], "dataset.path=s3://x/y is not allowed: a local folder"),
        (["dataset.path=file:///x"], "dataset.path=file:///x is not allowed: a local folder"),
        (["dataset.path="], "dataset.path='' is not allowed: a path"),
        (["order=[depth,foo]"], "names the unknown task 'foo': allowed are semantic, depth"),
        (["order=[depth,depth]"], "names the task 'depth' twice"),
        (["tasks=[depth,normal]", "order=[depth]"], "leaves out 'normal'"),
        (["tasks=[]"], "tasks=[] is not allowed: one task or more"),
        (["order=[]"], "order=[] is not allowed: one task or more"),
        (["tasks=[depth]", "order=[]"], "order=[] is not allowed: one task or more"),
        (["methods={}"], "methods={} is not allowed: one method or more, or null"),
        (["order=depth"], "order=depth is not allowed: a list"),
        (["order=[depth]", "orders=all"], "not allowed together with order"),
        (["orders=al"], "orders=al is not allowed"),
        (["orders=3"], "orders=3 is not allowed: all, sample:K or a list of orders"),
        (["orders=[]"], "orders=[] is not allowed"),
        (
            ["tasks=[depth]", "orders=[[depth],[depth]]"],
            "orders names [depth] twice: each may come once",
        ),
        (["tasks=[depth,normal]", "orders=sample:3"], "orders=sample:3 is not allowed"),
        (["data.slices=2"], "data.slices=2 is not allowed: 5 or more"),
        (["data.foo=2"], "data.foo is not a known key"),
        (["cluster.workers=3"], "train.batch_size=8 is not allowed: a multiple of cluster.workers"),
        (["cluster.backend=inline", "cluster.workers=2"], "cluster.workers=2 is not allowed"),
        (["cluster.lanes=0"], "cluster.lanes=0 is not allowed: 1 or more, or null"),
        (["seed=x"], "seed=x is not allowed: a whole number"),
        (["seed=[1,1]"], "seed=[1, 1] is not allowed: none twice"),
        (["seed=[]"], "seed=[] is not allowed: one seed or more"),
        (["reference=naiv"], "reference.name=naiv is not allowed (did you mean 'naive'?)"),
        (["net.weights=/does/not/exist"], "net.weights=/does/not/exist is not allowed: a file"),
        (["name=../up"], "name=../up is not allowed"),
        (["search=x"], "search=x is not allowed: grid, nsga2, random, tpe"),
        (["method.lambda={dept:3}", "tasks=[depth,normal]"], "the unknown task 'dept'"),
        (["method.lambda={depth:3}", "order=[normal,depth]"], "a weight for 'normal'"),
    ],
)
def test_bad_values_are_one_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        quick(*overrides)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_orders_than_anyone_trains_are_refused() -> None:
    names = ",".join(f"t{i}" for i in range(9))
    with pytest.raises(BadInput, match="orders=all is not allowed: sample:K"):
        quick(f"dataset.tasks=[{names}]", "orders=all")


def test_a_tree_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    recipe = "# @package _global_\ntasks: [depth]\ntrain:\n  epochs: 7\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(recipe)
    config = compose([f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine"])
    assert (config.recipe, config.train.epochs) == ("mine", 7)


ALLOWED = {"train": "train", "data": "slicing", "method": "method"}


def test_overrides_on_settings_that_are_already_made() -> None:
    raw = quick().to_json()
    changed = apply_overrides(
        raw, ["train=paper", "train.lr=0.5", "data.split_seed=3", "method=naive"], allowed=ALLOWED
    )
    config = RunConfig.from_json(changed)
    assert (config.train.batch_size, config.train.lr) == (64, 0.5)
    assert config.slicing.split_seed == 3
    assert config.method == NaiveConfig()
    assert raw == quick().to_json()  # untouched


@pytest.mark.parametrize(
    "words", [*permutations(["method=had", "method.lambda=5", "train.lr=0.5"])]
)
def test_an_option_never_undoes_a_value_wherever_it_stands(words: tuple[str, ...]) -> None:
    """As for Hydra, which takes options first."""
    config = RunConfig.from_json(apply_overrides(quick().to_json(), words, allowed=ALLOWED))
    assert (config.method, config.train.lr) == (HadConfig(weight=5), 0.5)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("net=tiny", "net cannot be changed here: allowed are data, method, train"),
        ("train=[quick,paper]", "train=[quick,paper] is not allowed: one of default, paper"),
        ("train=papr", "train=papr is not allowed (did you mean 'paper'?)"),
        ("~train", "'~train' is not allowed here"),
        ("train", "'train' is not a setting"),
        ("train.epochz=1", "train.epochz is not a known key"),
        ("train.epochs.x=1", "train.epochs={'x': 1} is not allowed"),
    ],
)
def test_bad_overrides_on_settings_that_are_already_made(override: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        RunConfig.from_json(apply_overrides(quick().to_json(), [override], allowed=ALLOWED))
    assert sentence in str(caught.value)
