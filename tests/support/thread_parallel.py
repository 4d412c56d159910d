"""Ranks as threads of one process: exercises every collective without starting processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch import Tensor


class _Room:
    def __init__(self, size: int) -> None:
        self.size = size
        self.barrier = threading.Barrier(size, timeout=300)
        self.slots: list[Tensor | None] = [None] * size


class ThreadParallel:
    """One rank of a group of threads; sums are taken in rank order, so they are exact repeats."""

    def __init__(self, rank: int, room: _Room) -> None:
        self.rank, self._room, self.world_size = rank, room, room.size

    def all_reduce_sum(self, tensor: Tensor) -> None:
        self._room.slots[self.rank] = tensor.detach().clone()
        self._room.barrier.wait()
        total = self._room.slots[0].clone()
        for other in self._room.slots[1:]:
            total += other
        self._room.barrier.wait()
        tensor.copy_(total)

    def broadcast(self, tensor: Tensor, src: int = 0) -> None:
        if self.rank == src:
            self._room.slots[src] = tensor.detach().clone()
        self._room.barrier.wait()
        value = self._room.slots[src]
        self._room.barrier.wait()
        tensor.copy_(value)


def on_ranks(size: int, function: Callable[[ThreadParallel], Any]) -> list[Any]:
    """Call ``function`` once a rank, at the same time; results in rank order."""
    room = _Room(size)

    def call(rank: int) -> Any:
        try:
            return function(ThreadParallel(rank, room))
        except BaseException:
            room.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return [future.result() for future in [pool.submit(call, r) for r in range(size)]]
