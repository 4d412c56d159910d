"""ImageNet weights for the encoder from a local file; no pickled code is ever run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from had_core.configs import Norm
from had_core.errors import BadInput
from had_core.nets.lifelong import LifelongNet

_CHUNK = 1 << 20
_STATISTICS = ("running_mean", "running_var")


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits; BadInput where it cannot be read."""
    total = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(_CHUNK):
                total.update(chunk)
    except OSError as error:
        raise BadInput(f"weights file '{path}' cannot be read: {error.strerror}") from None
    return total.hexdigest()


def load_encoder(net: LifelongNet, path: str | Path, expected_sha256: str | None = None) -> None:
    """Fill ``net.encoder`` from a safetensors file, or a torch zip file that holds tensors only.

    The names are torchvision's. ``fc.*`` is ignored, and so are stored statistics where the net
    has none (norm ``group``). BadInput names the file and the key that is missing, unknown, of
    another shape or not finite; the net is then unchanged.
    """
    found_sha256 = sha256(path)
    if expected_sha256 not in (None, found_sha256):
        raise BadInput(
            f"weights file '{path}' has SHA-256 {found_sha256}, "
            f"net.weights_sha256 allows {expected_sha256} only"
        )
    found = {k: v for k, v in _read(Path(path)).items() if not k.startswith("fc.")}
    wanted = net.encoder.state_dict()
    if net.config.norm is Norm.GROUP:
        found = {k: v for k, v in found.items() if not k.endswith(_STATISTICS)}
    # A counter that no output depends on, and that older files lack.
    found = {k: v for k, v in found.items() if not k.endswith("num_batches_tracked")}
    required = {k: v for k, v in wanted.items() if not k.endswith("num_batches_tracked")}
    _check(path, found, required)
    net.encoder.load_state_dict({**wanted, **found})


def _check(path: str | Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name, tensor in wanted.items():
        if name not in found:
            raise BadInput(f"weights file '{path}' has no '{name}', which the encoder needs")
        have, need = list(found[name].shape), list(tensor.shape)
        if have != need:
            raise BadInput(f"weights file '{path}': '{name}' has shape {have}, allowed is {need}")
        if not found[name].is_floating_point() or not found[name].isfinite().all():
            raise BadInput(f"weights file '{path}': '{name}' must hold finite floats")
    for name in found:
        if name not in wanted:
            raise BadInput(f"weights file '{path}' holds '{name}', which the encoder does not have")


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of the file, told apart by its first bytes, not by its name."""
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    try:
        if is_zip:
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            from safetensors.torch import load_file

            content = load_file(path)
    except Exception as error:  # many types, none documented; the file is at fault in all
        raise BadInput(
            f"weights file '{path}' is neither a safetensors file nor a torch zip file of tensors "
            f"({type(error).__name__})"
        ) from None
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise BadInput(f"weights file '{path}' must hold one flat mapping of names to tensors")
    return {str(name): tensor for name, tensor in content.items()}
