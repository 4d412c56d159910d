"""Normalisation layers that share parameter names, so that one checkpoint loads into any.

=======  =====================================  ============================================
norm     statistics while training              state_dict
=======  =====================================  ============================================
BATCH    the worker's own batch                 weight, bias, running_*, num_batches_tracked
SYNC     the global batch, over all workers     the same
FROZEN   the stored ones; trains nothing        the same
GROUP    each image by itself                   weight, bias
=======  =====================================  ============================================

Computed in float32 under autocast (statistics) with outputs in the input's type.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from had_core.configs import Norm
from had_core.errors import BadInput
from had_core.parallel import Parallel

EPS = 1e-5
MOMENTUM = 0.1


class BatchNorm(nn.Module):
    """Batch normalisation of ``[B,C,H,W]`` with parameter and buffer names of torch's own."""

    norm: ClassVar[Norm] = Norm.BATCH
    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))
        self.frozen = False

    def freeze(self) -> None:
        """From now on use the stored statistics, change none and train no parameter."""
        self.frozen = True
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if self.frozen or not self.training:
            stats = (self.running_mean, self.running_var)
            return F.batch_norm(x, *stats, self.weight, self.bias, eps=EPS)
        self.num_batches_tracked.add_(1)
        return self._normalise(x)

    def _normalise(self, x: Tensor) -> Tensor:
        """By the statistics of the batch, which are also blended into the stored ones."""
        require_two_values(x.numel() // x.shape[1], self.norm)
        stats = (self.running_mean, self.running_var)
        return F.batch_norm(
            x, *stats, self.weight, self.bias, training=True, momentum=MOMENTUM, eps=EPS
        )


class SyncNorm(BatchNorm):
    """Batch normalisation over the batches of all workers, on CPU and GPU.

    Until ``parallel`` is set it is alone and equals BatchNorm. Every rank must call it equally
    often, forward and backward; ranks may hold different numbers of images, also none.
    """

    norm: ClassVar[Norm] = Norm.SYNC

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.parallel: Parallel | None = None

    def _normalise(self, x: Tensor) -> Tensor:
        if self.parallel is None or self.parallel.world_size == 1:
            return super()._normalise(x)
        mean, var, count = global_moments(x.detach(), self.parallel)
        require_two_values(count, self.norm)
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(var * (count / (count - 1)), MOMENTUM)
        args = (x, self.weight, self.bias, mean, var, count, self.parallel)
        out: Tensor = _SyncNormFunction.apply(*args)  # type: ignore[no-untyped-call]
        return out


class GroupNorm(nn.Module):
    """Group normalisation; groups of at least 8 channels, so that 1x1 maps keep information."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.groups = groups_of(channels)

    def freeze(self) -> None:
        """From now on train no parameter."""
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.groups, self.weight, self.bias, EPS)


def groups_of(channels: int) -> int:
    """Most groups, at most 32, that divide the channels into groups of 8 or more."""
    return max(g for g in range(1, 33) if channels % g == 0 and (g == 1 or channels // g >= 8))


def make_norm(norm: Norm, channels: int) -> BatchNorm | GroupNorm:
    """A fresh layer: weight 1, bias 0, stored mean 0 and variance 1."""
    if norm is Norm.GROUP:
        return GroupNorm(channels)
    layer = SyncNorm(channels) if norm is Norm.SYNC else BatchNorm(channels)
    if norm is Norm.FROZEN:
        layer.freeze()
    return layer


def freeze_norms(module: nn.Module) -> None:
    """Freeze every normalisation layer of ``module``; ``module.train()`` does not undo it."""
    for layer in module.modules():
        if isinstance(layer, (BatchNorm, GroupNorm)):
            layer.freeze()


def set_parallel(module: nn.Module, parallel: Parallel) -> None:
    """Tell every SYNC layer of ``module`` whom it shares its batch with."""
    for layer in module.modules():
        if isinstance(layer, SyncNorm):
            layer.parallel = parallel


def require_two_values(count: int, norm: Norm) -> None:
    """Raise BadInput where a variance cannot be taken (one image, pooled to 1x1)."""
    if count < 2:
        raise BadInput(
            f"net.norm={norm.value} needs 2 or more values a channel in every batch, got {count}: "
            "raise train.batch_size, or use norm group or frozen"
        )


def gather_rows(values: Tensor, parallel: Parallel) -> Tensor:
    """Every rank's ``values`` as ``[world_size, ...]``.

    Each rank fills its own row of zeros, so the reduction adds zeros only: the rows are exact and
    what is computed from them is the same bits on every rank, whatever order the backend sums in.
    """
    rows = values.new_zeros((parallel.world_size, *values.shape))
    rows[parallel.rank] = values
    parallel.all_reduce_sum(rows)
    return rows


def global_moments(x_BCHW: Tensor, parallel: Parallel) -> tuple[Tensor, Tensor, int]:
    """Mean and biased variance ``[C]`` over the global batch, and values a channel.

    Ranks are merged by count with the parallel-variance formula (Chan, Golub, LeVeque 1979).
    """
    values = x_BCHW.to(_accumulation_type(x_BCHW))
    channels = values.shape[1]
    count = values.numel() // channels
    if count:
        var_C, mean_C = torch.var_mean(values, dim=(0, 2, 3), correction=0)
    else:
        var_C = mean_C = values.new_zeros(channels)
    count_1 = values.new_full((1,), count, dtype=torch.float64)
    rows = gather_rows(torch.cat([count_1, mean_C.double(), var_C.double()]), parallel)
    share_R1 = rows[:, :1] / rows[:, 0].sum().clamp_min(1)
    mean_RC, var_RC = rows[:, 1:].split(channels, dim=1)
    mean = (share_R1 * mean_RC).sum(0)
    var = (share_R1 * (var_RC + (mean_RC - mean).square())).sum(0)
    return mean.to(values.dtype), var.to(values.dtype), int(rows[:, 0].sum())


def _accumulation_type(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype is torch.float64 else torch.float32


class _SyncNormFunction(torch.autograd.Function):
    """``(x - mean) / std * weight + bias``; the gradient flows through the global moments."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        var: Tensor,
        *group: Any,  # values a channel over all ranks, and the ranks
    ) -> Tensor:
        ctx.count, ctx.parallel = group
        inverse_std = (var + EPS).rsqrt()
        ctx.save_for_backward(x, weight, mean, inverse_std)
        scale = weight * inverse_std
        out = x * _per_channel(scale) + _per_channel(bias - mean * scale)
        return out.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std = ctx.saved_tensors
        grad_wide = grad.to(mean.dtype)
        normalised = (x - _per_channel(mean)) * _per_channel(inverse_std)
        grad_bias = grad_wide.sum((0, 2, 3))
        grad_weight = (grad_wide * normalised).sum((0, 2, 3))
        rows = gather_rows(torch.cat([grad_bias, grad_weight]).double(), ctx.parallel)
        means = (rows.sum(0) / ctx.count).to(mean.dtype)
        mean_grad, mean_grad_normalised = means.split(mean.shape[0])
        grad_x = _per_channel(weight * inverse_std) * (
            grad_wide - _per_channel(mean_grad) - normalised * _per_channel(mean_grad_normalised)
        )
        return grad_x.to(x.dtype), grad_weight, grad_bias, None, None, None, None


def _per_channel(values_C: Tensor) -> Tensor:
    return values_C[:, None, None]
