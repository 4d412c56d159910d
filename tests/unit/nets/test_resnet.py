"""The encoder: torchvision's names and shapes, output strides, exactness of the dilation."""

from __future__ import annotations

import itertools

import pytest
import torch

from had_core.configs import Encoder, Norm
from had_core.nets.init import initialise
from had_core.nets.resnet import ResNet

STRIDES = (8, 16)


def torchvision_shapes(blocks: tuple[int, ...], bottleneck: bool) -> dict[str, list[int]]:
    """Names and shapes of torchvision's ResNet without ``fc``, from the architecture's formula."""
    shapes: dict[str, list[int]] = {}

    def conv(name: str, out: int, into: int, size: int) -> None:
        shapes[f"{name}.weight"] = [out, into, size, size]

    def norm(name: str, channels: int) -> None:
        for field in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{field}"] = [channels]
        shapes[f"{name}.num_batches_tracked"] = []

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    into = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        out = 4 * width if bottleneck else width
        sizes = (1, 3, 1) if bottleneck else (3, 3)
        outs = (width, width, out) if bottleneck else (width, out)
        for block in range(count):
            at, channels = f"layer{stage + 1}.{block}", into
            for k, (size, wide) in enumerate(zip(sizes, outs, strict=True)):
                conv(f"{at}.conv{k + 1}", wide, channels, size)
                norm(f"{at}.bn{k + 1}", wide)
                channels = wide
            if block == 0 and (stage > 0 or bottleneck):
                conv(f"{at}.downsample.0", out, into, 1)
                norm(f"{at}.downsample.1", out)
            into = out
    return shapes


# Entries of torchvision 0.2x's state_dict less the two of fc, and parameters less fc's.
KNOWN = {
    Encoder.RESNET18: ((2, 2, 2, 2), False, 120, 11_176_512),
    Encoder.RESNET50: ((3, 4, 6, 3), True, 318, 23_508_032),
}


@pytest.mark.parametrize("norm", [Norm.BATCH, Norm.SYNC, Norm.FROZEN])
@pytest.mark.parametrize("encoder", KNOWN)
def test_names_and_shapes_are_torchvisions(encoder: Encoder, norm: Norm) -> None:
    blocks, bottleneck, entries, parameters = KNOWN[encoder]
    with torch.device("meta"):
        net = ResNet(encoder, 8, norm)
    found = {name: list(value.shape) for name, value in net.state_dict().items()}
    assert found == torchvision_shapes(blocks, bottleneck)
    assert len(found) == entries
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("encoder", KNOWN)
def test_group_norm_has_the_same_names_without_statistics(encoder: Encoder) -> None:
    with torch.device("meta"):
        group, batch = ResNet(encoder, 8, Norm.GROUP), ResNet(encoder, 8, Norm.BATCH)
    assert list(group.state_dict()) == [n for n, _ in batch.named_parameters()]


# A norm has no say in the size, so not every encoder meets every norm.
SIZED = [
    *((encoder, stride, Norm.BATCH) for encoder, stride in itertools.product(Encoder, STRIDES)),
    *((Encoder.TINY, 16, norm) for norm in Norm if norm is not Norm.BATCH),
]


@pytest.mark.parametrize("encoder, stride, norm", SIZED)
def test_output_stride(encoder: Encoder, stride: int, norm: Norm) -> None:
    with torch.device("meta"):
        net = ResNet(encoder, stride, norm)
        for height, width in ((96, 128), (72, 56)):
            features = net(torch.empty(2, 3, height, width))
            rows, columns = -(-height // stride), -(-width // stride)
            assert features.shape == (2, net.out_channels, rows, columns)


@pytest.mark.parametrize("encoder", [Encoder.TINY, Encoder.RESNET50])
def test_dilation_computes_the_strided_net_at_more_places(encoder: Encoder) -> None:
    """Algorithme a trous: every second output of stride 8 is the net of stride 16."""
    fine, coarse = (ResNet(encoder, s, Norm.FROZEN).double().eval() for s in STRIDES)
    initialise(fine, 3)
    coarse.load_state_dict(fine.state_dict())
    image = torch.randn(1, 3, 48, 64, dtype=torch.float64)
    with torch.no_grad():
        expected, found = coarse(image), fine(image)[:, :, ::2, ::2]
    scale = expected.abs().max()
    assert scale > 0
    assert ((found - expected).abs().max() / scale).item() < 1e-12


def test_tiny_is_small() -> None:
    net = ResNet(Encoder.TINY, 8, Norm.GROUP)
    assert sum(p.numel() for p in net.parameters()) < 400_000
