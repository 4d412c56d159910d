"""Normalisation: equal to torch's own, the same over ranks as over one batch, frozen is frozen."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from killing_fs import join_child, start_child
from thread_parallel import ThreadParallel, on_ranks
from torch import Tensor, nn

from had_core.configs import Norm
from had_core.errors import BadInput
from had_core.nets.norms import (
    GroupNorm,
    SyncNorm,
    freeze_norms,
    global_moments,
    groups_of,
    make_norm,
    set_parallel,
)
from had_core.parallel import Parallel, TorchParallel

CHANNELS = 5


def batch(images: int) -> Tensor:
    """Far from 0, so that sums of squares would lose the variance."""
    generator = torch.Generator().manual_seed(11)
    return 100 + torch.randn(images, CHANNELS, 3, 4, generator=generator, dtype=torch.float64)


def loss_of(layer: nn.Module, x: Tensor, first: int) -> Tensor:
    """Weighs every image differently; ``first`` is the global index of x's first image."""
    weights = torch.arange(first + 1, first + 1 + len(x), dtype=x.dtype).view(-1, 1, 1, 1)
    return (layer(x).sin() * weights).sum()


def train_once(layer: nn.Module, x: Tensor, first: int = 0) -> dict[str, Tensor]:
    """Gradients, output and statistics after one training pass over x."""
    x = x.detach().clone().requires_grad_()
    loss_of(layer, x, first).backward()
    assert x.grad is not None
    grads = {f"grad_{name}": p.grad for name, p in layer.named_parameters() if p.grad is not None}
    return {"grad_x": x.grad, **grads, **dict(layer.named_buffers())}


def fresh(norm: Norm) -> nn.Module:
    layer = make_norm(norm, CHANNELS).double()
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.5, 2, CHANNELS))
        layer.bias.copy_(torch.linspace(-1, 1, CHANNELS))
    return layer


@pytest.mark.parametrize("norm", [Norm.BATCH, Norm.SYNC])
def test_one_worker_equals_torchs_batch_norm(norm: Norm) -> None:
    ours, theirs = fresh(norm), nn.BatchNorm2d(CHANNELS).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    found, expected = train_once(ours, batch(4)), train_once(theirs, batch(4))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert torch.equal(ours.eval()(batch(2)), theirs.eval()(batch(2)))


def assert_ranks_equal_one_batch(per_rank: list[dict[str, Tensor]], images: int) -> None:
    expected = train_once(fresh(Norm.BATCH), batch(images))
    joined = {
        name: torch.cat([r["grad_x"] for r in per_rank])
        if name == "grad_x"
        else sum(r[name] for r in per_rank)
        if name.startswith("grad_")
        else per_rank[-1][name]
        for name in expected
    }
    for name, value in expected.items():
        gap = (joined[name] - value).abs().max() / value.abs().max().clamp_min(1e-30)
        assert gap.item() < 1e-9, name
    for rank in per_rank[1:]:
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            assert torch.equal(rank[name], per_rank[0][name]), name


@pytest.mark.parametrize("counts", [(2, 2), (3, 1), (1, 4, 2), (0, 3)])
def test_sync_over_ranks_equals_the_global_batch(counts: tuple[int, ...]) -> None:
    """Uneven and empty parts too: moments are weighted by count."""
    starts = [sum(counts[:rank]) for rank in range(len(counts))]

    def one(parallel: ThreadParallel) -> dict[str, Tensor]:
        layer = fresh(Norm.SYNC)
        set_parallel(layer, parallel)
        start = starts[parallel.rank]
        part = batch(sum(counts))[start : start + counts[parallel.rank]]
        return train_once(layer, part, start)

    assert_ranks_equal_one_batch(on_ranks(len(counts), one), sum(counts))


def _gloo_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    layer = fresh(Norm.SYNC)
    set_parallel(layer, TorchParallel())
    start, stop = ((0, 3), (3, 5))[rank]
    torch.save(train_once(layer, batch(5)[start:stop], start), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_sync_over_two_gloo_processes(tmp_path: Path) -> None:
    children = [start_child(partial(_gloo_rank, rank, str(tmp_path))) for rank in range(2)]
    assert [join_child(child) for child in children] == [0, 0]
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert_ranks_equal_one_batch(ranks, 5)


def test_sync_in_float32_keeps_a_small_variance() -> None:
    x = (1e3 + batch(4) / 100).float()

    def one(parallel: Parallel) -> tuple[Tensor, Tensor, int]:
        return global_moments(x[2 * parallel.rank : 2 * parallel.rank + 2], parallel)

    for mean, var, count in on_ranks(2, one):
        exact = x.double()
        assert count == 4 * 12
        assert torch.allclose(mean.double(), exact.mean((0, 2, 3)), rtol=1e-6)
        assert torch.allclose(var.double(), exact.var((0, 2, 3), correction=0), rtol=1e-3)


def test_sync_evaluates_without_communication() -> None:
    layer = SyncNorm(CHANNELS).eval()

    class Mute:
        rank, world_size = 0, 2

        def all_reduce_sum(self, tensor: Tensor) -> None:
            raise AssertionError("communicated")

        def broadcast(self, tensor: Tensor, src: int = 0) -> None:
            raise AssertionError("communicated")

    set_parallel(layer, Mute())
    layer(batch(2).float())
    layer.train()
    with pytest.raises(AssertionError, match="communicated"):
        layer(batch(2).float())


@pytest.mark.parametrize("norm", [Norm.BATCH, Norm.SYNC])
def test_one_value_a_channel_is_refused(norm: Norm) -> None:
    with pytest.raises(BadInput, match=rf"net.norm={norm.value}.*got 1.*train.batch_size"):
        make_norm(Norm(norm), 4)(torch.ones(1, 4, 1, 1))


def test_one_global_value_a_channel_is_refused_on_every_rank() -> None:
    def one(parallel: ThreadParallel) -> str:
        layer = SyncNorm(4)
        set_parallel(layer, parallel)
        with pytest.raises(BadInput) as caught:
            layer(torch.ones(1 - parallel.rank, 4, 1, 1))
        return str(caught.value)

    assert all("net.norm=sync" in message for message in on_ranks(2, one))


@pytest.mark.parametrize(
    "channels, groups", [(256, 32), (64, 8), (32, 4), (16, 2), (13, 1), (1, 1)]
)
def test_groups_hold_eight_channels_or_more(channels: int, groups: int) -> None:
    assert groups_of(channels) == groups


def test_group_norm_treats_images_alone() -> None:
    layer = make_norm(Norm.GROUP, 16)
    x = torch.randn(4, 16, 5, 6)
    assert torch.allclose(layer(x)[1:2], layer(x[1:2]), atol=1e-6)
    spread = layer(x).view(4, 2, -1)
    assert torch.allclose(spread.mean(-1), torch.zeros(4, 2), atol=1e-5)
    assert torch.allclose(spread.std(-1), torch.ones(4, 2), atol=1e-2)


@pytest.mark.parametrize("norm", Norm)
def test_frozen_layers_train_nothing(norm: Norm) -> None:
    layer = make_norm(norm, 16)
    if norm is not Norm.FROZEN:
        freeze_norms(nn.Sequential(layer))
    layer.train()
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    x = torch.randn(3, 16, 4, 4, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None and not any(p.requires_grad for p in layer.parameters())
    assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())


@pytest.mark.parametrize("norm", Norm)
def test_under_autocast_bf16_stays_bf16(norm: Norm) -> None:
    layer = make_norm(norm, 16)
    x = torch.randn(2, 16, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x.bfloat16())
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.float(), make_norm(norm, 16)(x), atol=0.05)


def test_sync_over_ranks_under_bf16() -> None:
    x = torch.randn(4, CHANNELS, 3, 4)

    def one(parallel: ThreadParallel) -> Tensor:
        layer = SyncNorm(CHANNELS)
        set_parallel(layer, parallel)
        part = x[2 * parallel.rank : 2 * parallel.rank + 2].bfloat16().requires_grad_()
        out = layer(part)
        out.float().sum().backward()
        assert part.grad is not None and part.grad.dtype == torch.bfloat16
        return out

    out = torch.cat(on_ranks(2, one))
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.float(), make_norm(Norm.BATCH, CHANNELS)(x), atol=0.05)


def test_group_norm_has_no_statistics() -> None:
    assert list(GroupNorm(8).state_dict()) == ["weight", "bias"]
