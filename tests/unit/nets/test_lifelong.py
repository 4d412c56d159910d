"""LifelongNet: growth that touches nothing else, seeds that decide everything, frozen teachers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from had_core.configs import Encoder, NetConfig, Norm
from had_core.errors import BadInput
from had_core.nets.lifelong import IMAGENET_MEAN, IMAGENET_STD, LifelongNet
from had_core.tasks import DenseTask, TaskKind

MakeNet = Callable[..., LifelongNet]


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def train_step(net: LifelongNet, names: list[str] | None = None) -> None:
    """One large step of plain gradient descent on every parameter that has a gradient."""
    net.train()
    outputs = net(torch.rand(2, 3, 32, 40), names)
    sum(out.square().mean() + out.mean() for out in outputs.values()).backward()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad


@pytest.mark.parametrize("norm", Norm)
def test_output_shapes(make_net: MakeNet, norm: Norm) -> None:
    net = make_net(norm, heads=3)
    image = torch.rand(2, 3, 40, 56)
    features = net.encode(image)
    assert features.shape == (2, net.encoder.out_channels, 5, 7)
    heads = net.decode(features, ["depth", "semantic"])
    assert {k: tuple(v.shape) for k, v in heads.items()} == {
        "depth": (2, 1, 5, 7),
        "semantic": (2, 13, 5, 7),
    }
    full = net(image)
    assert [(k, tuple(v.shape)) for k, v in full.items()] == [
        ("semantic", (2, 13, 40, 56)),
        ("depth", (2, 1, 40, 56)),
        ("normal", (2, 3, 40, 56)),
    ]
    assert list(net(image, ["normal"])) == ["normal"]


def test_state_dict_names(make_net: MakeNet) -> None:
    names = set(make_net(Norm.BATCH, heads=1).state_dict())
    assert {"encoder.conv1.weight", "encoder.layer2.0.downsample.0.weight"} <= names
    assert {"heads.semantic.0.convs.4.1.weight", "heads.semantic.4.bias"} <= names
    assert all(name.startswith(("encoder.", "heads.semantic.")) for name in names)


def test_weights_follow_from_the_seed_and_leave_the_global_stream_alone(make_net: MakeNet) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = make_net(heads=2, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert equal(make_net(heads=2, seed=5).state_dict(), first)
    other = make_net(heads=2, seed=6).state_dict()
    assert all(torch.equal(first[k], other[k]) == (first[k].dim() < 4) for k in first), (
        "every convolution follows the seed"
    )


def test_a_new_head_depends_on_its_seed_only(tasks: tuple[DenseTask, ...]) -> None:
    """Not on the encoder's seed, the heads before it, training in between or the norm."""
    config = NetConfig(norm=Norm.GROUP)
    alone, late = LifelongNet(config, 0), LifelongNet(config, 9)
    alone.grow(tasks[1], 42)
    late.grow(tasks[0], 7)
    train_step(late)
    before = {k: v.clone() for k, v in late.state_dict().items()}
    late.grow(tasks[1], 42)
    assert equal(late.heads["depth"].state_dict(), alone.heads["depth"].state_dict())
    after = late.state_dict()
    assert equal({k: after[k] for k in before}, before), "growing changed something else"
    assert late.tasks == tasks[:2]
    twin = LifelongNet(NetConfig(norm=Norm.BATCH), 0)
    twin.grow(tasks[1], 42)
    name = "heads.depth.0.convs.2.0.weight"
    assert torch.equal(twin.state_dict()[name], alone.state_dict()[name])


def test_growing_follows_type_and_mode(make_net: MakeNet, tasks: tuple[DenseTask, ...]) -> None:
    net = make_net(heads=1).double().eval()
    net.grow(tasks[1], 0)
    assert not net.heads["depth"].training
    out = net(torch.rand(1, 3, 32, 32, dtype=torch.float64))["depth"]
    assert out.dtype == torch.float64


def test_bad_growth_and_unknown_heads_are_named(make_net: MakeNet) -> None:
    net = make_net(heads=1)
    with pytest.raises(BadInput, match="task 'semantic' has a head already"):
        net.grow(net.tasks[0], 0)
    with pytest.raises(BadInput, match="task 'keys' is a reserved name"):
        net.grow(DenseTask("keys", TaskKind.SCALAR, 1), 0)
    with pytest.raises(BadInput, match="no head for task 'depth', it has: semantic"):
        net(torch.rand(1, 3, 32, 32), ["depth"])


@pytest.mark.parametrize("norm", Norm)
def test_frozen_copy_never_changes(make_net: MakeNet, norm: Norm) -> None:
    net = make_net(norm)
    train_step(net)
    copy = net.frozen_copy()
    state = {k: v.clone() for k, v in copy.state_dict().items()}
    image = torch.rand(1, 3, 32, 40)
    with torch.inference_mode():
        before = {k: v.clone() for k, v in copy(image).items()}
        assert equal(net.eval()(image), before), "the copy predicts what the net predicted"
    train_step(net)
    net.grow(DenseTask("late", TaskKind.SCALAR, 1), 0)
    assert not copy.training and not any(p.requires_grad for p in copy.parameters())
    copy.train()(image)  # even a mistaken call in training mode moves no statistic
    assert equal(copy.state_dict(), state)
    with torch.inference_mode():
        assert equal(copy.eval()(image), before)
    assert copy.tasks == net.tasks[:2] and copy.config == net.config


def test_frozen_copy_of_a_float64_net_with_parallel(make_net: MakeNet) -> None:
    class Group:
        rank, world_size = 0, 2

        def all_reduce_sum(self, tensor: Tensor) -> None:
            raise AssertionError("a teacher never communicates")

        def broadcast(self, tensor: Tensor, src: int = 0) -> None:
            raise AssertionError("a teacher never communicates")

    net = make_net(Norm.SYNC).double()
    net.set_parallel(Group())
    image = torch.rand(1, 3, 32, 40, dtype=torch.float64)
    assert net.frozen_copy()(image)["semantic"].dtype == torch.float64


def test_norm_frozen_trains_convolutions_only(make_net: MakeNet) -> None:
    net = make_net(Norm.FROZEN)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    train_step(net)
    changed = {k for k, v in net.state_dict().items() if not torch.equal(before[k], v)}
    kernels = {k for k, v in before.items() if v.dim() == 4}
    classifiers = {f"heads.{task.name}.4.bias" for task in net.tasks}
    assert changed == kernels | classifiers


def test_freeze_norms_fixes_all_present_norms(make_net: MakeNet) -> None:
    net = make_net(Norm.BATCH)
    net.freeze_norms()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    train_step(net)
    after = net.state_dict()
    fixed = {k for k, v in before.items() if v.dim() < 4 and not k.endswith(".4.bias")}
    assert all(torch.equal(before[k], after[k]) for k in fixed)


def test_input_is_normalised_with_imagenets_statistics(make_net: MakeNet) -> None:
    net = make_net().eval()
    image = torch.rand(1, 3, 32, 32)
    shift = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    expected = net.encoder((image - shift[0]) / shift[1])
    assert torch.allclose(net.encode(image), expected, atol=1e-5)


def test_memory_format_does_not_matter(make_net: MakeNet) -> None:
    net = make_net(Norm.GROUP, heads=1).double().eval()
    image = torch.rand(2, 3, 32, 40, dtype=torch.float64)
    plain = net(image)["semantic"]
    image = image.contiguous(memory_format=torch.channels_last)
    last = net.to(memory_format=torch.channels_last)(image)["semantic"]
    assert torch.allclose(plain, last, rtol=1e-10, atol=1e-12)
    assert net.encode(image).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("norm", Norm)
def test_bf16_autocast_trains(make_net: MakeNet, norm: Norm) -> None:
    net = make_net(norm, heads=1).eval()
    image = torch.rand(2, 3, 64, 96)
    with torch.autocast("cpu", torch.bfloat16):
        features = net.encode(image)
        head = net.decode(features, ["semantic"])["semantic"]
    assert features.dtype == head.dtype == torch.bfloat16
    exact = net.decode(net.encode(image), ["semantic"])["semantic"]
    assert ((head.float() - exact).norm() / exact.norm()).item() < 0.1
    head.float().square().mean().backward()
    trained = [p for p in net.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)


# -- the released code's network -----------------------------------------------------------------


def uniform(k: int, n: int) -> npt.NDArray[np.float64]:
    """The parity file's pseudo-random numbers in [-1, 1): its ``fill_rule``."""
    wrap = np.uint64(2**32)
    h = np.arange(n, dtype=np.uint64) * np.uint64(2654435761)
    h = (h + np.uint64((k + 1) * 2246822519 % 2**32)) % wrap
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor) % wrap
    h ^= h >> np.uint64(16)
    return h.astype(np.float64) / 2**32 * 2 - 1


def fill(name: str, shape: list[int], u: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(shape) == 4:
        return np.sqrt(3) * np.sqrt(2 / math.prod(shape[1:])) * u.reshape(shape)
    if name.endswith("running_var"):
        return 1 + 0.2 * u * u
    if name.endswith("weight"):
        return 1 + 0.1 * u
    return 0.05 * u


def released_weights(meta: dict[str, object]) -> dict[str, Tensor]:
    """Under our names: the mapping is a change of two prefixes."""
    state = {}
    for k, (name, shape, _) in enumerate(meta["model"]["state_dict"]):  # type: ignore[index]
        ours = name.replace("backbone.", "encoder.").replace("decoder_", "heads.")
        if name.endswith("num_batches_tracked"):
            state[ours] = torch.zeros((), dtype=torch.int64)
        else:
            u = uniform(k + 1000 * meta["seed"], math.prod(shape))  # type: ignore[operator]
            state[ours] = torch.from_numpy(fill(name, shape, u)).float()
    return state


def released_image(seed: int, batch: int) -> Tensor:
    blocks = uniform(900000 + seed, batch * 3 * 4 * 5).reshape(batch, 3, 4, 5)
    noise = uniform(910000 + seed, batch * 3 * 32 * 40).reshape(batch, 3, 32, 40)
    image = 0.5 + 0.4 * blocks.repeat(8, 2).repeat(8, 3) + 0.1 * noise
    return torch.from_numpy(image).float()


def test_expresses_the_released_codes_network(
    parity_file: Path, tasks: tuple[DenseTask, ...]
) -> None:
    stored = np.load(parity_file, allow_pickle=False)
    meta = json.loads(bytes(stored["meta"]).decode())
    net = LifelongNet(NetConfig(Encoder.RESNET18, 8, Norm.BATCH, 256, (12, 24, 36)), 0)
    for task in tasks:
        net.grow(task, 0)
    net.load_state_dict(released_weights(meta))

    def decoded(batch: int) -> dict[str, Tensor]:
        image = released_image(meta["seed"], batch) * net.std + net.mean  # it does not normalise
        with torch.no_grad():
            features = net.encode(image)
            heads = net.decode(features, [task.name for task in tasks])
            full = {f"out_{k}": net.upsample(v, (32, 40)) for k, v in heads.items()}
        return {"features": features, **{f"raw_{k}": v for k, v in heads.items()}, **full}

    def gap(case: str, name: str, value: Tensor) -> float:
        expected = torch.from_numpy(stored[f"model/{case}/out/{name}"])
        return ((value - expected).abs().max() / expected.abs().max()).item()

    net.eval()
    found = decoded(1)
    found["out_semantic"] = found["out_semantic"].log_softmax(1)
    found["out_normal"] = torch.nn.functional.normalize(found["out_normal"], dim=1)
    assert max(gap("eval", name, value) for name, value in found.items()) < 1e-5
    net.train()
    found = decoded(4)
    raw = {name: value for name, value in found.items() if name.startswith("raw_")}
    assert max(gap("train_nodropout", name, value) for name, value in raw.items()) < 1e-4
    mean = stored["model/train_nodropout/out/running_mean_bn1"]
    assert np.abs(net.encoder.bn1.running_mean.numpy() - mean).max() < 1e-6
