"""Hydra's tree and overrides to a RunConfig. With ``overrides.py`` the only place that knows Hydra.

compose(["experiment=nyuv2", "train.epochs=5"])  ->  RunConfig
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from had_core.configs import NetConfig, SlicingConfig, TrainConfig, require
from had_core.decode import decode, decode_method, unknown_key
from had_core.errors import BadInput
from had_core.methods import NaiveConfig
from had_core.methods.base import MethodConfig
from had_core.paths import expanded
from orchestrator import resources
from orchestrator.config import overrides as override_syntax
from orchestrator.config.labels import at_label
from orchestrator.config.names import check_names
from orchestrator.config.schema import (
    ClusterConfig,
    DatasetConfig,
    RunConfig,
    StoreConfig,
    TrackingConfig,
)
from orchestrator.config.searching import search_of
from orchestrator.plan.orders import resolve_orders

KEYS = (
    "dataset",
    "tasks",
    "order",
    "orders",
    "method",
    "methods",
    "reference",
    "net",
    "train",
    "data",
    "seed",
    "cluster",
    "store",
    "tracking",
    "search",
    "name",
)

_SPACE = "search.space"
MOST_ORDERS = 5040  # 7!: more stages than anyone trains, and a plan that still answers at once


@dataclass(frozen=True)
class _DataSection:
    """``data`` as it is written; ``slices`` null means one a task."""

    slices: int | None = None
    val_fraction: float = 0.1
    split_seed: int = 0


@dataclass(frozen=True)
class _Names:
    tasks: tuple[str, ...] | None
    order: tuple[str, ...] | None


@dataclass(frozen=True)
class _Orders:
    orders: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class _Seed:
    seed: int | tuple[int, ...]


def compose(
    overrides: Sequence[str],
    *,
    cwd: Path | None = None,
    search: str | None = None,
    searches: bool = True,
) -> RunConfig:
    """The run that ``overrides`` describe; relative paths are taken from ``cwd``.

    Args:
        search: option of the group ``search`` where neither overrides nor recipe choose one.
        searches: False leaves out the search of a recipe, and refuses one among the overrides.

    Raises:
        BadInput: one sentence naming the key and what is allowed.
    """
    if not searches:
        _refuse_search(overrides)
    raw, recipe = compose_raw(overrides, search=search)
    if not searches:
        raw["search"] = None
    return build(raw, recipe=recipe, cwd=cwd or Path.cwd())


def compose_raw(
    overrides: Sequence[str], *, search: str | None = None
) -> tuple[dict[str, Any], str | None]:
    """The composed tree as plain values, and the recipe's name where one was chosen."""
    tree = resources.folder("experiments")
    space = [text for text in overrides if _is_of_the_space(text)]
    given = [text for text in overrides if text not in space]
    for text in given:
        override_syntax.refuse_list(override_syntax.parse(text), tree)
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(tree)):
            if search is not None and not _chooses_search(given):
                given.insert(0, f"search={search}")
            config = hydra_compose("config", given, return_hydra_config=True)
        recipe = config.hydra.runtime.choices.get("experiment")
        with open_dict(config):
            del config["hydra"]
        raw = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise override_syntax.explain(error, given, tree) from error
    values = {str(key): value for key, value in cast("dict[Any, Any]", raw).items()}
    override_syntax.settle_space(values.get("search"))
    # Hydra would merge a range into the one that is there, and refuse what is not.
    values = override_syntax.apply(values, space, tree, allowed={"search": "search"})
    return said_last(values, overrides), recipe


def _refuse_search(overrides: Sequence[str]) -> None:
    for text in overrides:
        key = override_syntax.parse(text).key_or_group
        if key.split(".")[0] == "search":
            raise BadInput(f"{text} is not allowed here: had sweep searches")


def _is_of_the_space(override: str) -> bool:
    key = override_syntax.parse(override).key_or_group
    return key == _SPACE or key.startswith(f"{_SPACE}.")


def _chooses_search(overrides: Sequence[str]) -> bool:
    """Whether the recipe or an override picks an option of the group."""
    groups = ("experiment", "search", "hydra.searchpath")
    chosen = [text for text in overrides if override_syntax.parse(text).key_or_group in groups]
    if any(override_syntax.parse(text).key_or_group == "search" for text in chosen):
        return True
    config = hydra_compose("config", chosen, return_hydra_config=True)
    return config.hydra.runtime.choices.get("search") is not None


def said_last(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """An ``order`` on the command line replaces a recipe's ``orders``, and the other way round.

    Settings of ``method`` would be lost beside ``methods``.
    """
    keys = [override_syntax.parse(text).key_or_group for text in overrides]
    said = {"order", "orders"} & set(keys)
    if len(said) == 1:
        values[({"order", "orders"} - said).pop()] = None
    pairs = zip(overrides, keys, strict=True)
    lost = [text for text, key in pairs if key.split(".")[0] == "method"]
    if lost and values.get("methods"):
        labels = ", ".join(f"methods.{label}" for label in values["methods"])
        raise BadInput(f"{lost[0]} is not allowed together with methods: set {labels}")
    return values


def build(
    raw: Mapping[str, Any], *, recipe: str | None, cwd: Path, net: NetConfig | None = None
) -> RunConfig:
    """Validate a composed tree.

    Args:
        net: the net where it is known already, with the digest of its weights file.

    Raises:
        BadInput: one sentence naming the key and what is allowed.
    """
    for key in raw:
        if key not in KEYS:
            raise unknown_key(key, key, KEYS)
    dataset = decode(DatasetConfig, _absolute(raw, "dataset", "path", cwd), at="dataset")
    tasks, orders, seeds = _sequences(raw, dataset)
    if net is None:
        net = decode(NetConfig, _absolute(raw, "net", "weights", cwd), at="net")
        net = with_weights_digest(net)
    compared = _compared(raw.get("methods"))
    first = next(iter(compared.values()), None)
    config = RunConfig(
        name="unnamed" if raw.get("name") is None else str(raw["name"]),
        recipe=(recipe or dataset.name).replace("/", "-"),
        dataset=dataset,
        tasks=tasks,
        orders=orders,
        method=first or decode_method(raw.get("method"), at="method"),
        reference=_reference(raw, compared),
        net=net,
        train=decode(TrainConfig, raw.get("train"), at="train"),
        slicing=_slicing(raw.get("data"), tasks),
        seeds=seeds,
        cluster=decode(ClusterConfig, raw.get("cluster"), at="cluster"),
        store=decode(StoreConfig, _absolute(raw, "store", "root", cwd), at="store"),
        tracking=decode(TrackingConfig, raw.get("tracking"), at="tracking"),
        compared=compared,
    )
    if raw.get("search") is not None:
        config = replace(config, search=search_of(raw["search"], config))
    if raw.get("name") is not None:
        return config
    return replace(config, name=f"{config.recipe}-{config.hash[:8]}")


def with_weights_digest(net: NetConfig) -> NetConfig:
    """``net`` with the digest of its weights file, which stands for the file in keys.

    Raises:
        BadInput: the file is missing, or is not the one ``net.weights_sha256`` names.
    """
    if net.weights is None:
        require(
            net.weights_sha256 is None,
            "net.weights_sha256",
            net.weights_sha256,
            "null where net.weights is null",
        )
        return net
    path = Path(net.weights)
    try:
        require(path.is_file(), "net.weights", net.weights, "a file of encoder weights that exists")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"net.weights={path} cannot be read: {error.strerror}") from None
    require(
        net.weights_sha256 in (None, found),
        "net.weights_sha256",
        net.weights_sha256,
        f"{found}, the digest of {path}",
    )
    return replace(net, weights_sha256=found)


def _sequences(
    raw: Mapping[str, Any], dataset: DatasetConfig
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[int, ...]]:
    """Tasks, orders and seeds."""
    seed = decode(_Seed, {"seed": raw.get("seed")}).seed
    seeds = (seed,) if isinstance(seed, int) else seed
    order, orders = raw.get("order"), raw.get("orders")
    names = decode(_Names, {"tasks": raw.get("tasks"), "order": order})
    if order is not None and orders is not None:
        raise BadInput(
            f"orders={orders} is not allowed together with order: leave one of them null"
        )
    tasks = dataset.tasks
    for given in (names.order, names.tasks):
        tasks = tasks if given is None else given
    check_names(
        "order" if names.tasks is None and order is not None else "tasks",
        tasks,
        allowed=dataset.tasks,
    )
    if orders is not None:
        return tasks, _orders(orders, tasks, seeds), seeds
    return tasks, (tasks if names.order is None else names.order,), seeds


def _orders(
    raw: Any, tasks: tuple[str, ...], seeds: tuple[int, ...]
) -> tuple[tuple[str, ...], ...]:
    """What ``orders`` means; a sample is drawn by the first seed."""
    if isinstance(raw, str):
        require(
            raw != "all" or math.factorial(len(tasks)) <= MOST_ORDERS,
            "orders",
            raw,
            f"sample:K where {len(tasks)} tasks have more than {MOST_ORDERS} orders",
        )
        return resolve_orders(raw, tasks, seeds[0] if seeds else 0)
    require(isinstance(raw, list), "orders", raw, "all, sample:K or a list of orders")
    orders = decode(_Orders, {"orders": raw}).orders
    for order in orders:
        check_names("order", order, allowed=tasks, complete=True)
    return orders


def _compared(raw: Any) -> dict[str, MethodConfig]:
    """``methods``: a mapping of labels to what ``method`` takes."""
    if raw is None:
        return {}
    require(isinstance(raw, Mapping), "methods", raw, "a mapping of labels to methods")
    require(bool(raw), "methods", raw, "one method or more, or null")
    found = {}
    for label, settings in raw.items():
        try:
            found[str(label)] = decode_method(settings, at=f"methods.{label}")
        except BadInput as error:
            raise at_label(error, str(label)) from None
    return found


def _reference(raw: Mapping[str, Any], compared: Mapping[str, MethodConfig]) -> MethodConfig | None:
    """``naive``, a label of ``methods``, or a mapping as ``method`` takes it.

    A search needs one and takes naive; so does a comparison that has naive among its methods.
    """
    given = raw.get("reference")
    if given is None and (raw.get("search") is not None or NaiveConfig() in compared.values()):
        return NaiveConfig()
    if given is None:
        return None
    if isinstance(given, str) and given in compared:
        return compared[given]
    return decode_method({"name": given} if isinstance(given, str) else given, at="reference")


def _slicing(raw: Any, tasks: Sequence[str]) -> SlicingConfig:
    section = decode(_DataSection, raw, at="data")
    slices = len(tasks) if section.slices is None else section.slices
    return SlicingConfig(slices, section.val_fraction, section.split_seed)


def _absolute(raw: Mapping[str, Any], section: str, key: str, cwd: Path) -> Any:
    """The section with the path under ``key`` made absolute; URIs stay as they are."""
    values = raw.get(section)
    if not isinstance(values, Mapping) or not isinstance(values.get(key), str):
        return values
    path = values[key]
    require(bool(path), f"{section}.{key}", "''", "a path")
    if "://" not in path:
        path = os.path.abspath(cwd / expanded(path))
    return {**values, key: path}
