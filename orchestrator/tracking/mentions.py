"""What all journals of a store say about one thing, without decoding everything else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from had_core.errors import BadInput
from orchestrator.tracking.event_json import from_json
from orchestrator.tracking.events import Event
from orchestrator.tracking.journal import journal_folder, journal_names
from orchestrator.tracking.segments import segment_lines

_log = logging.getLogger(__name__)


def mentions(store_root: str | Path, text: str) -> Iterator[Event]:
    """Events that hold ``text`` (a stage's key), by run, in no order within one.

    A segment without it costs the reading of a small file. Damaged segments are logged, skipped.
    """
    wanted = text.encode()
    for run in journal_names(store_root):
        folder = journal_folder(store_root, run)
        for name in folder.names():
            if not name.endswith(".jsonl"):
                continue
            raw = folder.read(name)
            if wanted not in raw:
                continue
            try:
                lines = [line for line in segment_lines(raw, name) if text in line]
                yield from [from_json(line, name) for line in lines]
            except BadInput as error:
                _log.warning("journal segment of run '%s' skipped: %s", run, error)
