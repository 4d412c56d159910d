"""Gradients in one flat buffer, and the optimiser over it.

Every rank holds the same layout for the whole stage: the gradients of the trained parameters in
name order, then one slot per loss term. One all-reduce a step therefore carries both, in an order
that never changes, so that resuming a stage reproduces it bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from had_core.configs import Optimizer, Schedule, TrainConfig
from had_core.parallel import Parallel


class GradBuffer:
    """Owns the memory behind every trained parameter's ``.grad``."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], term_slots: int) -> None:
        ordered = [parameters[name] for name in sorted(parameters)]
        self._size = sum(parameter.numel() for parameter in ordered)
        device = ordered[0].device
        dtype = ordered[0].dtype
        self._flat = torch.zeros(self._size + term_slots, device=device, dtype=dtype)
        offset = 0
        for parameter in ordered:
            # Same strides as the parameter (channels-last), or fused updates would copy.
            parameter.grad = self._flat[offset : offset + parameter.numel()].as_strided(
                parameter.size(), parameter.stride(), storage_offset=offset
            )
            offset += parameter.numel()

    def zero(self) -> None:
        self._flat.zero_()

    def reduce(self, terms: Sequence[Tensor], parallel: Parallel) -> list[float]:
        """Sum gradients and terms over ranks in place; the global value of each term."""
        tail = self._flat[self._size : self._size + len(terms)]
        tail.copy_(torch.stack([term.detach() for term in terms]))
        parallel.all_reduce_sum(self._flat)
        return [float(value) for value in tail.tolist()]


class StageOptimizer:
    """A fresh optimiser for one stage, with its schedule and a tensor-only state."""

    def __init__(
        self, config: TrainConfig, parameters: Mapping[str, nn.Parameter], total_steps: int
    ) -> None:
        self._config, self._parameters, self._total = config, dict(parameters), total_steps
        ordered = [parameters[name] for name in sorted(parameters)]
        self._optimizer: torch.optim.Optimizer
        if config.optimizer is Optimizer.ADAM:
            self._optimizer = torch.optim.Adam(
                ordered, lr=config.lr, weight_decay=config.weight_decay, fused=True
            )
        else:
            self._optimizer = torch.optim.SGD(
                ordered,
                lr=config.lr,
                weight_decay=config.weight_decay,
                momentum=config.momentum,
                fused=True,
            )

    def lr_at(self, step: int) -> float:
        """Learning rate of the 0-based ``step``."""
        if self._config.schedule is Schedule.CONSTANT:
            return self._config.lr
        return self._config.lr * 0.5 * (1 + math.cos(math.pi * step / self._total))

    def step(self, step: int) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr_at(step)
        self._optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """``<parameter>/<state>`` to tensor, e.g. ``encoder.conv1.weight/exp_avg``."""
        return {
            f"{name}/{key}": value
            for name, parameter in self._parameters.items()
            for key, value in self._optimizer.state[parameter].items()
            if isinstance(value, Tensor)
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for joined, value in state.items():
            name, key = joined.rsplit("/", 1)
            parameter = self._parameters[name]
            if value.dim() == parameter.dim() and value.dim() > 0:
                # Keep the parameter's memory format; values are the same, kernels differ.
                kept = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            else:
                kept = value.clone()
            self._optimizer.state[parameter][key] = kept
