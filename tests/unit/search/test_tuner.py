"""Where trials are placed; the rest of the tuner runs on Ray, in tests/ray."""

from __future__ import annotations

from typing import Any

import pytest

from had_core.errors import BadInput

HEAD = {"NodeID": "a", "Alive": True, "Resources": {"CPU": 2.0, "node:__internal_head__": 1.0}}
WORKER = {"NodeID": "b", "Alive": True, "Resources": {"CPU": 8.0, "node:10.0.0.2": 1.0}}


def place_of_trials(nodes: list[dict[str, Any]], here: str) -> str:
    from orchestrator.search import tuner  # and with it Tune, which takes long

    return tuner.place_of_trials(nodes, here)


def dead(node: dict[str, Any]) -> dict[str, Any]:
    return {**node, "Alive": False}


def test_trials_go_to_the_head_and_where_there_is_none_to_this_node() -> None:
    assert place_of_trials([WORKER, HEAD], "b") == "node:__internal_head__"
    assert place_of_trials([WORKER], "b") == "node:10.0.0.2"
    assert place_of_trials([WORKER, dead(HEAD)], "b") == "node:10.0.0.2"


@pytest.mark.parametrize("nodes", [[], [WORKER], [{**WORKER, "NodeID": "c", "Resources": {}}]])
def test_a_trial_that_could_never_be_placed_is_refused(nodes: list[dict[str, Any]]) -> None:
    with pytest.raises(BadInput, match="no node offers the resource node:__internal_head__"):
        place_of_trials(nodes, "c")
