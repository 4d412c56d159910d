"""A trial as Tune runs it: a process without a CPU around ``run_trial``.

What a trial says travels as one JSON text in Tune's result, which Tune neither looks into nor keeps
statistics of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ray.tune import Trainable

from had_core.canonical import to_plain
from orchestrator.search.trial import (
    Cancelled,
    Failed,
    Heard,
    OrderScore,
    Problem,
    Scored,
    TrialQueue,
    Waiting,
    run_trial,
)

_TEXT = "had"
_KINDS = {kind.__name__: kind for kind in (Waiting, Scored, Failed, Cancelled)}


class TrialProcess(Trainable):
    """Each step answers with the next thing that the trial has to say.

    Processes are used again for the next trial: starting one costs seconds, a trial may cost less.
    """

    _problem: Problem
    _queue: TrialQueue
    _says: Iterator[Heard]

    def setup(self, config: dict[str, Any], **shared: Any) -> None:
        """``shared`` comes from ``tune.with_parameters``: the problem and the queue."""
        self._problem, self._queue = shared["problem"], shared["queue"]
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        label, params = new_config["label"], new_config["params"]
        self._says = run_trial(self._problem, self._queue, label, params)
        return True

    def step(self) -> dict[str, Any]:
        heard = next(self._says)
        ended = not isinstance(heard, Waiting | Scored)
        whole = isinstance(heard, Scored) and len(heard.scores) == heard.of
        return {_TEXT: to_text(heard), "done": ended or whole}


def to_text(heard: Heard) -> str:
    return json.dumps({"kind": type(heard).__name__, **to_plain(heard)})


def heard_from(result: Mapping[str, Any]) -> Heard:
    """What a trial said, from Tune's result; Waiting where it said nothing yet."""
    if _TEXT not in result:
        return Waiting()
    fields = json.loads(result[_TEXT])
    kind = fields.pop("kind")
    if "scores" in fields:
        fields["scores"] = tuple(OrderScore(**score) for score in fields["scores"])
    heard: Heard = _KINDS[kind](**fields)
    return heard
