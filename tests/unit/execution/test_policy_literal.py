"""The fast policy decides as the rules do when they are written down literally."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from literal_policy import LiteralPolicy

from orchestrator.execution.messages import (
    Failure,
    FailureKind,
    Lease,
    Outcome,
    StageWork,
    Status,
)
from orchestrator.execution.policy import StagePolicy

LANES, WAITERS = ("l", "m", "n"), ("u", "v", "w")
SIZE = 9


@st.composite
def forests(draw):
    parents = [draw(st.none() | st.integers(0, i - 1)) if i else None for i in range(SIZE)]
    return [StageWork(str(i), None if p is None else str(p)) for i, p in enumerate(parents)]


ENDINGS = [
    *[(Status.SEALED, None)] * 4,
    (Status.CANCELLED, None),
    (Status.ELSEWHERE, None),
    (Status.PARENT_MISSING, None),
    (Status.FAILED, FailureKind.NON_FINITE),
    (Status.FAILED, FailureKind.ERROR),
]
numbers = st.frozensets(st.integers(0, SIZE - 1), max_size=SIZE)
lanes, waiters = st.sampled_from(LANES), st.sampled_from(WAITERS)
submits = st.tuples(
    st.just("submit"), waiters, numbers, st.frozensets(st.integers(0, SIZE - 1), max_size=3)
)
nexts = st.tuples(st.just("next"), lanes)
finishes = st.tuples(st.just("finish"), lanes, st.sampled_from(ENDINGS))
operations = st.one_of(
    submits,
    submits,
    nexts,
    nexts,
    finishes,
    finishes,
    finishes,
    st.tuples(st.just("lost"), lanes, st.sampled_from(["", "Traceback"])),
    st.tuples(st.just("drop"), waiters),
    st.tuples(st.just("vouch"), lanes, st.integers(0, SIZE - 1), st.integers(1, 2)),
)


@settings(max_examples=150)
@given(
    forests(),
    st.lists(operations, min_size=5, max_size=60),
    st.lists(st.sampled_from(["cancel", "close"]), max_size=1),
)
def test_the_fast_policy_decides_like_the_literal_one(works, script, ending):
    fast, slow = StagePolicy(max_attempts=2), LiteralPolicy(max_attempts=2)

    def apply(what, *arguments):
        held = slow.held()
        match what, *arguments:
            case "submit", waiter, wanted, sealed:
                chosen = [works[number] for number in sorted(wanted)]
                keys = {str(number) for number in sealed}
                fast.submit(waiter, chosen, keys)
                slow.submit(waiter, chosen, keys)
            case "next", lane:
                assert fast.next(lane)[0] == slow.next(lane)
            case "finish", lane, (status, kind) if lane in held:
                lease = held[lane]
                failure = Failure(kind, "why") if kind else None
                outcome = Outcome(lease.key, status, failure=failure)
                assert fast.finish(lease, outcome)[0] == slow.finish(lease, outcome)
            case "lost", lane, traceback:
                fast.lost(lane, "gone", traceback)
                slow.lost(lane, traceback)
            case "drop", waiter:
                fast.drop(waiter)
                slow.drop(waiter)
            case "vouch", lane, number, attempt:
                lease = held.get(lane, Lease(str(number), lane, attempt))
                assert fast.vouch(lease)[0] == slow.vouch(lease)
            case ("cancel",):
                fast.cancel()
                slow.cancel()
            case ("close",):
                fast.close()
                slow.closed = True

    for operation in [*script, *[(what,) for what in ending]]:
        apply(*operation)
        compare(fast, slow)
    while fast.open_count():  # to the end: what is granted first, second, ...
        for lane in LANES:
            apply("next", lane)
        for lane in LANES:
            apply("finish", lane, (Status.SEALED, None))
        compare(fast, slow)


def compare(fast: StagePolicy, slow: LiteralPolicy) -> None:
    found = {
        stage.key: (stage.state, stage.outcome.failure.kind)
        if stage.outcome and stage.outcome.failure
        else (stage.state, None)
        for stage in fast._stages
    }
    assert found == slow.states()
    assert fast.open_count() == slow.open_count()
    assert fast.has_work() == any(map(slow.is_ready, slow.entries))
    for entry in slow.entries:
        stage = fast._stages.get(entry.work.key)
        assert stage.chain == (slow.chain(entry) if entry.state.is_open else 0)
        assert stage.waiters == entry.waiters
        for waiter in WAITERS:
            assert (stage in fast._stages.wanted_by(waiter)) == (waiter in entry.waiters)
