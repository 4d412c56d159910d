"""Encoder weights from local files, good and bad."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from had_core.configs import Encoder, Norm
from had_core.errors import BadInput
from had_core.nets.init import initialise
from had_core.nets.lifelong import LifelongNet
from had_core.nets.resnet import ResNet
from had_core.nets.weights import load_encoder, sha256

MakeNet = Callable[..., LifelongNet]
Save = Callable[[dict[str, Tensor], Path], None]


def public_weights() -> dict[str, Tensor]:
    """What a public classifier's file holds: encoder, statistics, fc."""
    encoder = ResNet(Encoder.TINY, 16, Norm.BATCH)
    initialise(encoder, 77)
    state = encoder.state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            value.add_(0.25)
    return {**state, "fc.weight": torch.ones(10, 96), "fc.bias": torch.ones(10)}


FORMATS: dict[str, Save] = {"safetensors": save_file, "torch": torch.save}


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
def test_loads_into_every_norm(make_net: MakeNet, tmp_path: Path, save: Save, norm: Norm) -> None:
    path, weights = tmp_path / "weights.bin", public_weights()
    save(weights, path)
    net = make_net(norm)
    heads = {k: v.clone() for k, v in net.heads.state_dict().items()}
    load_encoder(net, path, sha256(path))
    for name, value in net.encoder.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert all(torch.equal(heads[k], v) for k, v in net.heads.state_dict().items())


def test_half_precision_and_files_without_counters_load(make_net: MakeNet, tmp_path: Path) -> None:
    weights = {
        k: v.half() for k, v in public_weights().items() if not k.endswith("num_batches_tracked")
    }
    save_file(weights, tmp_path / "w")
    net = make_net(Norm.BATCH)
    load_encoder(net, tmp_path / "w")
    assert torch.equal(net.encoder.conv1.weight, weights["conv1.weight"].float())


def broken(change: str) -> dict[str, Tensor]:
    weights = public_weights()
    if change == "missing":
        del weights["layer3.0.bn2.bias"]
    elif change == "shape":
        weights["conv1.weight"] = torch.ones(64, 3, 7, 7)
    elif change == "unknown":
        weights["layer5.0.conv1.weight"] = torch.ones(1)
    elif change == "nan":
        weights["bn1.weight"][3] = float("nan")
    elif change == "integers":
        weights["bn1.weight"] = torch.ones(16, dtype=torch.int32)
    return weights


@pytest.mark.parametrize(
    "change, said",
    [
        ("missing", "has no 'layer3.0.bn2.bias'"),
        ("shape", r"'conv1.weight' has shape \[64, 3, 7, 7\], allowed is \[16, 3, 3, 3\]"),
        ("unknown", "holds 'layer5.0.conv1.weight'"),
        ("nan", "'bn1.weight' must hold finite floats"),
        ("integers", "'bn1.weight' must hold finite floats"),
    ],
)
@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
def test_a_bad_file_is_refused_whole(
    make_net: MakeNet, tmp_path: Path, save: Save, change: str, said: str
) -> None:
    path = tmp_path / "bad.bin"
    save(broken(change), path)
    net = make_net(Norm.BATCH)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(BadInput, match=said) as caught:
        load_encoder(net, path)
    assert str(path) in str(caught.value)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


class Bomb:
    """A pickle that would run code when loaded."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.witness,)


def test_no_code_in_a_file_is_run(make_net: MakeNet, tmp_path: Path) -> None:
    torch.save({"conv1.weight": Bomb(tmp_path / "ran")}, tmp_path / "bomb.pth")
    with pytest.raises(BadInput, match=r"bomb.pth' is neither a safetensors file nor a torch"):
        load_encoder(make_net(), tmp_path / "bomb.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x80\x04K\x01.", b"x" * 64])
def test_other_files_are_refused(make_net: MakeNet, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="neither a safetensors file nor a torch zip file"):
        load_encoder(make_net(), path)


def test_a_nested_mapping_is_refused(make_net: MakeNet, tmp_path: Path) -> None:
    torch.save({"state_dict": {"conv1.weight": torch.ones(1)}}, tmp_path / "nested.pth")
    with pytest.raises(BadInput, match="one flat mapping"):
        load_encoder(make_net(), tmp_path / "nested.pth")


def test_missing_file_and_wrong_digest(make_net: MakeNet, tmp_path: Path) -> None:
    path = tmp_path / "w"
    with pytest.raises(BadInput, match="w' cannot be read: No such file"):
        load_encoder(make_net(), path)
    with pytest.raises(BadInput, match="cannot be read"):
        sha256(tmp_path)
    path.write_bytes(b"abc")
    assert sha256(path) == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(BadInput, match=r"net\.weights_sha256 allows 00"):
        load_encoder(make_net(), path, "00")
