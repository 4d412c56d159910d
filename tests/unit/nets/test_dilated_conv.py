"""Skipping padding is exact: values and gradients equal the plain convolution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from had_core.nets import dilated_conv
from had_core.nets.dilated_conv import Conv2d, dilated_conv2d, useful_share


def results(convolve: object, x: Tensor, weight: Tensor, dilation: int) -> list[Tensor]:
    """Output, gradient of x, gradient of the weight; the output is weighted unevenly."""
    x, weight = (v.detach().clone().requires_grad_() for v in (x, weight))
    out = convolve(x, weight, dilation)  # type: ignore[operator]
    slope = torch.linspace(-1, 2, out.numel(), dtype=x.dtype).reshape(out.shape)
    (out * slope).sum().backward()
    assert x.grad is not None and weight.grad is not None
    return [out.detach(), x.grad, weight.grad]


def plain(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    return F.conv2d(x, weight, padding=dilation, dilation=dilation)


@given(
    batch=st.integers(0, 3),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dilation=st.integers(2, 12),
    channels_last=st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_equals_the_plain_convolution(
    batch: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    dilation: int,
    channels_last: bool,
) -> None:
    generator = torch.Generator().manual_seed(dilation)
    x = torch.randn(batch, channels[0], *size, generator=generator, dtype=torch.float64)
    weight = torch.randn(channels[1], channels[0], 3, 3, generator=generator, dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    if batch == 0:  # torch's own slow path refuses the backward of an empty batch
        out = dilated_conv2d(x, weight, dilation)
        assert out.shape == (0, channels[1], *size)
        return
    for found, expected in zip(
        results(dilated_conv2d, x, weight, dilation),
        results(plain, x, weight, dilation),
        strict=True,
    ):
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dilation", [2, 3, 5, 8])
def test_both_ways_to_the_weight_gradient_agree(
    dilation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(2, 4, 6, 8, dtype=torch.float64)
    weight = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    found = []
    for threshold in (0.0, 2.0):  # never, always tap by tap
        monkeypatch.setattr(dilated_conv, "_GEMM_BELOW", threshold)
        found.append(results(dilated_conv2d, x, weight, dilation))
    for left, right in zip(*found, strict=True):
        assert torch.allclose(left, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rate, share", [(12, 14 / 18 * 15 / 18), (24, 10 / 27), (36, 1 / 6)])
def test_useful_share_of_the_papers_rates(rate: int, share: float) -> None:
    assert useful_share(36, rate) * useful_share(48, rate) == pytest.approx(share)


def test_useful_share_counts_taps() -> None:
    for size, dilation in ((5, 2), (4, 7), (6, 6)):
        reads = sum(0 <= at + tap * dilation < size for at in range(size) for tap in (-1, 0, 1))
        assert useful_share(size, dilation) == pytest.approx(reads / (3 * size))


def test_the_layer_takes_the_skipping_way_only_where_it_applies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(
        dilated_conv, "dilated_conv2d", lambda x, w, d: taken.append(d) or plain(x, w, d)
    )
    x = torch.randn(1, 2, 9, 9)
    Conv2d(2, 2, 3, padding=4, dilation=4, bias=False)(x)
    Conv2d(2, 2, 3, padding=1, bias=False)(x)
    Conv2d(2, 2, 3, padding=2, dilation=4, bias=False)(x)
    Conv2d(2, 2, 3, stride=2, padding=2, dilation=2, bias=False)(x)
    Conv2d(2, 2, 3, padding=2, dilation=2, groups=2, bias=False)(x)
    Conv2d(2, 2, 3, padding=2, dilation=2, bias=True)(x)
    assert taken == [4]


def test_under_bf16_autocast_both_ways_give_bf16() -> None:
    x = torch.randn(1, 8, 6, 8)
    weight = torch.randn(8, 8, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = dilated_conv2d(x, weight, 5), plain(x, weight, 5)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert torch.allclose(found.float(), expected.float(), atol=0.1)
    found.float().square().sum().backward()
    assert weight.grad is not None and weight.grad.dtype == torch.float32
