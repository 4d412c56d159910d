"""The numerics class: what may move a result by rounding, recorded but never part of a key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from had_core.canonical import to_plain
from had_core.decode import decode


@dataclass(frozen=True)
class NumericsClass:
    """Two runs of one spec in one class give the same weights bit for bit.

    Across classes they agree within stated tolerances: one thread against two moves a convolution
    by 4e-7, and sums over workers are taken in another order.

    Attributes:
        workers: processes that share the global batch.
        threads: intra-op threads of each.
        device: ``cpu``, or the accelerator's name.
        torch: version of torch, build included.
        cpu_capability: instruction set torch chose (``torch.backends.cpu.get_cpu_capability()``).
    """

    workers: int
    threads: int
    device: str
    torch: str
    cpu_capability: str

    def differences(self, other: NumericsClass) -> dict[str, tuple[Any, Any]]:
        """Fields that differ: name -> (mine, other's). Empty means bitwise claims hold."""
        pairs = {
            f.name: (getattr(self, f.name), getattr(other, f.name))
            for f in dataclasses.fields(self)
        }
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> NumericsClass:
        """Raises BadInput naming an unknown, missing or mistyped field."""
        return decode(cls, raw, at="numerics")
