"""LifelongNet: one shared encoder, one decoder a task, grown as tasks arrive.

::

    image_B3HW ─ encode ─> features ─ decode ─> {task: [B,C,h,w]} ─ upsample ─> {task: [B,C,H,W]}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from had_core.configs import NetConfig
from had_core.errors import BadInput
from had_core.nets.aspp import AsppHead
from had_core.nets.init import initialise
from had_core.nets.norms import freeze_norms, set_parallel
from had_core.nets.resnet import ResNet
from had_core.parallel import Parallel
from had_core.tasks import DenseTask

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class LifelongNet(nn.Module):
    """Encoder and heads; ``state_dict`` names are ``encoder.<torchvision>`` and ``heads.<task>.*``.

    Args:
        config: shape of the net. ``weights`` is not read here: see ``nets.weights.load_encoder``.
        seed: decides the encoder's initial weights, with nothing else.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: NetConfig, seed: int) -> None:
        super().__init__()
        self._build(config)
        initialise(self.encoder, seed)

    @classmethod
    def blank(cls, config: NetConfig, tasks: Iterable[DenseTask]) -> LifelongNet:
        """Heads for ``tasks`` and no initial weights: for ``load_state_dict``, which is three
        times as fast as drawing weights first."""
        net = cls.__new__(cls)
        nn.Module.__init__(net)
        net._build(config)
        for task in tasks:
            net._add_head(task)
        return net

    def _build(self, config: NetConfig) -> None:
        self.config = config
        self.encoder = ResNet(config.encoder, config.output_stride, config.norm)
        self.heads = nn.ModuleDict()
        self._tasks: tuple[DenseTask, ...] = ()
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    @property
    def tasks(self) -> tuple[DenseTask, ...]:
        """Tasks that have a head, in the order they were grown."""
        return self._tasks

    def grow(self, task: DenseTask, seed: int) -> None:
        """Add a head for ``task``; its weights come from ``seed`` only, nothing else changes."""
        initialise(self._add_head(task), seed)

    def _add_head(self, task: DenseTask) -> AsppHead:
        if task.name in self.heads or hasattr(self.heads, task.name):
            reason = "has a head already" if task.name in self.heads else "is a reserved name"
            raise BadInput(f"task '{task.name}' {reason}: a new task needs a name of its own")
        config, like = self.config, self.encoder.conv1.weight
        head = AsppHead(
            self.encoder.out_channels,
            task.channels,
            config.decoder_channels,
            config.aspp_rates,
            config.norm,
        ).to(like.device, like.dtype)
        self.heads[task.name] = head.train(self.training)
        self._tasks = (*self._tasks, task)
        return head

    def set_parallel(self, parallel: Parallel) -> None:
        """Share the statistics of norm ``sync`` over the ranks of ``parallel``; call after grow."""
        set_parallel(self, parallel)

    def freeze_norms(self) -> None:
        """Keep statistics and affine parameters of all present normalisation layers fixed."""
        freeze_norms(self)

    def encode(self, image_B3HW: Tensor) -> Tensor:
        """Features at output stride of images with values in 0..1 (normalised here, ImageNet's)."""
        image = image_B3HW.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.encoder((image - self.mean) / self.std)
        return features

    def decode(self, features: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Head outputs ``[B,C,h,w]`` at the features' resolution, before up-sampling."""
        return {name: self._head(name)(features) for name in names}

    def _head(self, name: str) -> nn.Module:
        if name not in self.heads:
            allowed = ", ".join(self.heads) or "none yet"
            raise BadInput(f"the net has no head for task '{name}', it has: {allowed}")
        return self.heads[name]

    @staticmethod
    def upsample(head_out: Tensor, size: Sequence[int]) -> Tensor:
        """Bilinear to ``size`` = (H, W), corner pixels aligned as in HAD's released code."""
        return F.interpolate(head_out, tuple(size), mode="bilinear", align_corners=True)

    def forward(self, image: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Outputs at the image's resolution, for ``names`` or for every head."""
        chosen = [task.name for task in self.tasks] if names is None else names
        outputs = self.decode(self.encode(image), chosen)
        return {name: self.upsample(out, image.shape[2:]) for name, out in outputs.items()}

    def frozen_copy(self) -> LifelongNet:
        """An independent copy that never changes: eval mode, norms frozen, no gradients."""
        copy = LifelongNet.blank(self.config, self.tasks)
        like = self.encoder.conv1.weight
        copy.to(like.device, like.dtype).load_state_dict(self.state_dict())
        copy.freeze_norms()
        return copy.eval().requires_grad_(False)
