"""Image files as a net takes them: float32 ``[H,W,3]`` in 0..1, RGB, as the data sets give them.

=====================  ===========================================================================
file                   what becomes of it
=====================  ===========================================================================
PNG, JPEG              8 bits / 255, 16 bits / 65535 (colour PNGs of 16 bits are read as 8). Grey
                       is repeated to three channels, alpha left out, palettes and CMYK resolved;
                       turned upright where the camera says that it was held sideways
``.npy``               ``HxW``, ``HxWx1``, ``HxWx3`` or ``3xHxW``: uint8 / 255, uint16 / 65535,
                       floats in 0..1 as they are
=====================  ===========================================================================

Nothing is resized: the nets take any size, and an image keeps its own.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from had_core.errors import BadInput
from had_core.paths import expanded

SUFFIXES = (".png", ".jpg", ".jpeg", ".npy")

Image = npt.NDArray[np.float32]
_Array = npt.NDArray[Any]


def image_files(place: str | Path) -> tuple[list[Path], list[str]]:
    """Image files of a folder by name, and the names of what else lies there; or the one file.

    Hidden files count as neither; folders are not entered.

    Raises:
        BadInput: nothing there, or no image.
    """
    path = expanded(place)
    if path.is_file():
        files, others = [path], []
    elif path.is_dir():
        try:
            found = sorted(p for p in path.iterdir() if not p.name.startswith("."))
        except OSError as error:
            raise BadInput(f"folder '{path}' cannot be read: {error.strerror}") from None
        files = [p for p in found if p.suffix.lower() in SUFFIXES and not p.is_dir()]
        images = set(files)
        others = [p.name for p in found if p not in images]
    else:
        raise BadInput(f"'{path}' does not exist: a folder of images ({_allowed()}), or one image")
    if not files or files[0].suffix.lower() not in SUFFIXES:
        raise BadInput(f"'{path}' holds no image: allowed are {_allowed()}")
    return files, others


def read_image(path: Path) -> Image:
    """One image; see the module.

    Raises:
        BadInput: the file is empty, damaged or not of an allowed kind; it is named.
    """
    try:
        if path.stat().st_size == 0:
            raise BadInput(f"image '{path}' cannot be read: the file is empty")
        return _read_array(path) if path.suffix.lower() == ".npy" else _read_picture(path)
    except OSError as error:  # Pillow's own errors are OSErrors, too
        raise _unreadable(path, error.strerror or str(error)) from None


def _read_picture(path: Path) -> Image:
    from PIL import Image as Pillow
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(path, formats=("PNG", "JPEG")) as file:
                picture = ImageOps.exif_transpose(file)
                if picture.mode.startswith("I"):  # grey of 16 bits
                    return _scaled(np.asarray(picture).astype(np.uint16)[..., None])
                return _scaled(np.asarray(picture.convert("RGB")))
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        most = (Pillow.MAX_IMAGE_PIXELS or 0) // 10**6
        raise _unreadable(path, f"it has more than {most} million pixels") from None
    except UnidentifiedImageError:
        raise _unreadable(path, "it is neither a PNG nor a JPEG file") from None
    except (SyntaxError, ValueError, EOFError) as error:  # of Pillow's decoders
        raise _unreadable(path, str(error)) from None


def _read_array(path: Path) -> Image:
    try:
        array = np.load(path, allow_pickle=False)
    except OSError:
        raise
    except MemoryError:  # a damaged header may promise anything
        raise _unreadable(path, "its header promises more than the memory holds") from None
    except Exception:  # numpy reads a header as Python text: damaged, it may raise any
        raise _unreadable(path, "it is not a .npy file of numbers") from None
    if not isinstance(array, np.ndarray):  # a zip of arrays
        raise _unreadable(path, "it is not a .npy file of numbers")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 3 and array.shape[2] not in (1, 3) and array.shape[0] == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        shown = "x".join(map(str, array.shape)) or "none"
        raise BadInput(f"image '{path}' has the shape {shown}: HxWx3, 3xHxW, HxW or HxWx1")
    if array.dtype.kind != "f" and array.dtype not in (np.uint8, np.uint16):
        raise BadInput(f"image '{path}' is of type {array.dtype}: floats, uint8 or uint16")
    image = _scaled(array)
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):  # NaN, too
        raise BadInput(f"image '{path}' has values {low:g} to {high:g}: floats are in 0..1")
    return image


def _scaled(array: _Array) -> Image:
    """Float32 in 0..1, three channels; 8 bits exactly as ``Split.images`` gives them."""
    most = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(array.dtype)
    if most is None:
        image = array.astype(np.float32)
    else:
        image = np.divide(array, np.float32(most), dtype=np.float32)
    return np.array(np.broadcast_to(image, (*image.shape[:2], 3)))


def _unreadable(path: Path, reason: str) -> BadInput:
    return BadInput(f"image '{path}' cannot be read: {reason}")


def _allowed() -> str:
    return ", ".join(SUFFIXES)
