"""Loads the exported net beside this file and predicts every task on one image.

    python load_example.py [IMAGE]        a .png, .jpg or .npy file; a random image without one

Needs torch, safetensors, numpy (for .png and .jpg also pillow) and the folder had_core of
had-orchestrator, installed or beside this file. It trains nothing and unpickles nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from had_core.data.images import read_image
from had_core.portable import load


def main(words: list[str]) -> None:
    net = load(Path(__file__).with_name("model.safetensors"))
    if words:
        image = read_image(Path(words[0]))
    else:
        size = (net.about["height"], net.about["width"], 3)
        image = np.random.default_rng(0).random(size, dtype=np.float32)
    predictions = net.predict(image[None])
    print(f"stage {net.about['stage_key']}, image of {image.shape[0]}x{image.shape[1]} pixels")
    for task in net.tasks:
        array = predictions[task.name][0]
        unit = f" {task.unit}" if task.unit else ""
        print(
            f"{task.name}: {task.kind.value}, {array.dtype} {list(array.shape)}, "
            f"{array.min():.4g} to {array.max():.4g}{unit}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
