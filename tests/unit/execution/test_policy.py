from __future__ import annotations

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
    StageWork,
    Status,
)
from orchestrator.execution.policy import StagePolicy, StageState


def work(key: str, parent: str | None = None) -> StageWork:
    return StageWork(key, parent)


def chain(*keys: str) -> list[StageWork]:
    return [work(key, keys[i - 1] if i else None) for i, key in enumerate(keys)]


def granted(policy: StagePolicy, lane: str = "l"):
    answer, _ = policy.next(lane)
    assert isinstance(answer, Grant), answer
    return answer.lease


def seal(policy: StagePolicy, lease):
    return policy.finish(lease, Outcome(lease.key, Status.SEALED))


def fail(policy: StagePolicy, lease, kind: FailureKind):
    return policy.finish(lease, Outcome(lease.key, Status.FAILED, failure=Failure(kind, "why")))


def test_a_child_waits_for_its_parent():
    policy = StagePolicy()
    policy.submit("w", chain("a", "b"))
    lease = granted(policy)
    assert lease.key == "a"
    assert policy.next("other")[0] == Idle()
    seal(policy, lease)
    assert granted(policy, "other").key == "b"


def test_sealed_stages_are_never_granted_and_open_the_way():
    policy = StagePolicy()
    policy.submit("w", chain("a", "b"), sealed={"a"})
    assert granted(policy).key == "b"
    assert policy.next("other")[0] == Idle()
    assert "a" not in policy.outcomes()


def test_a_parent_outside_counts_as_sealed():
    policy = StagePolicy()
    policy.submit("w", [work("b", "elsewhere")])
    assert granted(policy).key == "b"


def test_longest_remaining_chain_first_then_order_of_submission():
    policy = StagePolicy()
    short, long = chain("s1", "s2"), chain("l1", "l2", "l3")
    policy.submit("w", [*short, work("single"), *long, work("x1"), work("x2", "x1")])
    assert [granted(policy, lane).key for lane in "abcd"] == ["l1", "s1", "x1", "single"]


def test_sealed_descendants_do_not_count_as_remaining():
    policy = StagePolicy()
    policy.submit("w", [*chain("a1", "a2", "a3"), *chain("b1", "b2")], sealed={"a2", "a3"})
    assert granted(policy).key == "b1"


def test_one_flight_per_key_and_waiters_share_it():
    policy = StagePolicy()
    policy.submit("trial 1", [work("a")])
    lease = granted(policy)
    policy.submit("trial 2", [work("a")])
    assert policy.next("other")[0] == Idle()
    policy.drop("trial 1")
    assert policy.vouch(lease) == (True, [])
    seal(policy, lease)
    assert policy.outcomes()["a"].status is Status.SEALED


def test_what_nobody_wants_is_dropped_and_can_be_wanted_again():
    policy = StagePolicy()
    policy.submit("trial", chain("a", "b"))
    lease = granted(policy)
    events = policy.drop("trial")
    assert [(e.key, e.status) for e in events] == [("b", Status.CANCELLED)]
    assert policy.vouch(lease) == (False, [])
    policy.finish(lease, Outcome("a", Status.CANCELLED))
    assert policy.open_count() == 0
    policy.submit("later", chain("a", "b"))
    assert granted(policy).key == "a"


def test_wanted_again_before_the_cancelled_lane_reported():
    policy = StagePolicy()
    policy.submit("trial", [work("a")])
    lease = granted(policy)
    policy.drop("trial")
    policy.submit("later", [work("a")])
    policy.finish(lease, Outcome("a", Status.CANCELLED))
    assert granted(policy).attempt == 2


def test_closed_only_when_closed_and_empty():
    policy = StagePolicy()
    assert policy.next("l")[0] == Idle()
    policy.submit("w", [work("a")])
    policy.close()
    lease = granted(policy)
    assert policy.next("other")[0] == Idle()  # it may yet be lost
    seal(policy, lease)
    assert policy.next("l")[0] == Closed()


def test_lost_workers_are_retried_up_to_the_bound_then_fail_with_the_children():
    policy = StagePolicy(max_attempts=3)
    policy.submit("w", chain("a", "b", "c"))
    for attempt in (1, 2, 3):
        lease = granted(policy)
        assert lease.attempt == attempt
        events = policy.lost("l", "killed")
        assert events[0] == LaneFault("l", "a", "killed")
    outcomes = policy.outcomes()
    assert {key: o.failure.kind for key, o in outcomes.items()} == {
        "a": FailureKind.LOST,
        "b": FailureKind.PARENT,
        "c": FailureKind.PARENT,
    }
    assert outcomes["a"].attempts == 3
    assert "killed" in outcomes["c"].failure.message
    assert policy.open_count() == 0


def test_a_traceback_survives_to_the_outcome():
    policy = StagePolicy(max_attempts=1)
    policy.submit("w", [work("a")])
    granted(policy)
    policy.lost("l", "ValueError: x", "Traceback ...")
    failure = policy.outcomes()["a"].failure
    assert (failure.kind, failure.traceback) == (FailureKind.ERROR, "Traceback ...")


def test_a_diverged_stage_is_not_retried():
    policy = StagePolicy()
    policy.submit("w", [work("a"), work("other")])
    fail(policy, granted(policy), FailureKind.NON_FINITE)
    assert policy.state("a") is StageState.FAILED
    assert policy.outcomes()["a"].attempts == 1
    assert granted(policy).key == "other"  # the lane lives on


def test_a_lane_that_asks_again_has_lost_its_attempt():
    policy = StagePolicy()
    policy.submit("w", [work("a")])
    first = granted(policy)
    second = granted(policy)
    assert (first.attempt, second.attempt) == (1, 2)
    assert seal(policy, first) == (False, [])
    assert policy.state("a") is StageState.LEASED
    assert seal(policy, second)[0]


def test_stale_finish_of_another_lane_is_fenced():
    policy = StagePolicy()
    policy.submit("w", [work("a")])
    stale = granted(policy, "one")
    policy.lost("one", "gone")
    fresh = granted(policy, "two")
    assert policy.vouch(stale) == (False, [])
    assert fail(policy, stale, FailureKind.NON_FINITE) == (False, [])
    assert seal(policy, fresh)[0]


def test_finish_of_a_key_never_submitted_is_ignored():
    policy = StagePolicy()
    policy.submit("w", [work("a")])
    lease = granted(policy)
    assert StagePolicy().finish(lease, Outcome("a", Status.SEALED)) == (False, [])


def test_a_missing_parent_is_made_again_first():
    policy = StagePolicy()
    policy.submit("w", chain("a", "b"), sealed={"a"})
    lease = granted(policy)
    policy.finish(lease, Outcome("b", Status.PARENT_MISSING))
    again = granted(policy)
    assert again.key == "a"
    seal(policy, again)
    lease = granted(policy)
    assert (lease.key, lease.attempt) == ("b", 2)
    seal(policy, lease)
    assert policy.outcomes()["b"].status is Status.SEALED


def test_a_parent_that_is_never_readable_fails_the_child_in_the_end():
    policy = StagePolicy(max_attempts=2)
    policy.submit("w", chain("a", "b"), sealed={"a"})
    for _ in range(20):
        answer, _ = policy.next("l")
        if not isinstance(answer, Grant):
            break
        status = Status.SEALED if answer.lease.key == "a" else Status.PARENT_MISSING
        policy.finish(answer.lease, Outcome(answer.lease.key, status))
    assert policy.outcomes()["b"].failure.kind is FailureKind.PARENT
    assert policy.open_count() == 0


def test_a_missing_parent_outside_the_plan_fails_with_a_sentence():
    policy = StagePolicy()
    policy.submit("w", [work("b", "elsewhere")])
    policy.finish(granted(policy), Outcome("b", Status.PARENT_MISSING))
    assert "elsewhere" in policy.outcomes()["b"].failure.message


def test_a_lane_that_never_asks_is_broken():
    policy = StagePolicy(max_attempts=3)
    for _ in range(3):
        assert not policy.is_broken("l")
        policy.lost("l", "cannot import")
    assert policy.is_broken("l")
    policy.next("l")
    assert not policy.is_broken("l")


def test_submitting_again_changes_nothing():
    policy = StagePolicy()
    policy.submit("w", chain("a", "b"))
    lease = granted(policy)
    policy.submit("w", chain("a", "b"))
    assert policy.next("other")[0] == Idle()
    seal(policy, lease)
    policy.submit("w", chain("a", "b"))
    assert granted(policy).key == "b"


def test_whoever_wants_a_stage_wants_what_it_needs():
    policy = StagePolicy()
    policy.submit("whole", chain("a", "b"))
    policy.submit("child alone", [work("b", "a")])
    assert policy.drop("whole") == []
    assert seal(policy, granted(policy))[0]
    assert granted(policy).key == "b"


# Forgetting -------------------------------------------------------------------------------------


def test_what_all_waiters_dropped_is_forgotten():
    policy = StagePolicy()
    policy.submit("one", chain("a", "b"))
    policy.submit("two", [work("a")])
    seal(policy, granted(policy))
    policy.drop("one")
    assert policy.state("b") is None
    assert policy.state("a") is StageState.SEALED
    policy.drop("two")
    assert policy.state("a") is None
    assert len(policy._stages._stages) + len(policy._stages._children) == 0


def test_a_stage_that_failed_by_itself_fails_every_later_waiter_without_another_try():
    policy = StagePolicy()
    policy.submit("one", chain("a", "b"))
    lease = granted(policy)
    fail(policy, lease, FailureKind.NON_FINITE)
    policy.drop("one")
    assert policy.state("a") is None
    policy.submit("two", chain("a", "b"))
    assert policy.next("l")[0] == Idle()
    ended, unknown = policy.standing(["a", "b"])
    assert not unknown
    assert [ended[key].failure.kind for key in "ab"] == [
        FailureKind.NON_FINITE,
        FailureKind.PARENT,
    ]


def test_once_cancelled_nothing_is_granted_and_everyone_hears_of_it():
    policy = StagePolicy()
    policy.submit("one", chain("a", "b"))
    lease = granted(policy)
    policy.cancel()
    policy.submit("two", [*chain("a", "b"), work("c")])
    assert policy.next("other")[0] == Idle()
    policy.finish(lease, Outcome("a", Status.CANCELLED))
    assert policy.next("other")[0] == Closed()
    ended, unknown = policy.standing("abc")
    assert not unknown
    assert {outcome.status for outcome in ended.values()} == {Status.CANCELLED}


# Another driver ---------------------------------------------------------------------------------


def test_what_another_driver_executes_is_looked_at_again_after_everything_else():
    policy = StagePolicy()
    policy.submit("w", [*chain("a1", "a2", "a3"), work("b"), work("c")])
    lease = granted(policy)
    assert lease.key == "a1"
    policy.finish(lease, Outcome("a1", Status.ELSEWHERE))
    for key in ("b", "c"):
        lease = granted(policy)
        assert lease.key == key
        seal(policy, lease)
    lease = granted(policy)
    assert lease.key == "a1"
    seal(policy, lease)
    assert policy.outcomes()["a1"].attempts == 1
    assert granted(policy).key == "a2"


# A policy that lost its state -------------------------------------------------------------------


def test_a_lane_keeps_what_it_executes():
    lease = Lease("a", "l", 2)
    policy = StagePolicy()
    assert policy.vouch(lease) == (True, [])  # nobody wants it yet
    events = policy.submit("w", chain("a", "b"))
    assert events == [StageLeased(lease, work("a"))]
    assert policy.next("other")[0] == Idle()
    assert seal(policy, lease)[0]
    assert policy.outcomes()["a"].attempts == 2
    assert granted(policy, "other").key == "b"


def test_a_lane_keeps_what_it_executes_when_its_waiter_was_faster():
    lease = Lease("a", "l", 1)
    policy = StagePolicy()
    policy.submit("w", chain("a", "b"))
    assert policy.vouch(lease) == (True, [StageLeased(lease, work("a"))])
    assert policy.next("other")[0] == Idle()
    assert seal(policy, lease)[0]


def test_a_lane_that_was_too_late_stops():
    policy = StagePolicy()
    policy.submit("w", [work("a")])
    granted(policy, "other")
    assert policy.vouch(Lease("a", "l", 1)) == (False, [])


def test_a_lane_that_asks_does_not_execute_anything():
    policy = StagePolicy()
    policy.vouch(Lease("a", "l", 1))
    assert policy.next("l")[0] == Idle()
    policy.submit("w", [work("a")])
    assert policy.state("a") is StageState.WAITING


# Any tree, any accidents: rules that always hold ------------------------------------------------


@st.composite
def trees(draw):
    size = draw(st.integers(1, 8))
    parents = [draw(st.none() | st.integers(0, i - 1)) if i else None for i in range(size)]
    return [work(str(i), None if p is None else str(p)) for i, p in enumerate(parents)]


accidents = st.sampled_from(
    ["seal", "seal", "seal", "lost", "error", "nan", "silent", "parent", "drop", "cancelled"]
)


@given(trees(), st.lists(accidents, max_size=40), st.integers(1, 3))
def test_rules_hold_whatever_happens(works, script, lanes):
    policy = StagePolicy(max_attempts=3)
    policy.submit("w", works)
    policy.submit("v", works[: len(works) // 2])
    policy.close()
    parent_of = {w.key: w.parent for w in works}
    held: dict[str, object] = {}
    failures: dict[str, int] = {}
    steps = 0
    remade = "parent" in script  # then a parent may fail after its children were sealed
    while True:
        steps += 1
        assert steps < 500, "does not come to an end"
        lane = f"lane-{steps % lanes}"
        if lane not in held:
            answer, events = policy.next(lane)
            if isinstance(answer, Closed):
                break
            if isinstance(answer, Idle):
                assert held, "nothing runs and nothing is granted: a deadlock"
                continue
            key = answer.lease.key
            assert isinstance(events[-1], StageLeased)
            assert key not in {lease.key for lease in held.values()}, "two flights of one key"
            parent = parent_of[key]
            assert parent is None or policy.state(parent) is StageState.SEALED
            held[lane] = answer.lease
            continue
        lease = held.pop(lane)
        match script.pop() if script else "seal":
            case "seal":
                seal(policy, lease)
            case "lost":
                failures[lease.key] = failures.get(lease.key, 0) + 1
                policy.lost(lane, "gone")
            case "error":
                failures[lease.key] = failures.get(lease.key, 0) + 1
                policy.lost(lane, "ValueError", "Traceback")
            case "nan":
                fail(policy, lease, FailureKind.NON_FINITE)
            case "silent":
                failures[lease.key] = failures.get(lease.key, 0) + 1
                answer, _ = policy.next(lane)
                if isinstance(answer, Grant):
                    held[lane] = answer.lease
            case "parent":
                policy.finish(lease, Outcome(lease.key, Status.PARENT_MISSING))
            case "drop":
                policy.drop("v")
                seal(policy, lease)
            case "cancelled":
                policy.finish(lease, Outcome(lease.key, Status.CANCELLED))
    outcomes = policy.outcomes()
    assert set(outcomes) == set(parent_of)
    for key, outcome in outcomes.items():
        if outcome.status is Status.FAILED and outcome.failure.kind is FailureKind.LOST:
            assert failures[key] >= 3
        parent = parent_of[key]
        if outcome.status is Status.SEALED and parent is not None and not remade:
            assert outcomes[parent].status is Status.SEALED
