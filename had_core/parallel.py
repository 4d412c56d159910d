"""The three collectives that training needs, so that one worker needs no process group."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Parallel(Protocol):
    """A group of ranks that execute the same stage in step."""

    @property
    def rank(self) -> int: ...
    @property
    def world_size(self) -> int: ...

    def all_reduce_sum(self, tensor: Tensor) -> None:
        """Replace ``tensor`` by its sum over ranks, in place."""
        ...

    def broadcast(self, tensor: Tensor, src: int = 0) -> None:
        """Replace ``tensor`` by rank ``src``'s, in place."""
        ...


class Solo:
    """One rank: every collective is the identity."""

    rank = 0
    world_size = 1

    def all_reduce_sum(self, tensor: Tensor) -> None:
        return None

    def broadcast(self, tensor: Tensor, src: int = 0) -> None:
        return None


class TorchParallel:
    """torch.distributed's default group (gloo on CPU, NCCL on GPU).

    The caller keeps one fixed layout per reduced buffer: gloo's sums depend on an element's place
    in the buffer from 3 ranks on, so a changing layout would break bitwise resume.
    """

    def __init__(self) -> None:
        import torch.distributed as dist

        self._dist = dist
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self._needs_cuda = dist.get_backend() == "nccl"

    def all_reduce_sum(self, tensor: Tensor) -> None:
        there = self._placed(tensor)
        self._dist.all_reduce(there)
        self._back(there, tensor)

    def broadcast(self, tensor: Tensor, src: int = 0) -> None:
        there = self._placed(tensor)
        self._dist.broadcast(there, src=src)
        self._back(there, tensor)

    def _placed(self, tensor: Tensor) -> Tensor:
        """NCCL moves GPU tensors only; counts and votes live on the CPU."""
        return tensor.cuda() if self._needs_cuda and not tensor.is_cuda else tensor

    @staticmethod
    def _back(there: Tensor, tensor: Tensor) -> None:
        if there is not tensor:
            tensor.copy_(there)


def default_group() -> Parallel:
    """torch.distributed's default group; of one rank, without asking it: each call takes 0.1 ms and
    there is one a step."""
    import torch.distributed as dist

    return TorchParallel() if dist.get_world_size() > 1 else Solo()


def agree_any(parallel: Parallel, flag: bool) -> bool:
    """True on every rank where any rank says so."""
    votes = torch.tensor([float(flag)])
    parallel.all_reduce_sum(votes)
    return bool(votes.item() > 0)
