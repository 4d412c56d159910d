"""DeepLabV3 decoder: atrous spatial pyramid pooling (Chen et al. 2017, section 3.3).

::

                ┌ 1x1 ───────────────┐
                ├ 3x3 rate r1 ───────┤
    features ───┼ 3x3 rate r2 ───────┼── project 1x1 ── 3x3 ── classifier 1x1 ── head output
                ├ 3x3 rate r3 ───────┤
                └ image mean, 1x1 ───┘

Child names are those of torchvision's DeepLabHead, which the released code of HAD uses too:
``0.convs.0..4``, ``0.project``, ``1``, ``2``, ``4``. There is no dropout: its masks would depend on
how a batch is split over workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from had_core.configs import Norm
from had_core.nets.dilated_conv import Conv2d
from had_core.nets.norms import make_norm


def _layer(conv: Conv2d, norm: Norm) -> nn.Sequential:
    return nn.Sequential(conv, make_norm(norm, conv.out_channels), nn.ReLU(inplace=True))


class Aspp(nn.Module):
    """``[B,in,h,w]`` to ``[B,width,h,w]``."""

    def __init__(self, in_channels: int, width: int, rates: Sequence[int], norm: Norm) -> None:
        super().__init__()
        branches = [_layer(Conv2d(in_channels, width, 1, bias=False), norm)]
        for rate in rates:
            conv = Conv2d(in_channels, width, 3, padding=rate, dilation=rate, bias=False)
            branches.append(_layer(conv, norm))
        pooled = _layer(Conv2d(in_channels, width, 1, bias=False), norm)
        branches.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *pooled))
        self.convs = nn.ModuleList(branches)
        self.project = _layer(Conv2d(len(branches) * width, width, 1, bias=False), norm)

    def forward(self, features: Tensor) -> Tensor:
        *local, pooled = (branch(features) for branch in self.convs)
        conv, norm, relu = self.project
        assert isinstance(conv, Conv2d)
        # The image's mean is the same at every pixel: project it once and add it.
        split = conv.in_channels - pooled.shape[1]
        x = F.conv2d(torch.cat(local, 1), conv.weight[:, :split])
        x = x.add_(F.conv2d(pooled, conv.weight[:, split:]))
        out: Tensor = relu(norm(x))
        return out


class AsppHead(nn.Sequential):
    """One task's decoder: features to ``[B,channels,h,w]`` at the features' resolution."""

    def __init__(
        self, in_channels: int, channels: int, width: int, rates: Sequence[int], norm: Norm
    ) -> None:
        super().__init__(
            Aspp(in_channels, width, rates, norm),
            *_layer(Conv2d(width, width, 3, padding=1, bias=False), norm),
            Conv2d(width, channels, 1),
        )
