"""What is certain before anything is written, built or started: sizes, tracking, workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from had_core.configs import require
from had_core.errors import BadInput
from orchestrator.app.datasets import training_images
from orchestrator.config import Backend, Device, with_params
from orchestrator.execution.cluster import ClusterSettings, check_cluster, placed, usable_cpus
from orchestrator.execution.environment import job_cluster
from orchestrator.store import Store

if TYPE_CHECKING:
    from had_core.configs import NetConfig
    from had_core.data.slices import Slicing
    from orchestrator.config import ClusterConfig, RunConfig
    from orchestrator.plan.specs import FitSpec
    from orchestrator.search.settings import Dimension, Params, Value

# Of what can be searched: the batches, and how many images a stage of a method sees.
_DECIDE_SIZES = ("train.batch_size", "train.drop_last", "method.setting")
_MOST_VALUES = 500  # of one range; of a longer one the ends are looked at


def check_before_writing(config: RunConfig) -> None:
    """Everything that can be told from the settings and the data set's manifest.

    Raises:
        BadInput: no stage could be trained with these settings.
    """
    from orchestrator.tracking.location import TrackingLocation, require_usable_uri

    check_sizes(config)
    if config.tracking.enabled:
        TrackingLocation.of(config.store.root, config.tracking.uri)
        if config.tracking.uri is not None:
            require_usable_uri(config.tracking.uri)
    if not Store.exists(config.store.root):
        Store.require_place(config.store.root)
        check_start(config)  # nothing is sealed, so everything has to be trained


def check_start(config: RunConfig) -> None:
    """``check_place``, and that a net can start from its file of weights."""
    check_place(config)
    _check_weights(config.net)


def check_initial(fits: Iterable[FitSpec]) -> None:
    """Raise BadInput where one of these fits starts from a file of weights that is not there, or
    is not the one of its key."""
    for net in {fit.config.net for fit in fits if fit.parent is None}:
        _check_weights(net)


def _check_weights(net: NetConfig) -> None:
    if net.weights is not None:
        from had_core.building import check_weights  # and torch

        check_weights(net)


def check_sizes(config: RunConfig) -> None:
    """Raise BadInput where a slice is empty or smaller than a batch, in a trial of a search too."""
    from had_core.data.slices import Slicing

    slicing = Slicing(training_images(config.dataset), config.slicing)
    _check_batches(config, slicing)
    for params in _searched_sizes(config):
        try:
            _check_batches(with_params(config, params), slicing)
        except BadInput as error:
            paths = " with ".join(f"search.space.{path}" for path in params)
            raise BadInput(f"{paths} reaches what the settings refuse: {error}") from None


def _searched_sizes(config: RunConfig) -> Iterator[Params]:
    """Every combination that trials may ask for of what decides sizes."""
    space = config.search.space if config.search is not None else {}
    values = {path: _values(space[path]) for path in _DECIDE_SIZES if path in space}
    if values:
        for point in itertools.product(*values.values()):
            yield dict(zip(values, point, strict=True))


def _values(dimension: Dimension) -> tuple[Value, ...]:
    points = dimension.points if dimension.size <= _MOST_VALUES else None
    return points or dimension.corners


def _check_batches(config: RunConfig, slicing: Slicing) -> None:
    from had_core.data.slices import check_batches

    for _, method in config.methods:
        # Orders are permutations: their stages see other tasks on slices of the same sizes.
        for shape in method.shape(config.orders[0]):
            check_batches(slicing.count_of(shape.views), config.train, config.cluster.workers)


def check_place(config: RunConfig, *, more_threads: bool = False) -> None:
    """Raise BadInput where this machine lacks the CPUs or GPUs, or the cluster to join cannot be
    joined.

    Whether a cluster that can be joined has room is asked when it is.

    Args:
        more_threads: more than there are CPUs will do where Ray does not count them: a stage of a
            larger machine comes out the same.
    """
    inline, settings = config.cluster.backend is Backend.INLINE, cluster_settings(config.cluster)
    if not inline and settings.address is not None:
        check_cluster(settings.address)
        return
    if inline and more_threads:
        settings = replace(settings, threads=1)
    machine = {"CPU": float(usable_cpus())}
    if settings.gpu:
        machine["GPU"] = float(_usable_gpus())
        require(machine["GPU"] > 0, "cluster.device", "cuda", "cpu where torch finds no GPU")
    placed(settings, [machine])


def _usable_gpus() -> int:
    """GPUs that torch can compute on in this process; importing it takes a while."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def cluster_settings(cluster: ClusterConfig) -> ClusterSettings:
    """The configuration's wishes as the execution room takes them."""
    return ClusterSettings(
        address=cluster.address or job_cluster(),
        lanes=cluster.lanes,
        workers=cluster.workers,
        threads=cluster.threads,
        gpu=cluster.device is Device.CUDA,
    )
