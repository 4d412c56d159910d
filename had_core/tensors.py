"""Named tensors and a little JSON as safetensors bytes; the only format weights are kept in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, TensorSpec, serialize
from safetensors.torch import load
from torch import Tensor

from had_core.errors import CorruptArtifact


def to_bytes(tensors: Mapping[str, Tensor], meta: Mapping[str, Any] | None = None) -> bytes:
    """Serialise; equal tensors and meta give equal bytes wherever and whenever it runs."""
    # By address: ``safetensors.torch.save`` takes ten times as long, after every epoch.
    dense = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    specs = {
        name: TensorSpec(
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=list(tensor.shape),
            data_ptr=tensor.data_ptr(),
            data_len=tensor.numel() * tensor.element_size(),
        )
        for name, tensor in dense.items()
    }
    return bytes(serialize(specs, {"meta": json.dumps(dict(meta or {}), sort_keys=True)}))


def from_bytes(raw: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Inverse of ``to_bytes``.

    Raises:
        CorruptArtifact: the bytes are not a safetensors file.
    """
    try:
        tensors = load(raw)
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        meta = json.loads(header.get("__metadata__", {}).get("meta", "{}"))
    except (SafetensorError, ValueError) as error:
        raise CorruptArtifact(f"these bytes are not a safetensors file: {error}") from None
    return tensors, meta


def first_difference(
    left: Mapping[str, Tensor], right: Mapping[str, Tensor]
) -> tuple[str, float] | None:
    """Name of the first tensor (by name) that differs and by how much at most; None if equal."""
    for name in sorted(set(left) | set(right)):
        a, b = left.get(name), right.get(name)
        if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
            return name, float("inf")
        if not torch.equal(a, b):
            gap = (a.double() - b.double()).abs().max().item()
            return name, gap if gap == gap else float("inf")
    return None


def relative_distance(
    left: Mapping[str, Tensor],
    right: Mapping[str, Tensor],
    origin: Mapping[str, Tensor] | None = None,
) -> float:
    """``|left - right| / |right - origin|`` in 2-norms over all floating tensors as one vector.

    Infinite where names or shapes differ, or a value is not finite.

    Args:
        origin: 0 by default; where training started, to judge by how far it went.
    """
    shapes = {name: tensor.shape for name, tensor in right.items()}
    if any({n: t.shape for n, t in other.items()} != shapes for other in (left, origin or right)):
        return math.inf
    names = [name for name, tensor in right.items() if tensor.is_floating_point()]
    gap = sum(_squared(left[name].double() - right[name].double()) for name in names)
    size = sum(_squared(right[n].double() - (origin[n].double() if origin else 0)) for n in names)
    if not math.isfinite(gap):
        return math.inf
    return math.sqrt(gap / size) if size else (math.inf if gap else 0.0)


def _squared(tensor: Tensor) -> float:
    return float(tensor.square().sum().item())
