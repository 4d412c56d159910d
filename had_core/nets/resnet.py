"""Dilated ResNet encoder (He et al. 2016; Chen et al. 2017) with torchvision's parameter names.

::

    image ── conv1/bn1 /2 ── maxpool /4 ── layer1 /4 ── layer2 /8 ── layer3 ── layer4 ── features
                                                      stride 8:      rate 2    rate 4
                                                      stride 16:     /16       rate 2

A stride that would go below the output stride becomes a dilation of everything after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from had_core.configs import Encoder, Norm
from had_core.nets.dilated_conv import Conv2d
from had_core.nets.norms import make_norm


@dataclass(frozen=True)
class ResNetSpec:
    """Shape of an encoder.

    Attributes:
        bottleneck: three convolutions a block (1x1, 3x3, 1x1 to four times the width), else two.
        blocks: residual blocks of layer1..layer4.
        widths: channels inside the blocks of layer1..layer4.
        stem_width: channels of conv1.
        stem_kernel: kernel size of conv1.
    """

    bottleneck: bool
    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    stem_width: int
    stem_kernel: int

    @property
    def expansion(self) -> int:
        return 4 if self.bottleneck else 1


SPECS: Mapping[Encoder, ResNetSpec] = {
    Encoder.TINY: ResNetSpec(False, (1, 1, 1, 1), (16, 32, 64, 96), 16, 3),
    Encoder.RESNET18: ResNetSpec(False, (2, 2, 2, 2), (64, 128, 256, 512), 64, 7),
    Encoder.RESNET50: ResNetSpec(True, (3, 4, 6, 3), (64, 128, 256, 512), 64, 7),
}


def _conv(in_channels: int, out_channels: int, size: int, stride: int = 1, rate: int = 1) -> Conv2d:
    """Convolution without bias whose padding keeps the size (at stride 1)."""
    padding = rate * (size // 2)
    return Conv2d(in_channels, out_channels, size, stride, padding, rate, bias=False)


@dataclass(frozen=True)
class BlockShape:
    """One residual block; ``rate`` dilates what comes after the stride, ``first_rate`` the
    convolution that carries it."""

    in_channels: int
    width: int
    out_channels: int
    stride: int
    first_rate: int
    rate: int

    def downsample(self, norm: Norm) -> nn.Module | None:
        """1x1 projection of the shortcut where shapes differ."""
        if self.stride == 1 and self.in_channels == self.out_channels:
            return None
        projection = _conv(self.in_channels, self.out_channels, 1, self.stride)
        return nn.Sequential(projection, make_norm(norm, self.out_channels))


class BasicBlock(nn.Module):
    """conv3x3, conv3x3, plus the shortcut."""

    def __init__(self, shape: BlockShape, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(shape.in_channels, shape.width, 3, shape.stride, shape.first_rate)
        self.bn1 = make_norm(norm, shape.width)
        self.conv2 = _conv(shape.width, shape.out_channels, 3, rate=shape.rate)
        self.bn2 = make_norm(norm, shape.out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shape.downsample(norm)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(x)).add_(shortcut))
        return out


class Bottleneck(nn.Module):
    """conv1x1, conv3x3 (with the stride, as torchvision's), conv1x1, plus the shortcut."""

    def __init__(self, shape: BlockShape, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(shape.in_channels, shape.width, 1)
        self.bn1 = make_norm(norm, shape.width)
        self.conv2 = _conv(shape.width, shape.width, 3, shape.stride, shape.first_rate)
        self.bn2 = make_norm(norm, shape.width)
        self.conv3 = _conv(shape.width, shape.out_channels, 1)
        self.bn3 = make_norm(norm, shape.out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shape.downsample(norm)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: Tensor = self.relu(self.bn3(self.conv3(x)).add_(shortcut))
        return out


class ResNet(nn.Module):
    """``[B,3,H,W]`` normalised image to features ``[B, out_channels, H/s, W/s]`` (rounded up)."""

    def __init__(self, encoder: Encoder, output_stride: int, norm: Norm) -> None:
        super().__init__()
        spec = SPECS[encoder]
        self.out_channels = spec.widths[-1] * spec.expansion
        self.conv1 = _conv(3, spec.stem_width, spec.stem_kernel, stride=2)
        self.bn1 = make_norm(norm, spec.stem_width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels, reached, rate = spec.stem_width, 4, 1
        for index, (blocks, width) in enumerate(zip(spec.blocks, spec.widths, strict=True)):
            stride, first_rate = (1 if index == 0 else 2), rate
            if reached * stride > output_stride:
                stride, rate = 1, rate * stride
            reached *= stride
            out = width * spec.expansion
            shapes = [BlockShape(channels, width, out, stride, first_rate, rate)]
            shapes += [BlockShape(out, width, out, 1, rate, rate)] * (blocks - 1)
            block = Bottleneck if spec.bottleneck else BasicBlock
            layer = nn.Sequential(*(block(shape, norm) for shape in shapes))
            self.add_module(f"layer{index + 1}", layer)
            channels = out

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        return x
