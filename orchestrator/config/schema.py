"""The settings of one run: frozen, validated, with a JSON form. Imports no Hydra and no torch."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from had_core.canonical import digest, to_plain
from had_core.configs import NetConfig, SlicingConfig, TrainConfig, require
from had_core.data.rooms.config import RoomsConfig
from had_core.decode import decode, outside_names
from had_core.errors import BadInput
from had_core.methods.base import MethodConfig
from orchestrator.config.labels import at_label, check_labels, labelled, reference_label
from orchestrator.config.names import check_names
from orchestrator.config.searching import check_search
from orchestrator.search.settings import SearchConfig
from orchestrator.tracking.location import require_tracking_uri

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Backend(enum.Enum):
    """What executes stages: lanes on Ray Train, or this very process."""

    RAY = "ray"
    INLINE = "inline"


class Device(enum.Enum):
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class DatasetConfig:
    """A folder of shards.

    Attributes:
        path: where it lies, absolute. It decides nothing: keys hold the data's fingerprint.
        tasks: the tasks it offers.
        build: the rooms to render where ``path`` does not exist; None for imported data.
    """

    name: str
    path: str = field(metadata={"key": False})
    tasks: tuple[str, ...]
    build: RoomsConfig | None = None

    def __post_init__(self) -> None:
        require(_SCHEME.match(self.path) is None, "dataset.path", self.path, "a local folder")
        check_names("dataset.tasks", self.tasks)


@dataclass(frozen=True)
class ClusterConfig:
    """What a run may use. Only ``workers`` can decide a result (norm ``batch``).

    Attributes:
        address: of a running Ray cluster; None starts a local one for the run.
        lanes: stages that run at the same time; None for as many as the cluster has room for.
        workers: data-parallel workers of a lane; the global batch is split over them.
        threads: CPU threads of one worker; None shares out the machine's.
    """

    backend: Backend = field(default=Backend.RAY, metadata={"key": False})
    address: str | None = field(default=None, metadata={"key": False})
    lanes: int | None = field(default=1, metadata={"key": False})
    workers: int = 1
    threads: int | None = field(default=None, metadata={"key": False})
    device: Device = field(default=Device.CPU, metadata={"key": False})

    def __post_init__(self) -> None:
        lanes = self.lanes
        require(lanes is None or lanes >= 1, "cluster.lanes", lanes, "1 or more, or null")
        require(self.workers >= 1, "cluster.workers", self.workers, "1 or more")
        require(
            self.threads is None or 1 <= self.threads <= 4096,
            "cluster.threads",
            self.threads,
            "1 to 4096, or null",
        )
        if self.backend is Backend.INLINE:
            require(self.workers == 1, "cluster.workers", self.workers, "1 with backend inline")
            require(lanes in (1, None), "cluster.lanes", lanes, "1 with backend inline")


@dataclass(frozen=True)
class StoreConfig:
    """Where sealed stages lie: an absolute folder or a URI."""

    root: str


@dataclass(frozen=True)
class TrackingConfig:
    """MLflow.

    Attributes:
        uri: None is a sqlite file in the store's folder; see ``tracking.TrackingLocation``.
        experiment: None is the recipe's name.
        system_every: seconds between looks at processors, memory and GPU while a stage trains;
            their means over every epoch are shown. 0 for none.
    """

    enabled: bool = True
    uri: str | None = None
    experiment: str | None = None
    system_every: float = 5.0

    def __post_init__(self) -> None:
        every = self.system_every
        require(every >= 0, "tracking.system_every", every, "0 or more seconds")
        if self.uri is not None:
            require_tracking_uri(self.uri)


@dataclass(frozen=True)
class RunConfig:
    """Everything one run is told.

    Attributes:
        name: name of the run, unique in a store.
        recipe: the experiment it came from; the data set's name where there was none.
        tasks: the tasks to learn.
        orders: permutations of ``tasks``; each is one sequence for each seed.
        method: the method that is run; in a comparison the first.
        reference: the method Delta_m refers to, run as well; None for no reference.
        slicing: which training images a stage sees.
        search: of a sweep; a single run has none, and its record and hash do not know the key.
        compared: label -> method of a comparison, in the order of its tables; a single run has
            none, and its record and hash do not know the key.
    """

    name: str = field(metadata={"key": False})
    recipe: str = field(metadata={"key": False})
    dataset: DatasetConfig
    tasks: tuple[str, ...]
    orders: tuple[tuple[str, ...], ...]
    method: MethodConfig
    reference: MethodConfig | None
    net: NetConfig
    train: TrainConfig
    slicing: SlicingConfig
    seeds: tuple[int, ...]
    cluster: ClusterConfig
    store: StoreConfig = field(metadata={"key": False})
    tracking: TrackingConfig = field(metadata={"key": False})
    search: SearchConfig | None = None
    compared: Mapping[str, MethodConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadInput(
                f"name={self.name} is not allowed: up to 100 letters, digits, '.', '_' and '-', "
                "beginning with a letter or digit"
            )
        _check_tasks(self)
        shown = ",".join(self.compared)
        require(not (self.compared and self.search), "methods", shown, "null in a search")
        check_labels(self.compared, self.reference)
        _check_methods(self)
        _check_sizes(self)
        check_search(self)

    @property
    def methods(self) -> tuple[tuple[str, MethodConfig], ...]:
        """Label and settings of every method; the reference first, where there is one."""
        return labelled(self.method, self.reference, self.compared)

    @property
    def reference_label(self) -> str | None:
        """The label of the reference among ``methods``."""
        if self.reference is None:
            return None
        return reference_label(self.method, self.reference, self.compared)

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment."""
        return self.tracking.experiment or self.recipe

    @property
    def hash(self) -> str:
        """SHA-256 of what can decide a result: no names, paths, tracking or placement."""
        return digest(_as_recorded(self, to_plain(self, for_key=True)))

    def to_json(self) -> dict[str, Any]:
        """Plain values from which ``from_json`` makes an equal config."""
        return _as_recorded(self, to_plain(self))

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> RunConfig:
        """Raises BadInput for anything ``to_json`` would not write."""
        return decode(cls, raw)

    def at(self, store: StoreConfig) -> RunConfig:
        """The same run over the same store lying somewhere else."""
        return replace(self, store=store)


def _as_recorded(config: RunConfig, raw: dict[str, Any]) -> dict[str, Any]:
    """With the methods' names, which are their classes' and not seen by ``to_plain``.

    A run without search or comparison does not know these keys, so that its hash stays.
    """
    for key, method in (("method", config.method), ("reference", config.reference)):
        if method is not None:
            raw[key] = {"name": method.name, **raw[key]}
    for label, method in config.compared.items():
        raw["compared"][label] = {"name": method.name, **raw["compared"][label]}
    for key in ("search", "compared"):
        if not raw[key]:
            del raw[key]
    return raw


def _check_tasks(config: RunConfig) -> None:
    check_names("tasks", config.tasks, allowed=config.dataset.tasks)
    require(bool(config.orders), "orders", "[]", "one order or more")
    for order in config.orders:
        check_names("order", order, allowed=config.tasks, complete=True)
    twice = next((order for order, n in Counter(config.orders).items() if n > 1), None)
    if twice is not None:
        raise BadInput(f"orders names [{','.join(twice)}] twice: each may come once")
    require(bool(config.seeds), "seed", "[]", "one seed or more")
    require(len(set(config.seeds)) == len(config.seeds), "seed", list(config.seeds), "none twice")


def _check_methods(config: RunConfig) -> None:
    for label, method in config.methods:
        try:
            _check_weights(method, config)
        except BadInput as error:
            raise (at_label(error, label) if config.compared else error) from None


def _check_weights(method: MethodConfig, config: RunConfig) -> None:
    """Weights by task name must name tasks, and name all that become old."""
    for key, settable in outside_names(type(method)).items():
        value = getattr(method, settable.name)
        if isinstance(value, Mapping):
            check_names(f"method.{key}", tuple(value), allowed=config.tasks)
    for order in config.orders:
        for k in range(len(order)):
            method.effective(order[:k])


def _check_sizes(config: RunConfig) -> None:
    slices, batch, workers = (
        config.slicing.slices,
        config.train.batch_size,
        config.cluster.workers,
    )
    require(
        slices >= len(config.tasks),
        "data.slices",
        slices,
        f"{len(config.tasks)} or more, one for each of the tasks",
    )
    every, held_out = config.train.eval_every, config.slicing.val_fraction
    require(
        not every or held_out > 0,
        "train.eval_every",
        every,
        "0 where data.val_fraction=0 leaves no validation part",
    )
    require(
        batch % workers == 0,
        "train.batch_size",
        batch,
        f"a multiple of cluster.workers={workers}, which it is split over",
    )
