"""Convolution that does no work for taps that can only read padding.

A 3x3 convolution of rate d on an H x W map reads nothing but zeros with its outer rows once
d >= H (columns: d >= W), and for smaller d with a share of its outputs::

    H = 36, rate:          12     24     36
    useful multiply-adds   65 %   37 %   17 %      (of 9 H W, on a 36 x 48 map)

Skipping is exact: what is left out is a sum of zeros. How, chosen by measurement on CPUs
(docs/notes/step-speed.md):

* taps that never read the map are cropped off the kernel, on every device;
* output and input gradient: oneDNN's channels-last kernels skip padding by themselves;
* weight gradient: oneDNN multiplies the padding too, so where less than half of the work is
  useful it is one matrix product a tap, over the outputs for which that tap reads the map.

Parameter names and shapes are those of ``torch.nn.Conv2d``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_GEMM_BELOW = 0.5  # share of useful multiply-adds below which the matrix products win


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` whose weights start at 0 and whose wide dilations skip padding.

    The constructor draws no random numbers: ``LifelongNet`` initialises every weight from a seed.
    """

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        dilation = self.dilation[0]
        same_3x3 = (
            self.kernel_size == (3, 3)
            and self.stride == (1, 1)
            and self.dilation == (dilation, dilation)
            and self.padding == (dilation, dilation)
            and self.groups == 1
            and self.padding_mode == "zeros"
            and self.bias is None
        )
        if dilation == 1 or not same_3x3:
            return super().forward(input)
        return dilated_conv2d(input, self.weight, dilation)


def dilated_conv2d(x_BCHW: Tensor, weight_OI33: Tensor, dilation: int) -> Tensor:
    """3x3 convolution of stride 1 with as much zero padding as dilation: ``[B,O,H,W]``.

    Equals ``F.conv2d(x, weight, padding=dilation, dilation=dilation)`` up to rounding.
    """
    height, width = x_BCHW.shape[2:]
    kernel = weight_OI33[:, :, 1:2] if dilation >= height else weight_OI33
    kernel = kernel[:, :, :, 1:2] if dilation >= width else kernel
    by_taps = (
        x_BCHW.device.type == "cpu"
        and weight_OI33.requires_grad
        and torch.is_grad_enabled()
        and useful_share(height, dilation) * useful_share(width, dilation) < _GEMM_BELOW
    )
    if not by_taps:
        return _conv(x_BCHW, kernel, dilation)
    if torch.is_autocast_enabled("cpu"):  # a custom Function is not autocast
        dtype = torch.get_autocast_dtype("cpu")
        x_BCHW, kernel = x_BCHW.to(dtype), kernel.to(dtype)
    out: Tensor = _TapwiseConv.apply(x_BCHW, kernel, dilation)  # type: ignore[no-untyped-call]
    return out


def useful_share(size: int, dilation: int) -> float:
    """Share of (output, tap) pairs along one axis whose tap reads the map and not padding."""
    return (size + 2 * max(0, size - dilation)) / (3 * size)


def _padding(kernel: Tensor, dilation: int) -> list[int]:
    return [dilation * (size // 2) for size in kernel.shape[2:]]


def _conv(x: Tensor, kernel: Tensor, dilation: int) -> Tensor:
    return F.conv2d(x, kernel, padding=_padding(kernel, dilation), dilation=dilation)


def _spans(size: int, taps: int, dilation: int) -> list[tuple[slice, slice]]:
    """For each tap along one axis: the outputs where it reads the map, and what it reads."""
    spans = []
    for tap in range(taps):
        shift = (tap - taps // 2) * dilation
        first, last = max(0, -shift), max(0, min(size, size - shift))
        spans.append((slice(first, last), slice(first + shift, last + shift)))
    return spans


def _weight_gradient(x: Tensor, grad: Tensor, kernel: Tensor, dilation: int) -> Tensor:
    """Gradient of the kernel: ``grad^T x`` over the pairs of pixels that each tap connects."""
    x_BHWC, grad_BHWC = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    out_channels, in_channels, rows, columns = kernel.shape
    result = kernel.new_empty((rows, columns, out_channels, in_channels))
    row_spans = _spans(x.shape[2], rows, dilation)
    for i, (out_rows, in_rows) in enumerate(row_spans):
        for j, (out_columns, in_columns) in enumerate(_spans(x.shape[3], columns, dilation)):
            read_PI = x_BHWC[:, in_rows, in_columns].reshape(-1, in_channels)
            grad_PO = grad_BHWC[:, out_rows, out_columns].reshape(-1, out_channels)
            torch.mm(grad_PO.t(), read_PI, out=result[i, j])
    return result.permute(2, 3, 0, 1)


class _TapwiseConv(torch.autograd.Function):
    """The convolution with the weight gradient taken tap by tap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.dilation = dilation
        return _conv(x, kernel, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, kernel = ctx.saved_tensors
        dilation: int = ctx.dilation
        grad_x = grad_kernel = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.ops.aten.convolution_backward(
                *(grad, x, kernel, None, [1, 1], _padding(kernel, dilation), [dilation] * 2),
                *(False, [0, 0], 1, [True, False, False]),
            )[0]
        if ctx.needs_input_grad[1]:
            grad_kernel = _weight_gradient(x, grad, kernel, dilation)
        return grad_x, grad_kernel, None
