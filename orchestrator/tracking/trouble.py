"""Whatever MLflow raises (its own, a database's, a network's) as one sentence without secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from had_core.errors import HadError
from orchestrator.tracking.location import redact

_LONGEST = 300


@contextmanager
def told_as(kind: type[HadError], what: str) -> Iterator[None]:
    """Raise ``kind`` with ``what`` and the reason; errors of had's own pass as they are."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        yield
    except HadError:
        raise
    except Exception as error:
        reason = redact(f"{type(error).__name__}: {error}".splitlines()[0][:_LONGEST])
        raise kind(f"{what}: {reason}") from error
