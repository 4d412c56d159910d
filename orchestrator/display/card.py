"""The card of an exported net: Markdown for whoever finds the files without their store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from had_core.tasks import DenseTask
from orchestrator.display.book import Row, ShowResult
from orchestrator.display.numbers import ARROWS, number
from orchestrator.display.use import PredictedTask

_LOAD = """\
from had_core.portable import load

net = load("model.safetensors")             # device="cuda" for a GPU
predictions = net.predict(images)           # float32 [B,H,W,3] in 0..1 -> {task: array}
"""
_RUN = """\
import torch

program = torch.export.load("model.pt2").module()
outputs = program(torch.rand(1, 3, {height}, {width}))     # {{task: [B,C,H,W]}}
"""


@dataclass(frozen=True)
class Ancestor:
    """One stage on the way from fresh weights to the net, itself included."""

    key: str
    learns: tuple[str, ...]
    method: str
    epochs: int


@dataclass(frozen=True)
class CardFacts:
    """What a card says.

    Attributes:
        fingerprint: of the training split of the data set.
        height, width: of the training images.
        initial_weights: SHA-256 of the file that the encoder began with; None for random weights.
        lineage: from fresh weights to the net.
        any_size, smallest, difference: see ``had_core.program.Program``.
        sha256: of the files beside the card.
    """

    stage: ShowResult
    tasks: tuple[DenseTask, ...]
    dataset: str
    fingerprint: str
    height: int
    width: int
    initial_weights: str | None
    lineage: tuple[Ancestor, ...]
    any_size: bool
    smallest: int
    difference: float
    sha256: Mapping[str, str]


def card(facts: CardFacts) -> str:
    """The whole page, ending in a newline."""
    parts = [
        _title(facts),
        _tasks(facts.tasks),
        *(_row(split, row, facts.tasks) for split, row in facts.stage.rows.items()),
        _input(facts),
        _use(facts),
        _origin(facts),
        _licence(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _title(facts: CardFacts) -> str:
    names = [task.name for task in facts.tasks]
    return (
        f"# {' > '.join(names)}\n\nA net for dense prediction that learned {', '.join(names)}, one "
        f"after the other, with had-orchestrator.\n\nStage `{facts.stage.key}`"
    )


def _tasks(tasks: tuple[DenseTask, ...]) -> str:
    lines = ["## Tasks", "", "| task | kind | prediction | classes |", "|---|---|---|---|"]
    for task in tasks:
        told = PredictedTask.of(task)
        unit = f", {told.unit}" if told.unit else ""
        lines.append(
            f"| {task.name} | {told.kind} | {told.dtype} `[{', '.join(told.shape)}]`: "
            f"{told.holds}{unit} | {', '.join(told.classes)} |"
        )
    return "\n".join(lines)


def _row(split: str, row: Row, tasks: tuple[DenseTask, ...]) -> str:
    which = {"test": "the test split", "val": "images held out of training"}[split]
    lines = [f"## Metrics on {which}", "", "| task | metric | value |", "|---|---|---|"]
    for task in tasks:
        for metric in task.metrics:
            value = row.get(task.name, {}).get(metric.name)
            unit = f" {metric.unit}" if metric.unit else ""
            arrow = ARROWS[metric.direction]
            lines.append(f"| {task.name} | {metric.name} {arrow} | {number(value)}{unit} |")
    return "\n".join(lines)


def _input(facts: CardFacts) -> str:
    return f"""\
## Input

RGB images with values in 0..1 (8 bits: value / 255), `float32`. The net normalises them itself by
ImageNet's mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225): hand in no normalised
ones. They are neither resized nor padded. Every height and width works; it was trained on
{facts.height}x{facts.width}, and things should be shown at about that scale."""


def _use(facts: CardFacts) -> str:
    if facts.any_size:
        size = f"any number of images of any size from {facts.smallest}x{facts.smallest} on"
    else:
        size = f"any number of images of {facts.height}x{facts.width}"
    files = "\n".join(f"- `{name}` SHA-256 `{value}`" for name, value in facts.sha256.items())
    return f"""\
## Use

`model.safetensors` holds the weights, and says itself what net and which tasks they are of. With
torch, safetensors, numpy and the package `had_core` of had-orchestrator (`load_example.py` is a
whole program):

```python
{_LOAD}```

`model.pt2` is the same net as a program of `torch.export`, for
{size}. It needs torch alone, and returns what the heads return:
class logits, values, vectors that are not scaled to length 1, the logit of a binary task. When it
was exported its outputs differed from the net's by {facts.difference:g} at most.

```python
{_RUN.format(height=facts.height, width=facts.width)}```

Safetensors files hold numbers only and are safe to load wherever they come from. `model.pt2` is a
zip of JSON and numbers without pickled objects; but `torch.export.load` unpickles what a file asks
it to, so a file that somebody else could have changed may run code: load it only if its SHA-256 is
the one below, on a card from a source you trust.

{files}"""


def _origin(facts: CardFacts) -> str:
    stage = facts.stage
    lines = [
        "## Where it comes from",
        "",
        f"- data set `{facts.dataset}`, fingerprint of its training split `{facts.fingerprint}`",
        f"- run `{stage.trained_by.run}`, sequence `{stage.trained_by.sequence}`",
        f"- trained by commit `{stage.commit or 'unknown'}` with {_flat(stage.versions)}",
        f"- numerics: {_flat(stage.numerics)}",
        f"- trained again, bit for bit: `had rerun {stage.key[:12]}` over its store",
        "",
        "| stage | learned | method | epochs | key |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {number} | {', '.join(each.learns)} | {each.method} | {each.epochs} | `{each.key}` |"
        for number, each in enumerate(facts.lineage, start=1)
    ]
    settings = json.dumps(stage.settings, indent=1, sort_keys=True, ensure_ascii=False)
    return "\n".join([*lines, "", "Settings of the last stage:", "", "```json", settings, "```"])


def _licence(facts: CardFacts) -> str:
    began = (
        f" and from the encoder weights with SHA-256 `{facts.initial_weights}` that it began with"
        if facts.initial_weights
        else ""
    )
    return (
        "## Licence\n\nThe code, `load_example.py` included, is under Apache-2.0. The weights come "
        f"from the data set `{facts.dataset}`{began}: whatever terms those have decide what may be "
        "done with the weights."
    )


def _flat(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "unknown"
