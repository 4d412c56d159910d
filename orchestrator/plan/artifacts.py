"""The three kinds of artefact. They share one protocol in the store."""

from __future__ import annotations

import enum


class ArtifactKind(enum.Enum):
    """FIT: a trained net. MEMORY: what a method keeps after a fit. EVAL: a row of R."""

    FIT = "fit"
    MEMORY = "memory"
    EVAL = "eval"
