"""A trained net as a ``torch.export`` program: one file that runs with torch alone.

The program takes what the net takes (float32 ``[B,3,H,W]`` in 0..1) and returns what its heads
return, by task, before they are decoded: class logits, values, raw vectors, one logit.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from had_core.errors import HadError
from had_core.nets.lifelong import LifelongNet

TOLERANCE = 1e-5
_OTHER_SIZE = 5  # pixels; no multiple of a stride


class ProgramDiffers(HadError):
    """The exported program does not compute what the net computes."""


@dataclass(frozen=True)
class Program:
    """An exported net.

    Attributes:
        data: content of the ``.pt2`` file.
        any_size: whether it takes images of any height and width from ``smallest`` up; else only
            of the size it was exported for. It always takes any number of images.
        smallest: that height and width.
        difference: largest absolute difference to the net's own outputs on another batch.
    """

    data: bytes
    any_size: bool
    smallest: int
    difference: float


class _Outputs(nn.Module):
    def __init__(self, net: LifelongNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self.net(image)
        return outputs


def export(net: LifelongNet, height: int, width: int) -> Program:
    """Export a net in eval mode, and compare the program with it.

    Args:
        height, width: of the images that it was trained on.

    Raises:
        ProgramDiffers: some output is off by more than ``TOLERANCE``.
    """
    smallest = _smallest(net)
    any_size = min(height, width) >= smallest
    shape: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    if any_size:
        shape[2] = torch.export.Dim("height", min=smallest)
        shape[3] = torch.export.Dim("width", min=smallest)
    example = torch.zeros(2, 3, height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's, about its own workings
        data = _saved(net, example, shape)
        loaded = torch.export.load(io.BytesIO(data)).module()
    extra = _OTHER_SIZE if any_size else 0
    batch = torch.rand(3, 3, height + extra, width + extra, generator=torch.Generator())
    difference = _difference(net, loaded, batch)
    if not difference <= TOLERANCE:
        raise ProgramDiffers(f"the exported program differs from the net by {difference:g}")
    return Program(data, any_size, smallest, difference)


def _saved(net: LifelongNet, example: Tensor, shape: dict[int, Any]) -> bytes:
    with torch.no_grad():
        program = torch.export.export(
            _Outputs(net).eval(), (example,), dynamic_shapes={"image": shape}
        )
    program.example_inputs = None  # it would be a pickle
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _smallest(net: LifelongNet) -> int:
    """From here up every tap of every dilated convolution reads the map, whatever the size."""
    rates = (conv.dilation[0] for conv in net.modules() if isinstance(conv, nn.Conv2d))
    return net.config.output_stride * max(rates) + 1


def _difference(net: LifelongNet, program: nn.Module, batch: Tensor) -> float:
    with torch.no_grad():
        wanted: Mapping[str, Tensor] = net(batch)
        found: Mapping[str, Tensor] = program(batch)
    return max(float((found[task] - wanted[task]).abs().max()) for task in wanted)
