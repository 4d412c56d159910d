"""A run's journal in a few numbers, fast enough for a list of a thousand runs.

Reads what ``event_json`` writes, line by line: the event's name comes first, so that most lines
are passed over without being decoded.
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from had_core.errors import BadInput
from orchestrator.tracking.driver_record import driver_of
from orchestrator.tracking.journal import journal_folder
from orchestrator.tracking.segments import segment_lines

_log = logging.getLogger(__name__)
_EVENT = re.compile(r'\{"event":"(\w+)"')
_KEY = re.compile(r'"key":"([0-9a-f]{64})"')
_NAMED = {
    "SequenceStarted": re.compile(r'"sequence":("(?:[^"\\]|\\.)*")'),
    "TrialStarted": re.compile(r'"trial":("(?:[^"\\]|\\.)*")'),
}


@dataclass
class Tally:
    """What a journal holds.

    Attributes:
        kind: ``run``, ``compare`` or ``sweep``; empty where no driver began.
        started, ended: seconds since the epoch: the first driver's begin, the last one's end.
        state: ``running``, ``finished``, ``failed``, ``killed``, or ``new`` where none began.
        trained, reused: keys of stages.
    """

    kind: str = ""
    started: float | None = None
    ended: float | None = None
    state: str = "new"
    sequences: set[str] = field(default_factory=set)
    trials: set[str] = field(default_factory=set)
    trained: set[str] = field(default_factory=set)
    reused: set[str] = field(default_factory=set)


def tally(store_root: str | Path, run: str) -> Tally:
    """Count a journal; damaged segments are logged and skipped."""
    found = Tally()
    begun = 0.0
    end: tuple[float, str] = (0.0, "")
    for name, line in _lines(store_root, run):
        if name in _NAMED:
            match = _NAMED[name].search(line)
            if match:
                (found.sequences if name == "SequenceStarted" else found.trials).add(match[1])
        elif name in ("StageFinished", "StageReused"):
            match = _KEY.search(line)
            if match:
                (found.trained if name == "StageFinished" else found.reused).add(match[1])
        elif name == "RunStarted":
            raw = json.loads(line)
            found.kind, at = raw.get("kind", "run"), raw["time"]
            found.started = at if found.started is None else min(found.started, at)
            begun = max(begun, at)
        elif name == "RunFinished":
            raw = json.loads(line)
            end = max(end, (raw["time"], raw["end"]))
    found.reused -= found.trained
    found.ended = end[0] if end[0] >= begun and end[1] else None
    found.state = _state(store_root, run, found, end[1])
    return found


def _lines(store_root: str | Path, run: str) -> list[tuple[str, str]]:
    """Event name and text of every line."""
    folder = journal_folder(store_root, run)
    found = []
    for segment in folder.names():
        if not segment.endswith(".jsonl"):
            continue
        try:
            lines = segment_lines(folder.read(segment), segment)
        except BadInput as error:
            _log.warning("journal segment of run '%s' skipped: %s", run, error)
            continue
        for line in lines:
            match = _EVENT.match(line)
            if match:
                found.append((match[1], line))
    return found


def _state(store_root: str | Path, run: str, found: Tally, end: str) -> str:
    if found.started is None:
        return "new"
    if found.ended is not None:
        return end
    record = driver_of(store_root, run)
    return "running" if record is not None and record.alive(time.time()) else "killed"
