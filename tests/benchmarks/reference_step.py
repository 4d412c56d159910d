"""A plain stage-3 step to compare with: how the paper's released code goes about it.

Everything a PyTorch user writes first: ``torch.nn`` layers, contiguous float32 tensors, one pass of
the teacher through encoder and decoder *per old task*, a Python loop over the classes, the default
``torch.optim.Adam``. The formulas are those of variant ``paper`` (or ``released``), so that its
losses can be compared with the project's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from had_core.methods.had import HadLossConfig, Variant
from had_core.nets.lifelong import IMAGENET_MEAN, IMAGENET_STD
from had_core.tasks import DenseTask, TaskKind


class Block(nn.Module):
    def __init__(self, into: int, out: int, stride: int, first_rate: int, rate: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride, first_rate, first_rate, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, rate, rate, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or into != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += shortcut
        return self.relu(out)


class ResNet18(nn.Module):
    """Output stride 8: layer3 and layer4 dilated by 2 and 4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(64, 64, 1, 1, 1), Block(64, 64, 1, 1, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2, 1, 1), Block(128, 128, 1, 1, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 1, 1, 2), Block(256, 256, 1, 2, 2))
        self.layer4 = nn.Sequential(Block(256, 512, 1, 2, 4), Block(512, 512, 1, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def conv_norm_relu(into: int, out: int, size: int, rate: int = 1) -> list[nn.Module]:
    padding = rate if size == 3 else 0
    conv = nn.Conv2d(into, out, size, padding=padding, dilation=rate, bias=False)
    return [conv, nn.BatchNorm2d(out), nn.ReLU()]


class Aspp(nn.Module):
    def __init__(self, into: int, width: int, rates: Sequence[int]) -> None:
        super().__init__()
        branches = [nn.Sequential(*conv_norm_relu(into, width, 1))]
        branches += [nn.Sequential(*conv_norm_relu(into, width, 3, rate)) for rate in rates]
        branches += [nn.Sequential(nn.AdaptiveAvgPool2d(1), *conv_norm_relu(into, width, 1))]
        self.convs = nn.ModuleList(branches)
        self.project = nn.Sequential(*conv_norm_relu(5 * width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        outputs = [branch(x) for branch in self.convs]
        outputs[-1] = F.interpolate(
            outputs[-1], size=x.shape[2:], mode="bilinear", align_corners=False
        )
        return self.project(torch.cat(outputs, dim=1))


class PlainNet(nn.Module):
    """DeepLabV3 with one decoder a task; ``state_dict`` names are ``LifelongNet``'s."""

    def __init__(self, tasks: Sequence[DenseTask], width: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.encoder = ResNet18()
        self.heads = nn.ModuleDict()
        for task in tasks:
            head = [Aspp(512, width, rates), *conv_norm_relu(width, width, 3)]
            self.heads[task.name] = nn.Sequential(*head, nn.Conv2d(width, task.channels, 1))

    def forward(self, image: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        features = self.encoder((image - mean) / std)
        return {
            name: F.interpolate(
                self.heads[name](features), image.shape[2:], mode="bilinear", align_corners=True
            )
            for name in names
        }


def normal_loss(output: Tensor, target: Tensor) -> Tensor:
    """L_new of unit vectors: mean over the images of the mean over valid pixels."""
    valid = (target != 0).any(1)
    cosine = (F.normalize(output, dim=1) * target).sum(1)
    per_image = ((1 - cosine) * valid).sum((1, 2)) / valid.sum((1, 2))
    return per_image.mean()


def released_normal_loss(output: Tensor, target: Tensor) -> Tensor:
    """The same, pooled over the batch."""
    valid = target.sum(1, keepdim=True) != 0
    return 1 - (F.normalize(output, dim=1) * target * valid).sum() / valid.sum()


def min_max(x: Tensor) -> Tensor:
    low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
    return (x - low) / (high - low)


def sobel(x: Tensor, padding: str) -> Tensor:
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    padded = F.pad(x[:, None], (1, 1, 1, 1), mode=padding)
    across = F.conv2d(padded, kernel.view(1, 1, 3, 3))[:, 0]
    down = F.conv2d(padded, kernel.T.reshape(1, 1, 3, 3))[:, 0]
    return torch.sqrt(across**2 + down**2)


def paper_terms(
    task: DenseTask, student: Tensor, teacher: Tensor, loss: HadLossConfig
) -> tuple[Tensor, Tensor]:
    """DB and SG of one old task, means over the images; groups one after the other."""
    if task.kind is TaskKind.LABELS:
        group = teacher.argmax(1)
        pixel = F.cross_entropy(student, group, reduction="none")
        groups = task.channels
    else:
        group = (min_max(teacher.mean(1)) > loss.delta).long()
        pixel = (student - teacher).abs().mean(1)
        groups = 2
    log_pixel = (pixel + loss.eps).log()
    total, present = torch.zeros(len(pixel)), torch.zeros(len(pixel))
    for index in range(groups):
        mask = group == index
        count = mask.sum((1, 2))
        mean = torch.exp((log_pixel * mask).sum((1, 2)) / count.clamp(min=1))
        total = total + torch.where(count > 0, mean, 0.0)
        present = present + (count > 0)
    salient = min_max(sobel(pixel.detach(), "reflect")) > loss.k
    salience = (pixel * salient).sum((1, 2)) / salient.sum((1, 2)).clamp(min=1)
    return (total / present).mean(), salience.mean()


def geometric_mean(values: Tensor) -> Tensor:
    values = values[values > 0]
    return values.log().mean().exp() if len(values) else torch.zeros(())


def released_terms(
    task: DenseTask, student: Tensor, teacher: Tensor, loss: HadLossConfig
) -> tuple[Tensor, Tensor]:
    """The released code's pooled terms: see method spec, section 2."""
    if task.kind is TaskKind.LABELS:
        label = teacher.argmax(1)
        pixel = F.nll_loss(student.log_softmax(1), label, reduction="none")
        means = torch.stack([geometric_mean(pixel[label == c]) for c in range(task.channels)])
        balanced = (F.softmax(-means, 0) * means).mean()
        salient = min_max(sobel(pixel.detach(), "constant")) > loss.k
        return balanced, (pixel * salient).mean()
    valid = teacher.sum(1, keepdim=True) != 0
    pixel = (student - teacher).abs() * valid
    sides = [pixel[student > loss.delta], pixel[student < loss.delta]]
    balanced = sum(side.mean() for side in sides if len(side))
    salient = min_max(sobel(pixel.detach()[:, 0], "constant")) > loss.k
    return balanced, (pixel * salient).sum() / (valid * salient).sum()


class ReferenceStep:
    """Student, teacher and optimiser; ``step`` trains on one batch and returns its terms."""

    def __init__(
        self,
        student: PlainNet,
        teacher: PlainNet,
        old: Sequence[DenseTask],
        weight: float,
        loss: HadLossConfig,
    ) -> None:
        self.student, self.teacher, self.old = student.train(), teacher.eval(), old
        self.loss, self.released = loss, loss.variant is Variant.RELEASED
        self.weight = weight if self.released else weight / len(old)
        self.optimizer = torch.optim.Adam(student.parameters(), lr=1e-4, weight_decay=1e-5)

    def step(self, image: Tensor, target: Tensor) -> Mapping[str, float]:
        """``image`` ``[B,3,H,W]``, ``target`` unit vectors ``[B,3,H,W]``, both contiguous."""
        names = [*(task.name for task in self.old), "normal"]
        outputs = self.student(image, names)
        supervised = released_normal_loss if self.released else normal_loss
        terms = {"new/normal": supervised(outputs["normal"], target)}
        for task in self.old:
            with torch.no_grad():
                teacher = self.teacher(image, [task.name])[task.name]
            compute = released_terms if self.released else paper_terms
            balanced, salience = compute(task, outputs[task.name], teacher, self.loss)
            terms[f"db/{task.name}"] = self.weight * (1 - self.loss.beta) * balanced
            terms[f"sg/{task.name}"] = self.weight * self.loss.beta * salience
        self.optimizer.zero_grad()
        sum(terms.values()).backward()
        self.optimizer.step()
        return {name: float(value.detach()) for name, value in terms.items()}
