"""Events survive JSON unchanged; anything else is refused by name."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from had_core.errors import BadInput
from orchestrator.tracking.event_json import from_json, to_json
from orchestrator.tracking.events import (
    EVENTS,
    End,
    EpochEnded,
    Event,
    SequenceFinished,
    StageFinished,
    StageRef,
    StageReused,
    sequence_id,
)

NAMES = st.text(min_size=1, max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.floats(0, 4e9)
ROWS = st.dictionaries(
    NAMES, st.dictionaries(NAMES, st.dictionaries(NAMES, NUMBERS | st.none(), max_size=3))
)
REFS = st.builds(
    StageRef,
    sequence=NAMES,
    key=NAMES,
    parent=NAMES | st.none(),
    position=st.integers(1, 99),
    tasks=st.lists(NAMES, max_size=3).map(tuple),
)
SCALARS = NAMES | st.integers() | NUMBERS | st.booleans()
ANY_EVENT = st.one_of(
    st.builds(StageReused, time=TIMES, run=NAMES, stage=REFS, rows=ROWS),
    st.builds(
        StageFinished,
        time=TIMES,
        run=NAMES,
        stage=REFS,
        attempt=st.integers(1, 9),
        rows=ROWS,
        seconds=TIMES,
        numerics=st.dictionaries(NAMES, SCALARS, max_size=3),
    ),
    st.builds(
        SequenceFinished,
        time=TIMES,
        run=NAMES,
        sequence=NAMES,
        end=st.sampled_from(End),
        summary=st.dictionaries(NAMES, NUMBERS | st.none(), max_size=3),
    ),
)


@given(ANY_EVENT)
def test_round_trip(event: Event) -> None:
    line = to_json(event)
    assert "\n" not in line
    assert from_json(line) == event


def test_every_kind_of_event_round_trips(demo: list[Event], sweep: list[Event], story: Any) -> None:
    story.stage_failed(story.ref(sequence_id("had", ("depth",), 0), 1, "k", None))
    events = [*demo, *sweep, *story.events]
    assert {type(e).__name__ for e in events} == set(EVENTS)
    assert [from_json(to_json(event)) for event in events] == events


def test_order_of_metrics_is_kept_and_numbers_that_are_none_are_none(demo: list[Event]) -> None:
    epoch = next(e for e in demo if isinstance(e, EpochEnded))
    terms = {"z": 1.0, "a": math.nan, "m": math.inf}
    object.__setattr__(epoch, "terms", terms)
    read = from_json(to_json(epoch))
    assert isinstance(read, EpochEnded)
    assert list(read.terms.items()) == [("z", 1.0), ("a", None), ("m", None)]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"event": "StageExploded"}, "StageExploded"),
        ({"event": ["EpochEnded"]}, "EpochEnded"),
        ({"epoch": "three"}, "epoch"),
        ({"colour": 1}, "colour"),
        ({"terms": [1.0]}, "terms"),
    ],
)
def test_wrong_lines_are_refused_by_name(
    demo: list[Event], change: dict[str, Any], word: str
) -> None:
    epoch = next(e for e in demo if isinstance(e, EpochEnded))
    raw = {**json.loads(to_json(epoch)), **change}
    with pytest.raises(BadInput, match=word):
        from_json(json.dumps(raw))


@pytest.mark.parametrize("line", ["", "{", "[]", "3", "null"])
def test_garbage_is_refused(line: str) -> None:
    with pytest.raises(BadInput, match="line 7"):
        from_json(line, "line 7")


def test_a_missing_field_is_named(demo: list[Event]) -> None:
    raw = json.loads(to_json(demo[0]))
    del raw["recipe"]
    with pytest.raises(BadInput, match="recipe"):
        from_json(json.dumps(raw))


def test_sequence_ids_differ_where_sequences_do() -> None:
    ids = {
        sequence_id("had", ("a", "b"), 0),
        sequence_id("had", ("b", "a"), 0),
        sequence_id("had", ("a", "b"), 1),
        sequence_id("naive", ("a", "b"), 0),
        sequence_id("had", ("a", "b"), 0, "trial 3"),
    }
    assert len(ids) == 5
