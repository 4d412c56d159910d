from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.execution.messages import (
    Closed,
    Failure,
    FailureKind,
    Grant,
    Idle,
    LaneFault,
    Lease,
    Outcome,
    StageLeased,
    StageProgress,
    StageWork,
    Status,
    from_json,
    to_json,
)

names = st.text(max_size=8)
counts = st.integers(0, 9)
numbers = st.floats(allow_nan=False, allow_infinity=False)
several = st.lists(names, max_size=3).map(tuple)
terms = st.dictionaries(names, numbers, max_size=3)

works = st.builds(
    StageWork,
    key=names,
    parent=st.none() | names,
    spec=st.dictionaries(names, st.none() | counts | names | st.lists(counts), max_size=3),
    run=names,
    order=several,
    tasks=several,
)
leases = st.builds(Lease, key=names, lane=names, attempt=counts)
failures = st.builds(
    Failure,
    kind=st.sampled_from(FailureKind),
    message=names,
    traceback=names,
    step=st.none() | counts,
)
messages = st.one_of(
    works,
    leases,
    st.builds(Grant, lease=leases, work=works),
    st.just(Idle()),
    st.just(Closed()),
    st.builds(
        Outcome,
        key=names,
        status=st.sampled_from(Status),
        trained=st.booleans(),
        steps_run=counts,
        failure=st.none() | failures,
        work=st.none() | works,
    ),
    st.builds(
        StageProgress,
        key=names,
        lane=names,
        attempt=counts,
        position=counts,
        tasks=several,
        method=names,
        order=several,
        epoch=counts,
        epochs=counts,
        step=counts,
        steps_per_epoch=counts,
        terms=terms,
        images_per_s=numbers,
    ),
    st.builds(LaneFault, lane=names, key=st.none() | names, message=names, traceback=names),
    st.builds(StageLeased, lease=leases, work=works),
)


@given(messages)
def test_json_round_trip(message):
    assert from_json(to_json(message)) == message
    assert from_json(to_json(message).encode()) == message


def test_unknown_type_is_named():
    with pytest.raises(ValueError, match="'Nonsense' is not known"):
        from_json('{"type": "Nonsense"}')


def test_only_accidents_are_retried():
    assert {kind for kind in FailureKind if kind.retried} == {FailureKind.LOST, FailureKind.ERROR}
