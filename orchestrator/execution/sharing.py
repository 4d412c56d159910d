"""Rank 0 knows, every rank hears: bytes over the collectives that training uses anyway."""

from __future__ import annotations

import json
from typing import Any

import torch

from had_core.parallel import Parallel


def share_bytes(parallel: Parallel, raw: bytes | None) -> bytes | None:
    """Rank 0's bytes on every rank; None where rank 0 has none. Other ranks' ``raw`` is ignored.

    Deciding on one rank keeps the ranks in step: a store or a queue asked by each of them could
    answer differently.
    """
    if parallel.world_size == 1:
        return raw
    size = torch.tensor([-1 if raw is None or parallel.rank != 0 else len(raw)])
    parallel.broadcast(size)
    count = int(size.item())
    if count < 0:
        return None
    if parallel.rank == 0 and raw is not None:
        buffer = torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else _empty(0)
    else:
        buffer = _empty(count)
    if count:
        parallel.broadcast(buffer)
    return buffer.numpy().tobytes()


def share_json(parallel: Parallel, value: Any) -> Any:
    """Rank 0's plain JSON value on every rank."""
    raw = json.dumps(value).encode() if parallel.rank == 0 else None
    return json.loads(share_bytes(parallel, raw) or b"null")


def _empty(count: int) -> torch.Tensor:
    return torch.empty(count, dtype=torch.uint8)
