"""Where the files that are not code lie: the Hydra tree ``experiments`` and ``cluster``.

In a checkout they are top-level folders, in an installed wheel they are package data. A checkout
comes first, so that an editable installation reads the files one edits.
"""

from __future__ import annotations

from pathlib import Path

from had_core.errors import HadError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The absolute path of ``experiments`` or ``cluster``.

    Raises:
        HadError: the installation is incomplete.
    """
    checkout = _PACKAGE.parent
    places = [_PACKAGE / "_resources" / name]
    if (checkout / "pyproject.toml").is_file():
        places.insert(0, checkout / name)
    for place in places:
        if place.is_dir():
            return place
    raise HadError(f"the folder '{name}' is missing from this installation: install it again")
