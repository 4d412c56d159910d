"""The stage's optimiser does what torch's classes do, and does not import torch's compiler."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from had_core.configs import Optimizer, TrainConfig
from had_core.optim import GradBuffer, StageOptimizer

STEPS = 4
TRAIN = {
    "adam": TrainConfig(optimizer=Optimizer.ADAM, lr=0.01, weight_decay=0.1),
    "sgd": TrainConfig(optimizer=Optimizer.SGD, lr=0.01, weight_decay=0.1, momentum=0.0),
    "momentum": TrainConfig(optimizer=Optimizer.SGD, lr=0.01, weight_decay=0.1, momentum=0.9),
}


def parameters() -> dict[str, nn.Parameter]:
    """Of several shapes, one in channels-last order."""
    drawn = torch.Generator().manual_seed(3)
    shapes = {"b.bias": (5,), "a.weight": (5, 3, 3, 3), "c.scale": ()}
    made = {name: torch.randn(shape, generator=drawn) for name, shape in shapes.items()}
    made["a.weight"] = made["a.weight"].contiguous(memory_format=torch.channels_last)
    return {name: nn.Parameter(value) for name, value in made.items()}


def draw_gradients(held: dict[str, nn.Parameter], step: int) -> None:
    drawn = torch.Generator().manual_seed(step)
    for name in sorted(held):
        parameter = held[name]
        parameter.grad.copy_(torch.randn(parameter.shape, generator=drawn))


def theirs(train: TrainConfig, held: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    ordered = [held[name] for name in sorted(held)]
    if train.optimizer is Optimizer.ADAM:
        return torch.optim.Adam(ordered, train.lr, weight_decay=train.weight_decay, fused=True)
    more = {"weight_decay": train.weight_decay, "momentum": train.momentum, "fused": True}
    return torch.optim.SGD(ordered, train.lr, **more)


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("name", TRAIN)
def test_the_same_bits_as_torchs_class(name):
    train, ours, other = TRAIN[name], parameters(), parameters()
    optimizer, reference = StageOptimizer(train, ours, STEPS), theirs(train, other)
    for held in (ours, other):
        GradBuffer(held, 1)  # gives every parameter its gradient
    for step in range(STEPS):
        for held in (ours, other):
            draw_gradients(held, step)
        for group in reference.param_groups:
            group["lr"] = optimizer.lr_at(step)
        optimizer.step(step)
        reference.step()
        assert all(torch.equal(ours[key], other[key]) for key in ours)
    state = {
        f"{key}/{field}": value
        for key in ours
        for field, value in reference.state[other[key]].items()
        if value is not None
    }
    found = optimizer.state()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("name", TRAIN)
def test_a_state_goes_on_where_it_was_taken(name):
    train, whole, halves = TRAIN[name], parameters(), parameters()
    through, before = StageOptimizer(train, whole, STEPS), StageOptimizer(train, halves, STEPS)
    for held in (whole, halves):
        GradBuffer(held, 1)
    for step in range(STEPS):
        draw_gradients(whole, step)
        through.step(step)
    for step in range(STEPS):
        if step == STEPS // 2:
            taken = {key: value.clone().contiguous() for key, value in before.state().items()}
            before = StageOptimizer(train, halves, STEPS)
            before.load_state(taken)
        draw_gradients(halves, step)
        before.step(step)
    assert all(torch.equal(whole[key], halves[key]) for key in whole)
    resumed, kept = before.state(), through.state()
    assert all(resumed[key].stride() == kept[key].stride() for key in kept)


@pytest.mark.parametrize("name", TRAIN)
def test_torchs_compiler_stays_out(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # importing it raises
    held = parameters()
    optimizer = StageOptimizer(TRAIN[name], held, STEPS)
    buffer = GradBuffer(held, 1)
    draw_gradients(held, 0)
    optimizer.step(0)
    buffer.zero()
    optimizer.load_state(optimizer.state())


def test_a_parameter_without_a_gradient_is_an_error():
    with pytest.raises(RuntimeError, match="gradient"):
        StageOptimizer(TRAIN["adam"], parameters(), STEPS).step(0)
