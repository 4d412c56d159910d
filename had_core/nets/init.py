"""Initial weights from a seed and the parameter's name, and from nothing else."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from had_core.canonical import derive_seed

_CLASSIFIER_STD = 0.01


def initialise(module: nn.Module, seed: int) -> None:
    """Fill the convolutions of ``module``; normalisation layers keep weight 1 and bias 0.

    Convolutions followed by a normalisation: normal, variance 2 / (outputs x kernel area)
    (He et al. 2015, as torchvision's ResNet). Classifiers (the convolutions with a bias): normal,
    standard deviation 0.01, bias 0. Every tensor has a stream of its own, so that no tensor
    depends on another and the global random state is neither read nor moved.
    """
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        fan_out = layer.out_channels * math.prod(layer.kernel_size)
        std = math.sqrt(2 / fan_out) if layer.bias is None else _CLASSIFIER_STD
        _fill_normal(layer.weight, std, derive_seed(seed, "init", f"{name}.weight"))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _fill_normal(parameter: Tensor, std: float, seed: int) -> None:
    """Drawn on the CPU in float32, so that device and type of the net do not matter."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.empty(parameter.shape).normal_(0, std, generator=generator)
    with torch.no_grad():
        parameter.copy_(values)
