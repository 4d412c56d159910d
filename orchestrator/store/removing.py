"""Deleting what a store holds, so that a half-deleted artefact can never be taken for a whole one.

The seal goes first: from then on the artefact does not exist, and what is left of its folder is a
stray that the next writer or the next removal clears away.
"""

from __future__ import annotations

from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.store.fs import StoreFs
from orchestrator.store.seal import checked_key, is_key


def artefact_folder(kind: ArtifactKind, key: str) -> str:
    return f"{kind.value}/{checked_key(key)[:2]}/{key}"


def partial_folder(key: str) -> str:
    return f"partial/{checked_key(key)[:2]}/{key}"


def remove_artefact(fs: StoreFs, kind: ArtifactKind, key: str) -> None:
    """Delete an artefact in all its generations; harmless where it is gone.

    Raises BadInput where the store cannot be written.
    """
    folder = artefact_folder(kind, key)
    # The highest generation is the living one; DAMAGED marks stay until the last seal is gone.
    for name in reversed(fs.names(folder)):
        if name.startswith("SEAL"):
            fs.delete(f"{folder}/{name}")
    fs.delete(folder)


def folder_keys(fs: StoreFs, room: str) -> list[str]:
    """Keys that have a folder in ``room`` (``fit``, ``partial``, ...), sealed or not, sorted."""
    return [key for shard in fs.names(room) for key in fs.names(f"{room}/{shard}") if is_key(key)]


def size_below(fs: StoreFs, path: str) -> int:
    """Bytes of a file, or of everything in a folder."""
    size = fs.size(path)
    if size is not None:
        return size
    return sum(size_below(fs, f"{path}/{name}") for name in fs.names(path))
