"""The net of a fit before its first step, and which of its parameters the fit trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from had_core.canonical import derive_seed
from had_core.configs import NetConfig
from had_core.errors import BadInput
from had_core.fit_config import FitConfig
from had_core.nets.lifelong import LifelongNet
from had_core.tasks import DenseTask


def resolve_tasks(config: FitConfig, available: Mapping[str, DenseTask]) -> list[DenseTask]:
    """The tasks of a fit in growth order; BadInput names one that the data set lacks."""
    for name in config.tasks:
        if name not in available:
            raise BadInput(
                f"task '{name}' is not in the data set: allowed are {', '.join(available)}"
            )
    return [available[name] for name in config.tasks]


def build_net(
    config: FitConfig, tasks: Sequence[DenseTask], parent: Mapping[str, Tensor] | None
) -> LifelongNet:
    """The parent's weights (or fresh ones) with the new tasks' heads grown on them.

    A head's initialisation follows from (seed, tasks up to it), so it is the same for every
    method and every setting of the weights.

    Raises:
        BadInput: the file of weights is missing, damaged, or not the one of its digest.
    """
    old = set(config.old_tasks)
    if parent is not None:
        net = LifelongNet.blank(config.net, [task for task in tasks if task.name in old])
        net.load_state_dict(dict(parent))
    else:
        net = _fresh_net(config, [task for task in tasks if task.name in old])
    for index, task in enumerate(tasks):
        if task.name not in old:
            prefix = [grown.name for grown in tasks[: index + 1]]
            net.grow(task, derive_seed(config.seed, "head", prefix))
    return _channels_last(net)


def _fresh_net(config: FitConfig, old: Sequence[DenseTask]) -> LifelongNet:
    """The net before any stage; heads of old tasks as if there had been one."""
    net = LifelongNet(config.net, derive_seed(config.seed, "encoder"))
    for task in old:
        net.grow(task, 0)
    _load_weights(net)
    return net


def check_weights(config: NetConfig) -> None:
    """Raise BadInput where a fresh net cannot start from ``config.weights``."""
    if config.weights is not None or config.weights_sha256 is not None:
        _load_weights(LifelongNet(config, 0))


def _load_weights(net: LifelongNet) -> None:
    """Fill the encoder from the file that the config names; it must be the one of its digest."""
    path, digest = net.config.weights, net.config.weights_sha256
    if path is not None:
        from had_core.nets.weights import load_encoder

        load_encoder(net, Path(path), digest)
    elif digest is not None:
        raise BadInput(
            f"net.weights is missing: the path of the file with the SHA-256 {digest}, which the "
            "net starts from"
        )


def load_net(
    config: FitConfig, tasks: Sequence[DenseTask], state: Mapping[str, Tensor]
) -> LifelongNet:
    """The net after the fit, from its sealed weights, ready to predict."""
    return trained_net(config.net, tasks, state)


def trained_net(
    config: NetConfig, tasks: Sequence[DenseTask], state: Mapping[str, Tensor]
) -> LifelongNet:
    """The net of these weights, in eval mode; ``tasks`` in the order in which they were grown."""
    net = LifelongNet.blank(config, tasks)
    net.load_state_dict(dict(state))
    return _channels_last(net).eval()


def _channels_last(net: LifelongNet) -> LifelongNet:
    """CPU and tensor-core convolutions are faster in this layout; values stay the same."""
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def trained_parameters(
    config: FitConfig, net: LifelongNet, distilled: Sequence[str]
) -> dict[str, nn.Parameter]:
    """The encoder, the new heads and the distilled old heads.

    All other heads get no update at all (a zero gradient would still decay their weights).
    """
    active = {*config.new_tasks, *distilled}
    net.train()
    if config.train.freeze_bn and config.old_tasks:
        net.freeze_norms()
    trained: dict[str, nn.Parameter] = {}
    for name, parameter in net.named_parameters():
        head = name.split(".")[1] if name.startswith("heads.") else None
        if parameter.requires_grad and (head is None or head in active):
            trained[name] = parameter
    return trained
