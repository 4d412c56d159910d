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
from torch.optim.adam import adam
from torch.optim.sgd import sgd

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
    """A fresh optimiser for one stage, with its schedule and a tensor-only state.

    The updates are torch's fused kernels by their functional names. Its optimiser classes would
    import torch's compiler with the first instance: a second and 75 MB in every process.
    """

    def __init__(
        self, config: TrainConfig, parameters: Mapping[str, nn.Parameter], total_steps: int
    ) -> None:
        self._config, self._total = config, total_steps
        self._parameters = {name: parameters[name] for name in sorted(parameters)}
        self._state: dict[str, dict[str, Tensor]] = {name: {} for name in self._parameters}
        self._update = self._adam if config.optimizer is Optimizer.ADAM else self._sgd

    def lr_at(self, step: int) -> float:
        """Learning rate of the 0-based ``step``."""
        if self._config.schedule is Schedule.CONSTANT:
            return self._config.lr
        return self._config.lr * 0.5 * (1 + math.cos(math.pi * step / self._total))

    def step(self, step: int) -> None:
        parameters: list[Tensor] = list(self._parameters.values())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if len(gradients) < len(parameters):
            raise RuntimeError("every trained parameter needs a gradient; see GradBuffer")
        with torch.no_grad():
            self._update(parameters, gradients, self.lr_at(step))

    def _adam(self, parameters: list[Tensor], gradients: list[Tensor], lr: float) -> None:
        """Kingma & Ba, 2015, algorithm 1, with their constants; weight decay added to gradients."""
        for name, parameter in self._parameters.items():
            if not self._state[name]:
                self._state[name] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        adam(
            parameters,
            gradients,
            [state["exp_avg"] for state in self._state.values()],
            [state["exp_avg_sq"] for state in self._state.values()],
            [],
            [state["step"] for state in self._state.values()],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            lr=lr,
            weight_decay=self._config.weight_decay,
            maximize=False,
        )

    def _sgd(self, parameters: list[Tensor], gradients: list[Tensor], lr: float) -> None:
        """Heavy-ball momentum, started with the first gradient; none where it is 0."""
        buffers = [state.get("momentum_buffer") for state in self._state.values()]
        sgd(
            parameters,
            gradients,
            buffers,
            fused=True,
            weight_decay=self._config.weight_decay,
            momentum=self._config.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        for state, buffer in zip(self._state.values(), buffers, strict=True):
            if buffer is not None:
                state["momentum_buffer"] = buffer

    def state(self) -> dict[str, Tensor]:
        """``<parameter>/<state>`` to tensor, e.g. ``encoder.conv1.weight/exp_avg``."""
        return {
            f"{name}/{key}": value
            for name, state in self._state.items()
            for key, value in state.items()
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
            self._state[name][key] = kept
